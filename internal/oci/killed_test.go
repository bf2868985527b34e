package oci

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
)

// left is what there is of a container: processes in its cgroups, the cgroups, mounts.
func left(t *testing.T, id, bundle string) (all []string) {
	t.Helper()
	l, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	for i := range l.Hierarchies {
		h := &l.Hierarchies[i]
		for _, dir := range []string{h.Mount, h.Own} {
			if _, err := os.Lstat(filepath.Join(dir, id)); err == nil && dir != "" {
				all = append(all, filepath.Join(dir, id))
			}
		}
	}
	for line := range strings.Lines(hostMounts(t)) {
		if strings.Contains(line, bundle) {
			all = append(all, line)
		}
	}
	dirs, _ := filepath.Glob("/proc/[0-9]*/mountinfo")
	for _, f := range dirs {
		if text, err := os.ReadFile(f); err == nil && strings.Contains(string(text), bundle) {
			all = append(all, f)
		}
	}
	return all
}

// onMainThread has the test program be the runtime before main, as the program itself
// is: so that all of create happens on the thread that is followed.
const onMainThread = "CLOCHE_TEST_ON_MAIN_THREAD"

func init() {
	if os.Getenv(onMainThread) != "" {
		os.Exit(Main(os.Args))
	}
}

// killedAt starts a command of the runtime and kills it when its main thread has made n
// system calls; done: it ended before.
func killedAt(t *testing.T, n int, args ...string) (done bool) {
	t.Helper()
	runtime.LockOSThread() // ptrace(2) is a matter of threads
	defer runtime.UnlockOSThread()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	p, err := os.StartProcess("/proc/self/exe", append([]string{programName}, args...), &os.ProcAttr{
		Env: append(os.Environ(), onMainThread+"=1"), Files: []*os.File{null, null, null}, Sys: &syscall.SysProcAttr{Ptrace: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Release()
	signal := 0
	for stops := 0; ; {
		var ws unix.WaitStatus
		if _, err := unix.Wait4(p.Pid, &ws, unix.WALL, nil); err == unix.EINTR {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		if ws.Exited() || ws.Signaled() {
			return true
		}
		switch signal = 0; {
		case stops == 0:
			_ = unix.PtraceSetOptions(p.Pid, unix.PTRACE_O_TRACESYSGOOD)
			stops++
		case ws.StopSignal() == unix.SIGTRAP|0x80:
			stops++
		default:
			signal = int(ws.StopSignal())
		}
		if stops > 2*n {
			_ = unix.Kill(p.Pid, unix.SIGKILL)
			for {
				if _, err := unix.Wait4(p.Pid, &ws, unix.WALL, nil); err != unix.EINTR && (err != nil || ws.Exited() || ws.Signaled()) {
					return false
				}
			}
		}
		if err := unix.PtraceSyscall(p.Pid, signal); err != nil && err != unix.ESRCH {
			t.Fatal(err)
		}
	}
}

// TestKilledCreate kills the runtime at one system call of create after the other.
// Whatever there is then, `delete --force` takes it away.
func TestKilledCreate(t *testing.T) {
	r := newRuntime(t)
	b := bundle(t, nil)
	first, step := 1, 1
	if testing.Short() {
		first, step = 150, 23 // the first ones are of the Go runtime's start
	}
	killed := 0
	for n := first; ; n += step {
		id := fmt.Sprintf("cloche-killed-%d", n)
		done := killedAt(t, n, "--root", r.root, "create", "--bundle", b, id)
		r.ok("delete", "--force", id)
		var rest []string
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if rest = left(t, id, b); len(rest) == 0 || time.Now().After(deadline) {
				break
			}
		}
		if len(rest) > 0 {
			t.Errorf("killed at call %d: %q is left", n, rest)
		}
		if _, err := os.Lstat(filepath.Join(r.root, id)); err == nil {
			t.Errorf("killed at call %d: its directory is left", n)
		}
		for { // what it has left to this process
			if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
		if done {
			break
		}
		killed++
	}
	t.Logf("killed %d times", killed)
	if killed < 10 {
		t.Errorf("killed %d times only", killed)
	}
}
