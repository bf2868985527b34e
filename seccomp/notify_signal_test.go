package seccomp_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// TestNotifyKillable: with WAIT_KILLABLE_RECV a signal does not end a call that a
// supervisor has received; without it the call ends, and the notification is gone.
func TestNotifyKillable(t *testing.T) {
	if !host.KillableNotify() {
		needs.Kernel(t, "this kernel has no WAIT_KILLABLE_RECV; Linux 5.19 has", "5.19", "")
	}
	for _, flags := range []uint{unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, 0} {
		tid := make(chan int, 1)
		result := make(chan int, 1)
		l := onThreadWith(t, flags, []string{"getppid"}, func() {
			tid <- unix.Gettid()
			v, _ := getppid(0, 0, 0)
			result <- v
		})
		thread := <-tid
		n := receive(t, l)
		if err := unix.Tgkill(os.Getpid(), thread, unix.SIGURG); err != nil { // of Go's own scheduler
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
		if killable := flags != 0; l.Valid(n.ID) != killable {
			t.Errorf("flags %#x: after a signal the notification waits: %v, want %v", flags, !killable, killable)
		}
		err := l.Respond(n.ID, seccomp.Response{Value: 42})
		for flags == 0 && errors.Is(err, seccomp.ErrGone) { // the call is made again
			n = receive(t, l)
			err = l.Respond(n.ID, seccomp.Response{Value: 42})
		}
		if err != nil {
			t.Error(err)
		}
		if v := <-result; v != 42 {
			t.Errorf("flags %#x: getppid gave %d", flags, v)
		}
	}
}
