package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/sandbox"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// notifyOf is a profile that notifies of some calls and leaves the rest to the policy.
func notifyOf(calls ...string) seccomp.Profile {
	return seccomp.Profile{
		Name: "answered here", Default: seccomp.Allow, Unknown: seccomp.Allow, BadArch: seccomp.KillProcess,
		Groups: []seccomp.Group{{Name: "@answered", Rules: []seccomp.Rule{{Syscalls: calls, Action: seccomp.UserNotify}}}},
	}
}

// A file that exists in this program's memory alone, read by cat. What cat's
// loader needs is opened here too, and all else does not exist: no path is looked
// at and then left to the kernel, as another thread could change it in between.
func ExampleNotify() {
	files := map[string]string{"/virtual/hello": "hello from memory\n"}
	open := func(name string) (*os.File, error) {
		if content, ok := files[name]; ok {
			fd, err := unix.MemfdCreate("file", unix.MFD_CLOEXEC)
			if err != nil {
				return nil, err
			}
			f := os.NewFile(uintptr(fd), name)
			_, err = f.WriteAt([]byte(content), 0)
			return f, err
		}
		if library := strings.HasPrefix(name, "/lib") || strings.HasPrefix(name, "/usr/lib"); library && name == path.Clean(name) {
			return os.Open(name)
		}
		return nil, unix.ENOENT
	}
	answer := func(l *seccomp.Listener, n *seccomp.Notification) error {
		m, err := l.Memory(n)
		if err != nil {
			return err
		}
		defer m.Close()
		name, err := m.ReadString(n.Data.Args[1], unix.PathMax)
		if err != nil {
			return err
		}
		f, err := open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = l.AddFD(n.ID, seccomp.Descriptor{FD: int(f.Fd()), CloseOnExec: true, Answer: true})
		return err
	}

	p, _ := policy.Builtin("default")
	cmd := sandbox.Command(context.Background(), p, "cat", "/virtual/hello")
	cmd.Notify = &sandbox.Notify{
		Profile: seccomp.Profile{
			Name: "files", Default: seccomp.Allow, Unknown: seccomp.Allow, BadArch: seccomp.KillProcess,
			Groups: []seccomp.Group{{Rules: []seccomp.Rule{{Syscalls: []string{"openat"}, Action: seccomp.UserNotify}}}},
		},
		Handle: func(l *seccomp.Listener, n *seccomp.Notification) {
			if err := answer(l, n); err != nil {
				errno := unix.ENOENT
				errors.As(err, &errno)
				_ = l.Respond(n.ID, seccomp.Response{Errno: errno}) // ErrGone: cat was killed
			}
		},
	}
	out, err := cmd.CombinedOutput()
	fmt.Printf("%s%v\n", out, err)
	// Output:
	// hello from memory
	// <nil>
}

// TestNotifyPolicyHolds: what the policy's filter denies is denied, whatever a
// handler would answer, and the handler is not asked. What it allows is the
// handler's to answer, the exec of the command included.
func TestNotifyPolicyHolds(t *testing.T) {
	asked := map[int32]int{}
	c := command(t, defaults(t), "sh", "-c", `unshare -U true 2>/dev/null && echo unshared; cat /proc/sys/kernel/ostype`)
	c.Notify = &sandbox.Notify{
		Profile: notifyOf("unshare", "execve"),
		Handle: func(l *seccomp.Listener, n *seccomp.Notification) {
			asked[n.Data.NR]++
			_ = l.Respond(n.ID, seccomp.Response{Continue: true})
		},
	}
	before := takeCensus(t)
	out, err := c.CombinedOutput()
	if err != nil || string(out) != "Linux\n" {
		t.Errorf("%q, %v", out, err)
	}
	settled(t, before)
	if asked[unix.SYS_EXECVE] < 2 || len(asked) != 1 {
		t.Errorf("asked for %v, want execve (%d) alone", asked, unix.SYS_EXECVE)
	}
}

// TestNotifyDeniedExec: a handler may deny the exec itself; that is reported as
// the failure that it is, and nothing hangs.
func TestNotifyDeniedExec(t *testing.T) {
	c := command(t, defaults(t), "/bin/true")
	c.Notify = &sandbox.Notify{Profile: notifyOf("execve", "write", "exit_group"), Handle: func(l *seccomp.Listener, n *seccomp.Notification) {
		r := seccomp.Response{Continue: true}
		if n.Data.NR == unix.SYS_EXECVE {
			r = seccomp.Response{Errno: unix.ENOEXEC}
		}
		_ = l.Respond(n.ID, r)
	}}
	before := takeCensus(t)
	if err := c.Run(); !errors.Is(err, unix.ENOEXEC) {
		t.Errorf("%v, want ENOEXEC", err)
	}
	settled(t, before)
}

// TestNotifyWithoutInit: nobody could hand the listener over.
func TestNotifyWithoutInit(t *testing.T) {
	p := defaults(t)
	p.Init = false
	c := command(t, p, "true")
	c.Notify = &sandbox.Notify{Profile: notifyOf("getppid"), Handle: func(*seccomp.Listener, *seccomp.Notification) {}}
	if err := c.Run(); err == nil || !strings.Contains(err.Error(), "init = false") {
		t.Errorf("%v", err)
	}
}
