package attack

import "golang.org/x/sys/unix"

// Socket families that hardly any program uses are kernel code that hardly anybody
// tests, and every user may reach it.

var afALG = Attack{
	Name: "af-alg", Group: "seccomp", Reference: "CVE-2026-31431",
	Tries: "open a socket of the kernel's crypto interface (AF_ALG)",
	Stops: []Stop{{Seccomp, "EAFNOSUPPORT"}},
	Needs: familyMissing(unix.AF_ALG, unix.SOCK_SEQPACKET),
	Inside: func(*Inside) error {
		_, err := Call(unix.SYS_SOCKET, unix.AF_ALG, unix.SOCK_SEQPACKET, 0)
		return err
	},
}

var afVSOCK = Attack{
	Name: "af-vsock", Group: "seccomp", Reference: "vsock(7)",
	Tries: "open a socket to the hypervisor (AF_VSOCK)",
	Stops: []Stop{{Seccomp, "EAFNOSUPPORT"}},
	Needs: familyMissing(unix.AF_VSOCK, unix.SOCK_STREAM),
	Inside: func(*Inside) error {
		_, err := Call(unix.SYS_SOCKET, unix.AF_VSOCK, unix.SOCK_STREAM, 0)
		return err
	},
}

// familyMissing is a Needs for attacks on a socket family.
func familyMissing(family, kind int) func() string {
	return func() string {
		fd, err := unix.Socket(family, kind, 0)
		if err != nil {
			return "this kernel has no such socket family: " + err.Error()
		}
		unix.Close(fd)
		return ""
	}
}
