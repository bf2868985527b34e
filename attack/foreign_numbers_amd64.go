package attack

import (
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// A filter that looks at numbers alone judges i386's and x32's calls by the names of
// others: 20 is getpid there and writev here. The architecture comes first.

var i386Call = Attack{
	Name: "int-0x80", Group: "seccomp", Reference: "seccomp(2) caveats, CVE-2014-5207",
	Tries: "make a system call by i386's numbers",
	Stops: []Stop{{Seccomp, "SIGSYS"}},
	Needs: func() string {
		if exec.Command("/proc/self/exe", Arg, i386Role).Run() != nil {
			return "this kernel has no calls of i386 (CONFIG_IA32_EMULATION)"
		}
		return ""
	},
	Inside: func(*Inside) error {
		if i386() != 0 {
			return NotFound("i386's getpid")
		}
		return nil
	},
}

// i386 exits with 0 where there are i386's calls.
func i386() int {
	const getpid = 20
	if int80(getpid) != uintptr(os.Getpid()) {
		return 1
	}
	return 0
}

// int80 makes a system call of i386.
//
//go:noescape
func int80(nr uintptr) uintptr

var x32Call = Attack{
	Name: "x32-call", Group: "seccomp", Reference: "seccomp(2), __X32_SYSCALL_BIT",
	Tries: "make a system call by x32's numbers",
	Stops: []Stop{{Seccomp, "SIGSYS"}},
	Needs: func() string {
		if _, _, e := unix.RawSyscall(x32Getpid, 0, 0, 0); e != 0 {
			return "this kernel has no calls of x32 (CONFIG_X86_X32_ABI)"
		}
		return ""
	},
	Inside: func(*Inside) error {
		_, err := Call(x32Getpid)
		return err
	},
}

const x32Getpid = 0x40000000 | unix.SYS_GETPID

// foreignNumbers are the attacks by another architecture's numbers.
var foreignNumbers = []*Attack{&i386Call, &x32Call}
