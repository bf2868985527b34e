package attack

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// process_vm_writev(2) writes another process's memory under the rules of ptrace(2).
var processVMWrite = Attack{
	Name: "process-vm-writev", Group: "ptrace", Reference: "process_vm_writev(2), ptrace(2) PTRACE_MODE_ATTACH_REALCREDS",
	Tries:   "change the memory of a process outside, of the same user",
	Stops:   traceStops,
	Outside: withVictim,
	Inside: func(in *Inside) error {
		buf := []byte("overwritten")
		local := unix.Iovec{Base: &buf[0], Len: uint64(len(buf))}
		remote := unix.RemoteIovec{Base: uintptr(in.Int("address")), Len: len(buf)}
		_, err := Call(unix.SYS_PROCESS_VM_WRITEV, uintptr(in.Int("pid")), uintptr(unsafe.Pointer(&local)), 1, uintptr(unsafe.Pointer(&remote)), 1, 0)
		runtime.KeepAlive(&local)
		runtime.KeepAlive(&remote)
		return err
	},
	Escaped: (*Outside).VictimHarmed,
}
