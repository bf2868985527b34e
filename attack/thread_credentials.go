package attack

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Credentials are a thread's, in the kernel: the call itself, which libc's wrapper makes
// on every thread, changes one. kill(2) asks for the ids of the thread that calls it.
var threadKill = Attack{
	Name: "kill-as-another-thread", Group: "signals", Reference: "setresuid(2), nptl(7), kill(2)",
	Tries: "send SIGUSR1 to another user's process outside from a thread that has become that user",
	Stops: []Stop{{PIDNamespace, "ESRCH"}, {LandlockScope, "EPERM"}, {UserNamespace, "EINVAL"}, {Capabilities, "EPERM"}},
	Needs: onlyRoot("an ordinary user's thread may not become another user in any case"),
	Outside: func(o *Outside) error {
		_, err := o.victimOf(anOrdinaryUser)
		return err
	},
	Inside: func(in *Inside) error {
		errs := make(chan error)
		go func() {
			runtime.LockOSThread() // it ends with the goroutine
			if _, err := Call(unix.SYS_SETRESUID, anOrdinaryUser, anOrdinaryUser, anOrdinaryUser); err != nil {
				errs <- err
				return
			}
			_, err := Call(unix.SYS_KILL, uintptr(in.Int("pid")), uintptr(unix.SIGUSR1))
			errs <- err
		}()
		return <-errs
	},
	Escaped: (*Outside).VictimHarmed,
}
