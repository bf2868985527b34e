package cli_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/named"
)

// detachedCycles is how many sandboxes TestDetachedUnderFire starts; CLOCHE_CYCLES has another number.
const detachedCycles = 80

// TestDetachedUnderFire starts and ends sandboxes in the background, eight at a time, and kills what
// watches them at random. No record is damaged, nothing of them is left, and every
// command afterwards is right.
func TestDetachedUnderFire(t *testing.T) { asRootAndUser(t, startAndEnd) }

func startAndEnd(t *testing.T) {
	requireSandbox(t)
	t.Setenv(named.DirVariable, t.TempDir()+"/sandboxes")
	// What is started in the background belongs to nobody: here it is waited for.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) })
	total := int64(detachedCycles)
	if n, err := strconv.ParseInt(os.Getenv("CLOCHE_CYCLES"), 10, 64); err == nil {
		total = n
	}
	var next atomic.Int64
	var workers sync.WaitGroup
	for w := range 8 {
		workers.Go(func() {
			for i := next.Add(1); i <= total && !t.Failed(); i = next.Add(1) {
				cycle(t, fmt.Sprintf("worker-%d", w), rand.IntN(6))
			}
		})
	}
	workers.Wait()
	if out, err := cloche("ps", "--format", "{{.Name}}").CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("afterwards: %v: %s", err, out)
	}
	dir, err := named.Dir()
	if err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left in %s: %v %v", dir, entries, err)
	}
}

func cycle(t *testing.T, name string, how int) {
	run := func(args ...string) string {
		out, err := cloche(args...).CombinedOutput()
		if err != nil {
			t.Errorf("%q: %v: %s", args, err, out)
		}
		return string(out)
	}
	run("run", "--name", name, "--detach", "--", "sleep", "1000")
	s, err := named.Find(name)
	if err != nil {
		t.Error(err)
		return
	}
	command, err := s.Command()
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	switch how {
	case 0:
		run("stop", "--time", "5s", name)
	case 1:
		run("kill", name)
	case 2:
		run("exec", name, "--", "true")
	case 3, 4:
		if err := unix.Kill(s.Owner.Pid, unix.SIGKILL); err != nil {
			t.Error(err)
		}
	case 5:
		run("kill", "-s", "TERM", name)
		if out, err := cloche("wait", name).CombinedOutput(); err == nil || len(out) > 0 {
			t.Errorf("wait: %v: %s", err, out)
		}
	}
	if how >= 3 {
		waitFor(t, "the owner's end", func() bool {
			_, _ = unix.Wait4(s.Owner.Pid, nil, unix.WNOHANG, nil)
			return !s.Owner.Alive()
		})
	}
	if out := run("ps"); strings.Contains(out, "damaged") {
		t.Error(out)
	}
	run("rm", "--force", name)
	waitFor(t, "the command's end", func() bool {
		_, _ = unix.Wait4(s.Owner.Pid, nil, unix.WNOHANG, nil)
		return !command.Alive()
	})
	if _, err := named.Find(name); !errors.Is(err, named.ErrUnknown) {
		t.Errorf("after rm: %v", err)
	}
	for _, dir := range s.Cgroup {
		waitFor(t, "the removal of "+dir, func() bool {
			_, err := os.Stat(dir)
			return errors.Is(err, os.ErrNotExist)
		})
	}
}

// TestDetachedAlone: no Go program stays beside a sandbox in the background for limits that the
// kernel or the launcher keeps.
func TestDetachedAlone(t *testing.T) {
	asRootAndUser(t, func(t *testing.T) {
		requireSandbox(t)
		t.Setenv(named.DirVariable, t.TempDir()+"/sandboxes")
		args := []string{"run", "--name", "alone", "--detach", "--wall-time", "1h", "--max-output", "1M"}
		if os.Geteuid() == 0 { // who may make a cgroup
			args = append(args, "--cpu-time", "1h", "--memory", "64M")
		}
		if out, err := cloche(append(args, "--", "sleep", "1000")...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		t.Cleanup(func() {
			if out, err := cloche("rm", "--force", "alone").CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
		s, err := named.Find("alone")
		if err != nil {
			t.Fatal(err)
		}
		if exe, err := os.Readlink("/proc/" + strconv.Itoa(s.Owner.Pid) + "/exe"); err != nil || !strings.HasPrefix(exe, "/memfd:cloche") {
			t.Errorf("what stays executes %q: %v", exe, err)
		}
		// It looks at the CPU time no oftener than that could be over.
		switches := func() string {
			time.Sleep(100 * time.Millisecond)
			status, err := os.ReadFile("/proc/" + strconv.Itoa(s.Owner.Pid) + "/status")
			if err != nil {
				t.Fatal(err)
			}
			_, n, _ := strings.Cut(string(status), "\nvoluntary_ctxt_switches:")
			return n
		}
		if before, after := switches(), switches(); before != after {
			t.Errorf("it wakes up with nothing to do: %s, then %s", before, after)
		}
	})
}
