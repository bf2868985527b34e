package seccomp

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNoNewPrivs is loading a filter without no_new_privs or CAP_SYS_ADMIN.
var ErrNoNewPrivs = errors.New("seccomp: a filter needs no_new_privs or CAP_SYS_ADMIN: set it first with prctl(PR_SET_NO_NEW_PRIVS)")

// Load gives the calling thread a filter, for good. flags are the
// SECCOMP_FILTER_FLAG_* of seccomp(2). A goroutine that calls it must be locked
// to its thread, and only that thread is bound.
func Load(prog []unix.SockFilter, flags uint) error {
	_, err := load(prog, flags)
	return err
}

// LoadAllThreads gives every thread of the process the filter, or none
// (SECCOMP_FILTER_FLAG_TSYNC, Linux 3.17). It fails, naming the thread, when one
// has a filter that is not an ancestor of the caller's.
func LoadAllThreads(prog []unix.SockFilter) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	tid, err := load(prog, unix.SECCOMP_FILTER_FLAG_TSYNC)
	if err != nil {
		return err
	}
	if tid > 0 {
		name, _ := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/comm", tid))
		return fmt.Errorf("seccomp: thread %d (%s) can't be synchronised: it has a filter of its own; load the filter before such threads are made", tid, strings.TrimSpace(string(name)))
	}
	return nil
}

func load(prog []unix.SockFilter, flags uint) (tid uintptr, err error) {
	if len(prog) == 0 || len(prog) > maxInstructions {
		return 0, fmt.Errorf("seccomp: a filter has 1 to %d instructions, this has %d", maxInstructions, len(prog))
	}
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	r, e := setFilter(&fprog, flags)
	switch e {
	case 0:
		return r, nil
	case unix.EACCES:
		return 0, ErrNoNewPrivs
	case unix.EINVAL:
		return 0, fmt.Errorf("seccomp: the kernel refuses the filter or its flags %#x (EINVAL); `cloche doctor` tells which it knows", flags)
	case unix.ENOMEM:
		return 0, errors.New("seccomp: too many filters are stacked already (ENOMEM): their instructions are limited to 32768 together")
	}
	return 0, os.NewSyscallError("seccomp", e)
}
