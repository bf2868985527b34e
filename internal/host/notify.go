package host

import "golang.org/x/sys/unix"

// KillableNotify reports whether a thread that waits for the answer to a received
// notification can be made to sleep through signals that do not kill it
// (SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, Linux 5.19). A filter that is not there is refused
// for its flags before its address (EINVAL, EFAULT).
func KillableNotify() bool {
	_, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, 0)
	return e == unix.EFAULT
}
