package host

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// confineThread puts this thread, and what it forks, under Landlock; reading and
// executing stay allowed.
func confineThread() error {
	runtime.LockOSThread()
	attr := uint64(unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK)
	fd, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), 8, 0)
	if e != 0 {
		return e
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if _, _, e := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); e != 0 {
		return e
	}
	return nil
}

// refuseNamespaces loads a filter on all threads that answers EPERM to clone and
// clone3 with CLONE_NEWUSER; clone3's flags are in memory, so it is ENOSYS.
func refuseNamespaces() error {
	stmt := func(code uint16, k uint32) unix.SockFilter { return unix.SockFilter{Code: code, K: k} }
	jump := func(code uint16, k uint32, t, f uint8) unix.SockFilter {
		return unix.SockFilter{Code: code, K: k, Jt: t, Jf: f}
	}
	const load, equal, anySet, ret = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ, unix.BPF_JMP | unix.BPF_JSET, unix.BPF_RET
	f := []unix.SockFilter{
		stmt(load, 0),
		jump(equal, unix.SYS_CLONE3, 4, 0),
		jump(equal, unix.SYS_CLONE, 0, 4),
		stmt(load, 16),
		jump(anySet, unix.CLONE_NEWUSER, 0, 2),
		stmt(ret, unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM)),
		stmt(ret, unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS)),
		stmt(ret, unix.SECCOMP_RET_ALLOW),
	}
	return loadFilter(f)
}

// hideCall answers a system call with ENOSYS, for all threads: as an old kernel does.
func hideCall(nr uint32) error {
	return loadFilter([]unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ, K: nr, Jf: 1},
		{Code: unix.BPF_RET, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		{Code: unix.BPF_RET, K: unix.SECCOMP_RET_ALLOW},
	})
}

func loadFilter(f []unix.SockFilter) error {
	prog := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if e != 0 {
		return e
	}
	return nil
}
