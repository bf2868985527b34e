package cgroup

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain adopts what the scripts leave behind when they are killed: where pid
// 1 reaps nothing they would stay zombies, and count as processes of the group.
func TestMain(m *testing.M) {
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	os.Exit(m.Run())
}

// reap waits for all adopted children. No test runs in parallel to another.
func reap() {
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		switch pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); {
		case err == unix.ECHILD:
			return
		case pid == 0:
			time.Sleep(time.Millisecond)
		}
	}
}

// start runs a shell script in a group: the shell, which has one thread, enters
// by writing 0 to each entry.
func start(t *testing.T, g *Group, script string) (*exec.Cmd, *strings.Builder) {
	t.Helper()
	var enter strings.Builder
	cmd := exec.Command("/bin/sh", "-c")
	for i, e := range g.Entries() {
		fd, err := syscall.Dup(e.FD)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), e.Path)
		defer f.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
		fmt.Fprintf(&enter, "echo 0 >&%d || exit 99\n", 3+i)
	}
	if g.DirFD() >= 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: g.DirFD()}
	}
	out := &strings.Builder{}
	cmd.Args = append(cmd.Args, enter.String()+script)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, out
}

// run waits for it, too.
func run(t *testing.T, g *Group, script string) (*os.ProcessState, string) {
	t.Helper()
	cmd, out := start(t, g, script)
	stop := time.AfterFunc(20*time.Second, func() { _ = g.Kill() })
	defer stop.Stop()
	_ = cmd.Wait()
	_ = g.Kill()
	reap()
	return cmd.ProcessState, out.String()
}

// skip ends a test for want of something that the machine may have all the
// same; truly tells that it has not. With CLOCHE_REQUIRE=all nothing may be
// skipped that the machine has.
func skip(t *testing.T, needs string, truly error) {
	t.Helper()
	switch {
	case truly != nil:
		t.Skipf("needs %s: %v", needs, truly)
	case os.Getenv("CLOCHE_REQUIRE") == "all":
		t.Fatalf("needs %s, and CLOCHE_REQUIRE=all", needs)
	}
	t.Skip("needs " + needs)
}

// create makes a group, or skips where this user may not.
func create(t *testing.T, controllers []string, make func(l *Layout) (*Group, error)) *Group {
	t.Helper()
	l, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Available(controllers...); err != nil {
		if os.Geteuid() != 0 {
			t.Skipf("needs root, or a cgroup that is delegated to this user: %v", err)
		}
		skip(t, "cgroup controllers "+strings.Join(controllers, ", "), err)
	}
	g, err := make(l)
	if err != nil {
		t.Fatal(err)
	}
	paths := g.Paths()
	t.Cleanup(func() {
		if err := g.Kill(); err != nil && err != errRemoved {
			t.Error(err)
		}
		reap()
		if err := g.Remove(); err != nil {
			t.Error(err)
		}
		for _, p := range paths {
			if _, err := os.Stat(p); !os.IsNotExist(err) {
				t.Errorf("%s is left: %v", p, err)
			}
		}
	})
	return g
}
