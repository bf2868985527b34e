package attack

import (
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// oneThread makes a system call in a child that has a single thread, as the kernel wants
// it of some (setns(2)), and returns why it failed.
func oneThread(nr uintptr, args ...uintptr) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var a [6]uintptr
	copy(a[:], args)
	pid, errno := forkToCall(nr, &a)
	if errno != 0 {
		return Failed(errno)
	}
	var ws unix.WaitStatus
	for {
		if _, err := unix.Wait4(pid, &ws, 0, nil); err != unix.EINTR {
			break
		}
	}
	switch {
	case !ws.Exited():
		return Failed(syscall.EINTR)
	case ws.ExitStatus() != 0:
		return Refused(syscall.Errno(ws.ExitStatus()), nr, args...)
	}
	return nil
}

// forkToCall is the fork: the child runs nothing of Go's but the call, allocates nothing,
// and exits with its errno.
//
//go:noinline
//go:norace
func forkToCall(nr uintptr, a *[6]uintptr) (int, syscall.Errno) {
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		return int(pid), errno
	}
	_, _, errno = unix.RawSyscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
	unix.RawSyscall(unix.SYS_EXIT_GROUP, uintptr(errno), 0, 0)
	return 0, 0
}
