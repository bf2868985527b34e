package attack

import "golang.org/x/sys/unix"

// kill(2): a process may signal any other with the same uid, in whatever user
// namespace. The pid namespace keeps those outside from being named at all, and
// Landlock's scope (ABI 6, Linux 6.12) from being reached.
var killOutside = Attack{
	Name: "kill-outside", Group: "signals", Reference: "kill(2), pid_namespaces(7)",
	Tries:   "send SIGUSR1 to a process outside, of the same user",
	Stops:   []Stop{{PIDNamespace, "ESRCH"}, {LandlockScope, "EPERM"}},
	Outside: withVictim,
	Inside: func(in *Inside) error {
		_, err := Call(unix.SYS_KILL, uintptr(in.Int("pid")), uintptr(unix.SIGUSR1))
		return err
	},
	Escaped: (*Outside).VictimHarmed,
}
