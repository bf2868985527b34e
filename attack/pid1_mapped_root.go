package attack

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// A root of the sandbox's user namespace has CAP_SYS_PTRACE over whatever is in it. Pid 1
// is, but its memory belongs to the namespace that the launcher was executed in: what
// is undumpable only those trace who have the capability there.

var (
	mappedRootMemory = mappedRoot("pid1-memory-mapped-root", "write to the memory of the sandbox's own pid 1 as root of its user namespace", "EACCES",
		func() error { return openOfPidOne("/proc/1/mem", os.O_RDWR) })
	mappedRootTrace = mappedRoot("ptrace-pid1-mapped-root", "seize the sandbox's own pid 1 as root of its user namespace", "EPERM",
		func() error {
			runtime.LockOSThread() // the tracer is a thread
			return ofPidOne(func() error {
				_, err := Call(unix.SYS_PTRACE, unix.PTRACE_SEIZE, 1, 0, 0)
				return err
			})
		})
)

// mappedRoot is an attack that has but pid 1's being undumpable in its way.
func mappedRoot(name, tries, sign string, inside func() error) Attack {
	return Attack{
		Name: name, Group: "ptrace", Reference: "ptrace(2) access mode checks, PR_SET_DUMPABLE(2const)", Tries: tries,
		Door:   []string{"map-root", "cap-add sys_ptrace", "seccomp none", "landlock off"},
		Stops:  []Stop{{Undumpable, sign}},
		Inside: func(*Inside) error { return inside() },
	}
}
