package cli_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
	"github.com/cloche-sandbox/cloche/internal/needs"
)

// TestStandaloneTimeLimits: an executable that a time limit ends says which one,
// once, and takes its cgroup away.
func TestStandaloneTimeLimits(t *testing.T) {
	requireSandbox(t)
	parent := cpuParent(t)
	for _, c := range []struct {
		name, policy, command, want string
		least                       time.Duration
	}{
		{
			name: "wall", command: "sleep 30", least: 200 * time.Millisecond,
			policy: "extends = \"default\"\ntime.wall = \"200ms\"\n",
			want:   "cloche: the command was killed: it ran for 200ms (limit.toml:2); to allow more: build it with --wall-time\n",
		},
		{
			name: "cpu", command: "while :; do :; done", least: 100 * time.Millisecond,
			policy: "extends = \"default\"\ntime.cpu = \"100ms\"\nlimits.pids = \"none\"\nlimits.parent = " + strconv.Quote(parent) + "\n",
			want:   "cloche: the command was killed: it used 100ms of CPU time (limit.toml:2); to allow more: build it with --cpu-time\n",
		},
		{
			name: "both, and the first ends it", command: "while :; do :; done", least: 100 * time.Millisecond,
			policy: "extends = \"default\"\n[time]\ncpu = \"100ms\"\nwall = \"20s\"\n[limits]\npids = \"none\"\nparent = " + strconv.Quote(parent) + "\n",
			want:   "cloche: the command was killed: it used 100ms of CPU time (limit.toml:3); to allow more: build it with --cpu-time\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.Contains(c.policy, "cpu") && parent == "" {
				needs.Root(t, "to make the cgroup that counts CPU time")
				needs.Skip(t, "needs a cgroup hierarchy that counts CPU time")
			}
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "limit.toml"), []byte(c.policy), 0o644); err != nil {
				t.Fatal(err)
			}
			build := cloche("build", "--policy", "limit.toml", "-o", "image", "--", "sh", "-c", c.command)
			build.Dir = dir
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			cmd := exec.Command(filepath.Join(dir, "image"))
			cmd.Dir = dir
			var stderr strings.Builder
			cmd.Stderr = &stderr
			begin := time.Now()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			guard := time.AfterFunc(60*time.Second, func() { _ = cmd.Process.Kill() })
			err := cmd.Wait()
			guard.Stop()
			took := time.Since(begin)
			var ee *exec.ExitError
			if !errors.As(err, &ee) || ee.ExitCode() != 137 {
				t.Errorf("%v, want exit status 137", err)
			}
			if stderr.String() != c.want {
				t.Errorf("stderr %q, want %q", stderr.String(), c.want)
			}
			if took < c.least {
				t.Errorf("ended after %v, before its limit", took)
			}
		})
	}
}

// cpuParent makes a cgroup for executables to make theirs in, and checks at the
// end that they took them away; "" where that is not possible.
func cpuParent(t *testing.T) string {
	t.Helper()
	l, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		return ""
	}
	own := ""
	for _, h := range l.Hierarchies {
		if h.Version == 2 && own == "" || slices.Contains(h.Controllers, "cpuacct") {
			own = h.Own
		}
	}
	if own == "" {
		return ""
	}
	dir, err := os.MkdirTemp(own, "cloche-test-")
	if err != nil {
		return ""
	}
	t.Cleanup(func() {
		left, _ := filepath.Glob(filepath.Join(dir, "cloche-*"))
		for _, d := range left {
			t.Errorf("%s is left", d)
			_ = os.Remove(d)
		}
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
