// Package host tells what this kernel, this user and this machine offer, found
// by trying and never guessed from a version number.
package host

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// Facts is what a plan depends on beside the policy: plain data, a value in tests.
type Facts struct {
	GOARCH string
	Kernel string // uname(2) release; for display, nothing is decided by it

	UID, GID int    // effective ids of the caller
	CapEff   uint64 // effective capabilities of the caller, capabilities(7)

	LandlockABI int  // 0: this kernel has no Landlock, or it is switched off
	NewMountAPI bool // open_tree, move_mount, fsopen and mount_setattr (Linux 5.12)

	// Paths holds what Stat was asked to look at.
	Paths map[string]PathFact
}

// PathFact is what a path of the host is.
type PathFact struct {
	Exists   bool
	Err      string // errno name of looking at it, when it does not exist or can't be looked at
	Mode     uint32 // st_mode of what the path leads to
	UID, GID uint32
	Ino      uint64
	DevMajor uint32 // of the file system it is on
	DevMinor uint32
	Rdev     uint64 // of a device node, makedev(3)
	Link     string // the text of the link, when the path itself is a symbolic link
	Real     string // the path with every symbolic link resolved
}

// Quick finds what every start needs, with a handful of cheap system calls.
func Quick() (Facts, error) {
	f := Facts{GOARCH: runtime.GOARCH, UID: os.Geteuid(), GID: os.Getegid(), Paths: map[string]PathFact{}}
	var u unix.Utsname
	if err := unix.Uname(&u); err == nil {
		f.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err == nil {
		f.CapEff = uint64(data[0].Effective) | uint64(data[1].Effective)<<32
	}
	if abi, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION); e == 0 {
		f.LandlockABI = int(abi)
	}
	// A bad descriptor is EBADF where the call exists.
	_, _, e := unix.Syscall6(unix.SYS_MOUNT_SETATTR, ^uintptr(0), 0, 0, 0, 0, 0)
	f.NewMountAPI = e != unix.ENOSYS
	return f, nil
}

// Stat looks at paths and keeps what it finds in f.Paths.
func (f *Facts) Stat(paths ...string) {
	for _, p := range paths {
		if _, ok := f.Paths[p]; !ok {
			f.Paths[p] = statPath(p)
		}
	}
}

func statPath(p string) PathFact {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, p, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS, &st); err != nil {
		return PathFact{Err: errnoName(err)}
	}
	pf := PathFact{}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		pf.Link, _ = os.Readlink(p)
		if err := unix.Statx(unix.AT_FDCWD, p, 0, unix.STATX_BASIC_STATS, &st); err != nil {
			pf.Err = errnoName(err)
			return pf
		}
	}
	real, err := realPath(p)
	if err != nil {
		pf.Err = err.Error()
		return pf
	}
	pf.Exists, pf.Real = true, real
	pf.Mode, pf.UID, pf.GID = uint32(st.Mode), st.Uid, st.Gid
	pf.Ino, pf.DevMajor, pf.DevMinor = st.Ino, st.Dev_major, st.Dev_minor
	pf.Rdev = unix.Mkdev(st.Rdev_major, st.Rdev_minor)
	return pf
}

// realPath asks the kernel for the name of what a path leads to: one open and
// one readlink, where walking the path would take a call for every part of it.
func realPath(p string) (string, error) {
	fd, err := unix.Open(p, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	real, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil || real == "" || real[0] != '/' {
		return filepath.EvalSymlinks(p) // no /proc here
	}
	return real, nil
}

func errnoName(err error) string {
	if e, ok := err.(unix.Errno); ok {
		if n := unix.ErrnoName(e); n != "" {
			return n
		}
	}
	return err.Error()
}
