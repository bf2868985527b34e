package cgroup

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// cloneIntoCgroup reports whether clone3(2) takes CLONE_INTO_CGROUP (Linux 5.7),
// without making a process: an exit signal that is none is refused with EINVAL by
// a kernel that knows the field for the cgroup, while an older one says E2BIG
// first because it does not.
var cloneIntoCgroup = sync.OnceValue(func() bool {
	const badSignal = 0xffff
	args := [11]uint64{4: badSignal, 10: 1}
	_, _, e := unix.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args), 0)
	return e == unix.EINVAL
})
