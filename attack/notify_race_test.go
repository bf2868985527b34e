package attack

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/sandbox"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// TestNotifyRace: a handler that looks at a path and has the kernel carry the call out
// decides about another call than the one that is made, seccomp_unotify(2). One that
// opens the file itself and hands it over is asked about one thing and gives it.
func TestNotifyRace(t *testing.T) {
	for _, c := range []struct {
		name  string
		races bool
		give  func(l *seccomp.Listener, n *seccomp.Notification, name string) error
	}{
		{"continue", true, func(l *seccomp.Listener, n *seccomp.Notification, _ string) error {
			return l.Respond(n.ID, seccomp.Response{Continue: true})
		}},
		{"hand over", false, func(l *seccomp.Listener, n *seccomp.Notification, name string) error {
			f, err := os.Open(name)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = l.AddFD(n.ID, seccomp.Descriptor{FD: int(f.Fd()), CloseOnExec: true, Answer: true})
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o, err := newOutside()
			if err != nil {
				t.Fatal(err)
			}
			defer o.close()
			allowed, refused := filepath.Join(o.Dir, "file-a"), filepath.Join(o.Dir, "file-b")
			if err := errors.Join(os.WriteFile(allowed, []byte("allowed"), 0o600), os.WriteFile(refused, []byte(o.Secret), 0o600)); err != nil {
				t.Fatal(err)
			}
			base, _ := policy.Builtin("default")
			p, err := with(base, o, []string{"read $DIR"})
			if err != nil {
				t.Fatal(err)
			}
			exe, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := sandbox.Command(t.Context(), p, exe, Arg, racerRole, allowed, refused)
			cmd.Notify = &sandbox.Notify{
				Profile: seccomp.Profile{
					Name: "by path", Default: seccomp.Allow, Unknown: seccomp.Allow, BadArch: seccomp.KillProcess,
					Groups: []seccomp.Group{{Rules: []seccomp.Rule{{Syscalls: []string{"openat2"}, Action: seccomp.UserNotify}}}},
				},
				Handle: func(l *seccomp.Listener, n *seccomp.Notification) {
					m, err := l.Memory(n)
					if err != nil {
						return
					}
					defer m.Close()
					name, err := m.ReadString(n.Data.Args[1], unix.PathMax)
					if err == nil && name != allowed {
						err = unix.EACCES
					}
					time.Sleep(500 * time.Microsecond) // it looks something up
					if err == nil {
						err = c.give(l, n, name)
					}
					if err != nil {
						_ = l.Respond(n.ID, seccomp.Response{Errno: unix.EACCES})
					}
				},
			}
			out, err := cmd.CombinedOutput()
			if err != nil || !bytes.Contains(out, []byte("allowed")) {
				t.Fatalf("%v, %d bytes of output", err, len(out))
			}
			if got := bytes.Contains(out, []byte(o.Secret)); got != c.races {
				t.Errorf("the refused file was read: %v, want %v", got, c.races)
			}
		})
	}
}
