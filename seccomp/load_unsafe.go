package seccomp

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

func setFilter(fprog *unix.SockFprog, flags uint) (uintptr, unix.Errno) {
	r, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(flags), uintptr(unsafe.Pointer(fprog)))
	runtime.KeepAlive(fprog)
	return r, e
}
