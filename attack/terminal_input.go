package attack

import "golang.org/x/sys/unix"

// TIOCSTI types into the terminal in the user's name. The kernel looks at the low 32
// bits of a request only, so a filter that compares 64 lets 0x100005412 through.
var terminalInputHighBits = Attack{
	Name: "tiocsti-high-bits", Group: "seccomp", Reference: "TIOCSTI(2const), CVE-2017-5226, CVE-2019-10063",
	Tries: "type into a terminal by ioctl with bits set that the kernel ignores",
	Stops: []Stop{{Seccomp, "EPERM"}},
	Inside: func(*Inside) error {
		char := [1]byte{'x'}
		_, err := Call(unix.SYS_IOCTL, 0, 1<<32|unix.TIOCSTI, addressOf(&char[0]))
		return Reached(err, "ENOTTY") // there is no terminal here
	},
}

// TIOCLINUX pastes what is selected on a console, as if it were typed.
var consolePasteHighBits = Attack{
	Name: "tioclinux-high-bits", Group: "seccomp", Reference: "TIOCLINUX(2const), CVE-2019-10063",
	Tries: "paste into a console by ioctl with bits set that the kernel ignores",
	Stops: []Stop{{Seccomp, "EPERM"}},
	Inside: func(*Inside) error {
		subcode := [1]byte{3} // TIOCL_PASTESEL
		_, err := Call(unix.SYS_IOCTL, 0, 1<<32|unix.TIOCLINUX, addressOf(&subcode[0]))
		return Reached(err, "ENOTTY") // there is no console here
	},
}

// io_uring carries out calls that no filter sees.
var ioUring = Attack{
	Name: "io-uring", Group: "seccomp", Reference: "io_uring(7)",
	Tries: "make a ring through which calls are not filtered",
	Stops: []Stop{{Seccomp, "ENOSYS"}},
	Needs: func() string {
		if _, err := Call(unix.SYS_IO_URING_SETUP, 0, 0); err != nil && err.(*Failure).Sign == "ENOSYS" {
			return "this kernel has no io_uring"
		}
		return ""
	},
	Inside: func(*Inside) error {
		_, err := Call(unix.SYS_IO_URING_SETUP, 1, 0)
		return Reached(err, "EFAULT") // it would have made one, with parameters
	},
}

// What clone3 is asked for lies behind a pointer, where no filter can look.
var clone3Namespace = Attack{
	Name: "clone3", Group: "seccomp", Reference: "clone(2)",
	Tries: "ask for a user namespace by clone3, whose flags a filter can't see",
	Stops: []Stop{{Seccomp, "ENOSYS"}},
	Inside: func(*Inside) error {
		_, err := Call(unix.SYS_CLONE3, 0, 64)
		return Reached(err, "EFAULT") // it went on to read the flags
	},
}
