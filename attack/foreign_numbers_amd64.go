package attack

import (
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

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

// A personality is what uname(2) says, and not what a filter is told of a call.
var linux32Call = Attack{
	Name: "personality-linux32", Group: "seccomp", Reference: "personality(2) PER_LINUX32, seccomp(2) seccomp_data.arch",
	Tries: "make a system call by i386's numbers with the personality of a 32-bit machine",
	Stops: i386Call.Stops,
	Needs: i386Call.Needs,
	Inside: func(in *Inside) error {
		const perLinux32 = 8
		if _, err := Call(unix.SYS_PERSONALITY, perLinux32); err != nil {
			return err
		}
		return i386Call.Inside(in)
	},
}

// A program of i386 begins under the filter that was there before its exec.
var (
	i386Program    = i386File("i386-program", "execve(2), seccomp(2)", "execute a program of i386", i386Exit)
	i386SocketCall = i386File("socketcall", "socketcall(2)", "open a socket to the kernel's device events by the one call that i386 has for all of sockets", i386Socket)
)

// i386File is an attack by a program of i386, which exits with 0 when it got through.
func i386File(name, reference, tries string, text []byte) Attack {
	return Attack{
		Name: name, Group: "seccomp", Reference: reference, Tries: tries,
		Stops: []Stop{{Seccomp, "SIGSYS"}},
		Needs: func() string {
			dir, err := os.MkdirTemp("", "cloche-i386-")
			if err == nil {
				defer os.RemoveAll(dir)
				err = runI386(dir, text)
			}
			if err != nil {
				return "this kernel has no such call of i386: " + err.Error()
			}
			return ""
		},
		Inside: func(*Inside) error {
			err := runI386("/tmp", text)
			var e *exec.ExitError
			if errors.As(err, &e) {
				if ws := e.Sys().(syscall.WaitStatus); ws.Signaled() {
					return &Failure{Sign: unix.SignalName(ws.Signal()), Text: err.Error()}
				}
			}
			if err != nil {
				return Failed(err)
			}
			return nil
		},
	}
}

// i386Exit is exit(0).
var i386Exit = []byte{
	0xb8, 1, 0, 0, 0, // mov $1, %eax
	0x31, 0xdb, // xor %ebx, %ebx
	0xcd, 0x80, // int $0x80
}

// i386Socket is exit(socketcall(SYS_SOCKET, {AF_NETLINK, SOCK_DGRAM, NETLINK_KOBJECT_UEVENT}) < 0).
var i386Socket = []byte{
	0x6a, 15, // push $NETLINK_KOBJECT_UEVENT
	0x6a, 2, // push $SOCK_DGRAM
	0x6a, 16, // push $AF_NETLINK
	0x89, 0xe1, // mov %esp, %ecx
	0xbb, 1, 0, 0, 0, // mov $1, %ebx
	0xb8, 102, 0, 0, 0, // mov $102, %eax
	0xcd, 0x80, // int $0x80
	0x89, 0xc3, // mov %eax, %ebx
	0xc1, 0xeb, 31, // shr $31, %ebx
	0xb8, 1, 0, 0, 0, // mov $1, %eax
	0xcd, 0x80, // int $0x80
}

// runI386 runs a program of i386 that is nothing but text.
func runI386(dir string, text []byte) error {
	const base, header = 0x08048000, 52 + 32
	le := binary.LittleEndian
	elf := append([]byte("\x7fELF\x01\x01\x01"), make([]byte, 9)...)
	for _, v := range []uint16{2, 3} { // ET_EXEC, EM_386
		elf = le.AppendUint16(elf, v)
	}
	for _, v := range []uint32{1, base + header, 52, 0, 0} {
		elf = le.AppendUint32(elf, v)
	}
	for _, v := range []uint16{52, 32, 1, 0, 0, 0} {
		elf = le.AppendUint16(elf, v)
	}
	size := uint32(header + len(text))
	for _, v := range []uint32{1, 0, base, base, size, size, 5, 4096} { // PT_LOAD, to read and execute
		elf = le.AppendUint32(elf, v)
	}
	path := filepath.Join(dir, "i386")
	syscall.ForkLock.RLock() // no child may hold it open for writing: ETXTBSY
	err := os.WriteFile(path, append(elf, text...), 0o700)
	syscall.ForkLock.RUnlock()
	if err != nil {
		return err
	}
	defer os.Remove(path)
	return exec.Command(path).Run()
}

// The page of vsyscalls is at the same place in every program. Its calls are carried out
// by the kernel, which asks the filter.
var vsyscall = Attack{
	Name: "vsyscall", Group: "seccomp", Reference: "vdso(7), kernel: vsyscall=",
	Tries: "read the time by a vsyscall where the filter refuses time(2)",
	Door:  []string{"seccomp $DIR/no-time.toml"},
	Stops: []Stop{{Seccomp, "SIGSYS"}},
	Needs: func() string {
		if exec.Command("/proc/self/exe", Arg, vsyscallRole).Run() != nil {
			return "this kernel has no vsyscalls (vsyscall=none)"
		}
		return ""
	},
	Outside: func(o *Outside) error {
		const profile = `
default = "allow"
[[group]]
name = "@no-time"
why = "to be got around"
rule = [{ action = "kill-process", calls = ["time"] }]
`
		return os.WriteFile(filepath.Join(o.Dir, "no-time.toml"), []byte(profile), 0o600)
	},
	Inside: func(*Inside) error {
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			return Failed(err)
		}
		refused := exec.Command("/proc/self/exe", Arg, timeRole).Run() != nil
		if strings.Contains(string(status), "\nSeccomp:\t2\n") && !refused {
			return NotFound("a filter that refuses time(2)")
		}
		vsyscallTime()
		return nil
	},
}

// directTime makes the call itself.
func directTime() int {
	_, _, _ = unix.RawSyscall(unix.SYS_TIME, 0, 0, 0)
	return 0
}

// vsyscallTime calls time(2) at its place in the page of vsyscalls.
//
//go:noescape
func vsyscallTime() int64

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

// ofArchitecture are the attacks in terms of one architecture.
var ofArchitecture = []*Attack{&ptracePuppet, &tracerRewrites, &i386Call, &linux32Call, &i386Program, &i386SocketCall, &x32Call, &vsyscall}
