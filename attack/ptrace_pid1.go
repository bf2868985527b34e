package attack

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Whoever traces pid 1 of the sandbox makes calls that no filter judges.
var ptracePidOne = Attack{
	Name: "ptrace-pid1", Group: "ptrace", Reference: "ptrace(2) PTRACE_SEIZE, PR_SET_DUMPABLE(2const)",
	Tries: "seize the sandbox's own pid 1",
	Stops: []Stop{{Undumpable, "EPERM"}, {Seccomp, "EPERM"}, {Landlock, "EPERM"}},
	Inside: func(*Inside) error {
		runtime.LockOSThread() // the tracer is a thread
		var err error
		for range 50 { // as openOfPidOne does: its capabilities protect it at first
			if _, err = Call(unix.SYS_PTRACE, unix.PTRACE_SEIZE, 1, 0, 0); err == nil {
				return nil // it is let go when the attacker ends
			}
			time.Sleep(2 * time.Millisecond)
		}
		return err
	},
}
