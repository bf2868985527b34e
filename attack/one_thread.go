package attack

import (
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// oneThread makes system calls one after the other in a child that has a single thread,
// as the kernel wants it of some (setns(2), unshare(2)), and returns why one failed.
func oneThread(calls ...[]uintptr) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var fixed [8][7]uintptr // the child must allocate nothing
	for i, c := range calls {
		copy(fixed[i][:], c)
	}
	pid, errno := forkToCall(&fixed, len(calls))
	if errno != 0 {
		return Failed(errno)
	}
	var ws unix.WaitStatus
	for {
		if _, err := unix.Wait4(pid, &ws, 0, nil); err != unix.EINTR {
			break
		}
	}
	if !ws.Exited() {
		return Refused(syscall.EINTR, calls[0][0])
	}
	if ws.ExitStatus() == 0 {
		return nil
	}
	n := ws.ExitStatus() >> 7 // which call
	if n >= len(calls) {
		n = len(calls) - 1
	}
	return Refused(syscall.Errno(ws.ExitStatus()&0x7f), calls[n][0], calls[n][1:]...)
}

// forkToCall is the fork: the child runs nothing of Go's but these calls, and exits with
// the errno of the one that failed, and with 128 more if that was not the first.
//
//go:noinline
//go:norace
func forkToCall(calls *[8][7]uintptr, n int) (int, syscall.Errno) {
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		return int(pid), errno
	}
	for i := range n {
		c := &calls[i]
		if _, _, errno = unix.RawSyscall6(c[0], c[1], c[2], c[3], c[4], c[5], c[6]); errno != 0 {
			if i > 0 {
				errno |= 128
			}
			unix.RawSyscall(unix.SYS_EXIT_GROUP, uintptr(errno), 0, 0)
		}
	}
	unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	return 0, 0
}
