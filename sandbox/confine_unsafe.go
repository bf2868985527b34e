package sandbox

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The addresses below are taken in the call itself: only there does the compiler
// keep what they point to where it is.

func landlockCreateRuleset(attr []byte) (int, error) {
	fd, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr[0])), uintptr(len(attr)), 0)
	runtime.KeepAlive(attr)
	if e != 0 {
		return -1, e
	}
	return int(fd), nil
}

func landlockAddRule(ruleset int, rule *unix.LandlockPathBeneathAttr) error {
	_, _, e := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(rule)), 0, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

// capsetAllThreads sets the calling program's effective, permitted and inheritable
// set: pid 0 is each thread itself.
func capsetAllThreads(data *[2]unix.CapUserData) syscall.Errno {
	hdr := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	_, _, e := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(hdr)), uintptr(unsafe.Pointer(data)), 0)
	return e
}
