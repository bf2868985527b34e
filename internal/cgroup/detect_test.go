package cgroup

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

const (
	movesVariable = "CLOCHE_TEST_DETECT_DIR"
	groupVariable = "CLOCHE_TEST_DETECT_GROUP"
)

// TestDetectAgain: what is kept of the layout is given up when a mount comes, and when this
// process is moved.
func TestDetectAgain(t *testing.T) {
	if dir := os.Getenv(movesVariable); dir != "" {
		detectAgain(t, dir, os.Getenv(groupVariable))
		return
	}
	g := create(t, []string{"pids"}, func(l *Layout) (*Group, error) {
		return l.Create("detect", policy.Limits{Pids: 100}, Options{})
	})
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run", "^TestDetectAgain$")
	cmd.Env = append(os.Environ(), movesVariable+"="+t.TempDir(), groupVariable+"="+g.Path())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func detectAgain(t *testing.T, dir, group string) {
	layout := func() *Layout {
		l, err := Detect()
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	own := func() string {
		l := layout()
		if h := l.v1[Pids]; h != nil {
			return h.Own
		}
		return l.v2.Own
	}
	before := own()
	if !stillHolds() {
		t.Fatal("nothing has changed, and it does not hold")
	}
	if err := unix.Mount("none", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	if stillHolds() {
		t.Error("a mount was not noticed")
	}
	if now := own(); now != before || !stillHolds() {
		t.Errorf("own cgroup %s, before %s", now, before)
	}
	if err := os.WriteFile(group+"/cgroup.procs", []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	if now := own(); now != group {
		t.Errorf("moved to %s, and it is still %s", group, now)
	}
}
