package cli_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cloche-sandbox/cloche/internal/named"
	"github.com/cloche-sandbox/cloche/internal/needs"
)

// TestClockJumps: how old a sandbox is, and which it is, does not go by the clock on the wall.
func TestClockJumps(t *testing.T) {
	requireSandbox(t)
	t.Setenv(named.DirVariable, t.TempDir()+"/sandboxes")
	background(t, "box", "--", "sleep", "1000")
	box, err := named.Find("box")
	if err != nil {
		t.Fatal(err)
	}
	young := regexp.MustCompile("^running [0-9]+s\n$")
	show := []string{"ps", "--format", "{{.State}} {{.Age}}"}
	for _, jump := range []time.Duration{100 * 24 * time.Hour, -100 * 24 * time.Hour} {
		// The clock jumped by so much after the start: what was written down differs by it from now.
		if err := named.Update("box", box.Owner, func(s *named.Sandbox) { s.Created = time.Now().Add(-jump) }); err != nil {
			t.Fatal(err)
		}
		if got := ok(t, show...); !young.MatchString(got) {
			t.Errorf("the clock jumped by %v: %q", jump, got)
		}
	}

	// Where the time since the boot is another one.
	needs.Root(t, "a time namespace without a user namespace")
	needs.Programs(t, "unshare")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := t.TempDir() + "/cloche"
	if err := os.Symlink(exe, link); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/proc/self/timens_offsets"); err != nil {
		needs.Kernel(t, "no time namespaces", "5.6", "TIME_NS")
	}
	cmd := exec.Command("unshare", append([]string{"--time", "--boottime", "8640000", "--fork", link}, show...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || !young.Match(out) || stderr.Len() > 0 {
		t.Errorf("in a time namespace: %v: %q %s", err, out, stderr.String())
	}
}
