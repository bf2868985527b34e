package attack

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Whoever traces pid 1 of the sandbox makes calls that no filter judges.
var ptracePidOne = Attack{
	Name: "ptrace-pid1", Group: "ptrace", Reference: "ptrace(2) PTRACE_SEIZE, PR_SET_DUMPABLE(2const)",
	Tries: "seize the sandbox's own pid 1",
	Stops: []Stop{{Undumpable, "EPERM"}, {Seccomp, "EPERM"}, {Landlock, "EPERM"}},
	Inside: func(*Inside) error {
		runtime.LockOSThread() // the tracer is a thread
		return ofPidOne(func() error {
			_, err := Call(unix.SYS_PTRACE, unix.PTRACE_SEIZE, 1, 0, 0)
			return err // it is let go when the attacker ends
		})
	},
}
