package learn

import (
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/seccomp"
)

// Core is what every learned policy allows, seen or not: calls that a program
// makes or leaves out by chance (a lock that was free, a signal that did not
// come, memory that was enough), the start of the command and its end. None
// reaches a file, a socket or another process that the program does not hold already.
func Core() seccomp.Group {
	allow := func(args []seccomp.Arg, calls ...string) seccomp.Rule {
		return seccomp.Rule{Syscalls: calls, Action: seccomp.Allow, Args: args}
	}
	memory := []seccomp.Arg{selector{index: 2}.noOtherBits(unix.PROT_READ | unix.PROT_WRITE)}
	anonymous := append(memory[:1:1], selector{index: 3}.noOtherBits(unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE|unix.MAP_STACK))
	dontNeed := []seccomp.Arg{{Index: 2, Op: seccomp.Equal, Value: unix.MADV_DONTNEED, Low32: true}}
	return seccomp.Group{
		Name:   "core",
		Reason: "every process needs these, or makes them by chance: its start and end, signals, locks, memory that is not executable",
		Rules: []seccomp.Rule{
			allow(nil, "execve", "exit", "exit_group", "read", "write", "close"),
			allow(nil, "rt_sigreturn", "restart_syscall", "rt_sigprocmask"),
			allow(nil, "futex", "sched_yield", "clock_gettime", "getrandom"),
			allow(nil, "brk", "munmap", "mremap"),
			allow(anonymous, "mmap"),
			allow(memory, "mprotect"),
			allow(dontNeed, "madvise"),
		},
	}
}
