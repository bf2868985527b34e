package cgroup

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
)

// openDir opens a directory that groups are made in, and makes sure that it
// really is one of a cgroup file system: somebody may have mounted over it.
func (l *Layout) openDir(h *Hierarchy, dir string) (int, error) {
	fd, err := retry(func() (int, error) {
		return unix.Openat2(unix.AT_FDCWD, dir, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS})
	})
	if err == unix.ENOSYS { // before Linux 5.6
		fd, err = retry(func() (int, error) {
			return unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		})
	}
	if err != nil {
		return -1, fileError("open", dir, err)
	}
	if l.fake {
		return fd, nil
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		unix.Close(fd)
		return -1, fileError("statfs", dir, err)
	}
	want, kind := int64(unix.CGROUP2_SUPER_MAGIC), "cgroup2"
	if h.Version == 1 {
		want, kind = unix.CGROUP_SUPER_MAGIC, "cgroup v1"
	}
	if int64(st.Type) != want {
		unix.Close(fd)
		return -1, fmt.Errorf("%s is no directory of a %s file system; something is mounted over it, or limits.parent names the wrong one", dir, kind)
	}
	return fd, nil
}

// openBelow opens a name in a directory: never through a link, never across a mount.
func openBelow(dir int, name string, flags int) (int, error) {
	how := unix.OpenHow{Flags: uint64(flags) | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_SYMLINKS}
	fd, err := retry(func() (int, error) { return unix.Openat2(dir, name, &how) })
	if err == unix.ENOSYS {
		fd, err = retry(func() (int, error) { return unix.Openat(dir, name, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0) })
	}
	return fd, err
}

// retry repeats what a signal or a racing rename interrupted, bounded.
func retry(open func() (int, error)) (fd int, err error) {
	for range 64 {
		fd, err = open()
		if err != unix.EINTR && err != unix.EAGAIN {
			return fd, err
		}
	}
	return fd, err
}

// writeBelow writes a whole value: cgroup files take it in one write or not at all.
func writeBelow(dir int, name, value string) error {
	_, err := writeEachBelow(dir, name, value)
	return err
}

// writeEachBelow writes one value after the other, and returns how many were taken.
func writeEachBelow(dir int, name string, values ...string) (taken int, err error) {
	fd, err := openBelow(dir, name, unix.O_WRONLY)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	for taken < len(values) {
		if _, err = unix.Write(fd, []byte(values[taken])); err == nil {
			taken++
		} else if err != unix.EINTR {
			return taken, err
		}
	}
	return taken, nil
}

// readBelow reads a file of a cgroup.
func readBelow(dir int, name string) (string, error) {
	fd, err := openBelow(dir, name, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	return readAll(fd)
}

func readAll(fd int) (string, error) {
	text, err := host.ReadFD(fd, host.Whole)
	return string(text), err
}

// readFile reads a file of procfs, cgroupfs or sysfs: few large reads, no stat.
func readFile(name string) (string, error) {
	fd, s, err := openAndRead(name)
	if err != nil {
		return "", err
	}
	unix.Close(fd)
	return s, nil
}

// openAndRead is readFile with the file left open.
func openAndRead(name string) (fd int, text string, err error) {
	fd, err = retry(func() (int, error) { return unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return -1, "", fileError("open", name, err)
	}
	if text, err = readAll(fd); err != nil {
		unix.Close(fd)
		return -1, "", fileError("read", name, err)
	}
	return fd, text, nil
}

// readInt reads a number below dir; Unknown where there is none. "max" is
// Unknown too: it is no amount.
func readInt(dir int, name string) int64 {
	s, err := readBelow(dir, name)
	if err != nil {
		return Unknown
	}
	return number(s)
}

func number(s string) int64 {
	for len(s) > 0 && (s[len(s)-1] == '\n' || s[len(s)-1] == ' ') {
		s = s[:len(s)-1]
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return Unknown
	}
	return n
}

// fileError names what was done with which file.
func fileError(op, name string, err error) error {
	return fmt.Errorf("%s %s: %w", op, name, err)
}

// writable reports whether this process may write to a file or make entries in
// a directory, by its effective ids, and why not.
func writable(path string, dir bool) error {
	mode := uint32(unix.W_OK)
	if dir {
		mode |= unix.X_OK
	}
	return unix.Faccessat(unix.AT_FDCWD, path, mode, unix.AT_EACCESS)
}
