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

	"github.com/cloche-sandbox/cloche/internal/needs"
)

// TestMain adopts what the scripts leave behind when they are killed: where pid
// 1 reaps nothing they would stay zombies, and count as processes of the group.
func TestMain(m *testing.M) {
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	os.Exit(m.Run())
}

// reap waits for all adopted children. No test runs in parallel to another.
func reap() {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
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

// require skips a test when this user may make no group with controllers. With
// CLOCHE_REQUIRE=all that is a failure for root, unless the machine has not got them.
func require(t *testing.T, l *Layout, controllers ...string) {
	t.Helper()
	err := l.Available(controllers...)
	if err == nil {
		return
	}
	missing := fmt.Sprintf("needs root, or a delegated cgroup, with the controllers %s: %v", strings.Join(controllers, ", "), err)
	if os.Geteuid() == 0 && l.has(controllers) {
		needs.Skip(t, missing)
	}
	needs.Elsewhere(t, missing)
}

// has reports whether every controller is in a mounted hierarchy.
func (l *Layout) has(controllers []string) bool {
	for _, name := range controllers {
		c, _ := byName(name)
		if l.v1[c] != nil {
			continue
		}
		if l.v2 == nil {
			return false
		}
		list, err := readFile(l.v2.Mount + "/cgroup.controllers")
		if err != nil || c != CPUAcct && c != Freezer && !parseNames(list).has(c) {
			return false
		}
	}
	return true
}

// create makes a group, or skips where this user may not.
func create(t *testing.T, controllers []string, make func(l *Layout) (*Group, error)) *Group {
	t.Helper()
	l, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	require(t, l, controllers...)
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
