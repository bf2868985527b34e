// Package host tells what this kernel, this user and this machine offer, found
// by trying and never guessed from a version number.
package host

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Facts is what a plan depends on beside the policy: plain data, a value in tests.
type Facts struct {
	GOARCH string
	Kernel string // uname(2) release; for display, and for seccomp profiles that ask for it

	UID, GID    int    // effective ids of the caller
	Groups      []int  // supplementary groups of the caller
	CapEff      uint64 // effective capabilities of the caller, capabilities(7)
	Home        string // $HOME; "" when it is not set
	NProcessors int    // that this process may run on

	LandlockABI int // 0: this kernel has no Landlock, or it is switched off
	MountAPI    MountAPI
	CloseRange  bool // close_range(2), Linux 5.9
	RangeOnExec bool // its flag CLOSE_RANGE_CLOEXEC, Linux 5.11
	Openat2     bool // openat2(2), Linux 5.6

	// Paths holds what Stat was asked to look at.
	Paths map[string]PathFact
}

// MountAPI tells which calls of the mount API by file descriptors are there.
type MountAPI struct {
	OpenTree, MoveMount, Fsopen, Fsmount bool // Linux 5.2
	MountSetattr                         bool // Linux 5.12
}

// Missing names the calls that are not there.
func (m MountAPI) Missing() []string {
	var names []string
	for _, c := range [...]struct {
		name  string
		there bool
	}{
		{"open_tree", m.OpenTree},
		{"move_mount", m.MoveMount},
		{"fsopen", m.Fsopen},
		{"fsmount", m.Fsmount},
		{"mount_setattr", m.MountSetattr},
	} {
		if !c.there {
			names = append(names, c.name)
		}
	}
	return names
}

// usable reports whether nothing is missing that has no substitute: flags of
// mounts can be set by mount(2) as well.
func (m MountAPI) usable() bool {
	m.MountSetattr = true
	return m.Missing() == nil
}

// Quick finds what every start needs, with a handful of system calls that each
// fail or return at once: some ten microseconds together.
func Quick() (Facts, error) {
	f := Facts{
		GOARCH: runtime.GOARCH, NProcessors: runtime.NumCPU(),
		UID: os.Geteuid(), GID: os.Getegid(), Home: os.Getenv("HOME"),
		Paths: map[string]PathFact{},
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err == nil {
		f.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	var err error
	if f.CapEff, err = effective(); err != nil {
		return f, os.NewSyscallError("capget", err)
	}
	if f.Groups, err = unix.Getgroups(); err != nil {
		return f, os.NewSyscallError("getgroups", err)
	}
	f.LandlockABI = landlockABI()
	f.MountAPI = mountAPI()
	f.CloseRange, f.RangeOnExec = closeRange()
	f.Openat2 = exists(unix.SYS_OPENAT2, noFD, 0, 0, 0) // a structure of no size: EINVAL
	return f, nil
}

// effective is the calling thread's effective capability set.
func effective() (uint64, error) {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	err := unix.Capget(&hdr, &data[0])
	return uint64(data[0].Effective) | uint64(data[1].Effective)<<32, err
}

// noFD is a file descriptor that is none.
const noFD = ^uintptr(0)

// exists reports whether the kernel has a system call, by calling it with
// arguments that it must refuse.
func exists(nr, a1, a2, a3, a4 uintptr) bool {
	_, _, e := unix.RawSyscall6(nr, a1, a2, a3, a4, 0, 0)
	return e != unix.ENOSYS
}

// closeRange tells whether there is close_range, and whether it can mark
// descriptors close-on-exec: asked of the highest number, which none has.
func closeRange() (there, onExec bool) {
	const last = 1<<32 - 1
	_, _, e := unix.RawSyscall(unix.SYS_CLOSE_RANGE, last, last, unix.CLOSE_RANGE_CLOEXEC)
	return e != unix.ENOSYS, e == 0
}

// mountAPI asks for each call with a bad descriptor or pointer everywhere, and
// flags that do not exist.
func mountAPI() MountAPI {
	there := func(nr uintptr) bool { return exists(nr, noFD, 0, noFD, 0) }
	return MountAPI{
		OpenTree:     there(unix.SYS_OPEN_TREE),
		MoveMount:    there(unix.SYS_MOVE_MOUNT),
		Fsopen:       there(unix.SYS_FSOPEN),
		Fsmount:      there(unix.SYS_FSMOUNT),
		MountSetattr: there(unix.SYS_MOUNT_SETATTR),
	}
}

// landlockABI is the version of Landlock's interface; 0: there is none.
func landlockABI() int {
	abi, _, e := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if e != 0 {
		return 0
	}
	return int(abi)
}

// KernelVersion is the version of Kernel, {6, 12}; {0, 0} where it says none.
func (f *Facts) KernelVersion() (v [2]int) {
	if n, err := fmt.Sscanf(f.Kernel, "%d.%d", &v[0], &v[1]); n < 2 || err != nil {
		return [2]int{}
	}
	return v
}
