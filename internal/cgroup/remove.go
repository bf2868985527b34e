package cgroup

import (
	"errors"
	"fmt"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// The kernel takes a dying process out of its cgroup a moment after wait(2)
// has told of it, so a removal may find the group busy for as long.
const (
	firstWait = 50 * time.Microsecond
	longWait  = 20 * time.Millisecond
	patience  = 2 * time.Second
)

// Remove takes the group away, with the groups that were made inside of it, and
// closes its descriptors. All its processes must be gone: else it is EBUSY after
// two seconds, and Kill comes first. The first removal of a program also takes
// away what killed programs left in the same place.
func (g *Group) Remove() error {
	if g.dry {
		return nil
	}
	var errs []error
	for i := range g.dirs {
		d := &g.dirs[i]
		if d.parentFD < 0 {
			continue
		}
		if err := removeTree(d.parentFD, g.Name, time.Now().Add(patience)); err != nil {
			errs = append(errs, fmt.Errorf("remove cgroup %s: %w: %s", path.Join(d.dir, g.Name), err, whyBusy(err)))
			continue
		}
		sweepOnce(d.parentFD)
	}
	g.closeFDs()
	return errors.Join(errs...)
}

func whyBusy(err error) string {
	if err == unix.EBUSY {
		return "processes are left in it; kill those that its cgroup.procs lists"
	}
	return "remove it with rmdir(1)"
}

// removeTree removes a directory and those in it, for as long as they are busy
// until the deadline.
func removeTree(parent int, name string, deadline time.Time) error {
	for wait := firstWait; ; wait = min(2*wait, longWait) {
		err := unix.Unlinkat(parent, name, unix.AT_REMOVEDIR)
		switch err {
		case nil, unix.ENOENT:
			return nil
		case unix.EINTR:
			continue
		case unix.EBUSY, unix.ENOTEMPTY:
		default:
			return err
		}
		if err := removeChildren(parent, name, deadline); err != nil {
			return err
		}
		if unix.Unlinkat(parent, name, unix.AT_REMOVEDIR) == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return err
		}
		time.Sleep(wait)
	}
}

// removeChildren removes the directories in a directory.
func removeChildren(parent int, name string, deadline time.Time) error {
	fd, err := openBelow(parent, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	names, err := subdirs(fd)
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := removeTree(fd, n, deadline); err != nil {
			return err
		}
	}
	return nil
}

// subdirs lists the directories in a directory.
func subdirs(fd int) ([]string, error) {
	if _, err := unix.Seek(fd, 0, unix.SEEK_SET); err != nil {
		return nil, err
	}
	var dirs []string
	buf := make([]byte, 8192)
	for {
		n, err := unix.Getdents(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return dirs, err
		}
		dirs = appendDirs(dirs, buf[:n])
	}
}
