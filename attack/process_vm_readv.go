package attack

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// process_vm_readv(2) reads another process's memory under the rules of ptrace(2).
var processVMRead = Attack{
	Name: "process-vm-readv", Group: "ptrace", Reference: "process_vm_readv(2), ptrace(2) PTRACE_MODE_ATTACH_REALCREDS",
	Tries:   "read the memory of a process outside, of the same user",
	Stops:   []Stop{{PIDNamespace, "ESRCH"}, {Seccomp, "EPERM"}, {UserNamespace, "EPERM"}, {Landlock, "EPERM"}},
	Outside: withVictim,
	Inside: func(in *Inside) error {
		buf := make([]byte, 64)
		local := unix.Iovec{Base: &buf[0], Len: uint64(len(buf))}
		remote := unix.RemoteIovec{Base: uintptr(in.Int("address")), Len: len(buf)}
		n, err := Call(unix.SYS_PROCESS_VM_READV, uintptr(in.Int("pid")), uintptr(unsafe.Pointer(&local)), 1, uintptr(unsafe.Pointer(&remote)), 1, 0)
		if err != nil {
			return err
		}
		in.Take(buf[:n])
		return nil
	},
}
