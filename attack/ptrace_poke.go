package attack

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// A tracer writes to the memory of what it traces, a word at a time, even where that is
// read-only.
var ptracePoke = Attack{
	Name: "ptrace-poketext", Group: "ptrace", Reference: "ptrace(2) PTRACE_POKETEXT, PTRACE_POKEDATA",
	Tries:   "attach to a process outside, of the same user, and change its memory",
	Stops:   traceStops,
	Outside: withVictim,
	Inside: func(in *Inside) error {
		runtime.LockOSThread() // the tracer is a thread
		pid := uintptr(in.Int("pid"))
		if _, err := Call(unix.SYS_PTRACE, unix.PTRACE_ATTACH, pid, 0, 0); err != nil {
			return err
		}
		_, _ = unix.Wait4(int(pid), nil, unix.WALL, nil)
		_, err := Call(unix.SYS_PTRACE, unix.PTRACE_POKEDATA, pid, uintptr(in.Int("address")), 0x58585858)
		_, _ = Call(unix.SYS_PTRACE, unix.PTRACE_DETACH, pid, 0, 0)
		return err
	},
	Escaped: (*Outside).VictimHarmed,
}
