package overlay

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// make makes a change's new file, directory or link under another name.
func (a *applier) make(c *Change, parent int, tmp string) error {
	switch c.now.st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return a.file(c, parent, tmp)
	case unix.S_IFDIR:
		if err := unix.Mkdirat(parent, tmp, 0o700); err != nil {
			return err
		}
		fd, err := openDir(parent, tmp)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		// Its own mode may refuse what has to be put into it.
		if err := a.attributes(c.now, fd, c.now.st.Mode&0o7777|0o700); err != nil {
			return err
		}
		a.modes = append(a.modes, *c)
		return nil
	case unix.S_IFLNK:
		to, err := readlinkBelow(a.tree.layer(c.now), c.now.path)
		if err != nil {
			return err
		}
		if a.resolver().leadsOut(dirOf(c.Path), to) {
			return refusal("it leads out of the directory, to " + to)
		}
		if err := unix.Symlinkat(to, parent, tmp); err != nil {
			return err
		}
		if err := unix.Fchownat(parent, tmp, int(c.now.st.Uid), int(c.now.st.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return ownerError(c.now, err)
		}
		return unix.UtimesNanoAt(parent, tmp, []unix.Timespec{c.now.st.Atim, c.now.st.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
	}
	return refusal("it is no file, directory or link") // dangerous has refused it already
}

func dirOf(p string) string {
	dir, _ := parentOf(p)
	return dir
}

// file copies a regular file, or makes a further name of one that was copied already.
func (a *applier) file(c *Change, parent int, tmp string) error {
	id := [2]uint64{c.now.st.Dev, c.now.st.Ino}
	several := c.now.up && c.now.st.Nlink > 1
	if first, ok := a.links[id]; ok && several {
		return a.link(first, parent, tmp)
	}
	dir, name, st, err := a.content(c.now)
	if err != nil {
		return err
	}
	if was, ok := a.base[name]; dir == a.lower && name != c.Path && (!ok || !was.same(&st)) {
		return refusal("its content is that of " + name + ", which is no longer as it was; copy it by hand")
	}
	from, err := openFile(dir, name, &st)
	if err != nil {
		return err
	}
	defer from.Close()
	fd, err := unix.Openat(parent, tmp, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	to := os.NewFile(uintptr(fd), c.Path)
	defer to.Close()
	if err := copyData(to, from, st.Size); err != nil {
		return err
	}
	// The bits that were refused when the changes were listed may be there now.
	var now unix.Stat_t
	if err := unix.Fstat(int(from.Fd()), &now); err != nil {
		return err
	}
	if now.Ctim != st.Ctim || now.Size != st.Size || now.Mode != st.Mode {
		return errMoved
	}
	if err := a.attributes(c.now, fd, c.now.st.Mode&0o777); err != nil {
		return err
	}
	times := []unix.Timespec{c.now.st.Atim, c.now.st.Mtim}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, magic(fd), times, 0); err != nil {
		return err
	}
	if several {
		a.links[id] = c.Path
	}
	return to.Sync()
}

// copyData copies a file's bytes and leaves holes out: one of a terabyte costs a sandbox nothing.
func copyData(to, from *os.File, size int64) error {
	if err := to.Truncate(size); err != nil {
		return err
	}
	for at := int64(0); at < size; {
		data, err := nextData(from, at, size)
		if err != nil || data >= size {
			return err
		}
		hole, err := from.Seek(data, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		hole = min(hole, size)
		for _, f := range [...]*os.File{from, to} {
			if _, err := f.Seek(data, io.SeekStart); err != nil {
				return err
			}
		}
		if n, err := io.CopyN(to, from, hole-data); err != nil || n != hole-data {
			return errors.Join(err, errMoved)
		}
		at = hole
	}
	return nil
}

// link makes a further name of a file that was brought over under its first one.
func (a *applier) link(first string, parent int, tmp string) error {
	dir, name := parentOf(first)
	fd, err := openBelow(a.lower, dir, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Linkat(fd, name, parent, tmp, 0); err != nil {
		return err
	}
	st, ok, err := stat(parent, tmp)
	if err != nil || !ok || st.Ino != a.base[first].Ino {
		return errors.Join(err, errMeanwhile)
	}
	return nil
}

// attributes gives an open file or directory the owner, mode and extended attributes of a
// node. The owner comes first: a change of it clears bits and capabilities.
func (a *applier) attributes(n *node, fd int, mode uint32) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Uid != n.st.Uid || st.Gid != n.st.Gid {
		if err := unix.Fchown(fd, int(n.st.Uid), int(n.st.Gid)); err != nil {
			return ownerError(n, err)
		}
	}
	if err := unix.Fchmod(fd, mode); err != nil {
		return err
	}
	want, err := xattrs(a.tree.layer(n), n.path)
	if err != nil {
		return err
	}
	have, err := fdXattrs(fd) // a new file gets an ACL from its directory
	if err != nil {
		return err
	}
	for attr := range have {
		if _, ok := want[attr]; !ok {
			if err := unix.Fremovexattr(fd, attr); err != nil && err != unix.ENODATA {
				return fmt.Errorf("attribute %s: %w", attr, err)
			}
		}
	}
	for attr, value := range want {
		if attr == capability {
			return refusal("it would give capabilities to who executes it (" + capability + ")")
		}
		if old, ok := have[attr]; ok && old == value {
			continue
		}
		if err := unix.Fsetxattr(fd, attr, []byte(value), 0); err != nil {
			return fmt.Errorf("attribute %s: %w", attr, err)
		}
	}
	return nil
}

func ownerError(n *node, err error) error {
	if err == unix.EPERM {
		return refusal(fmt.Sprintf("it belongs to user %d and group %d, whom you may not give files to; do this as root", n.st.Uid, n.st.Gid))
	}
	return err
}

// directory gives a directory that stays its new owner, mode and attributes.
func (a *applier) directory(c *Change, parent int, name string) error {
	fd, err := openDir(parent, name)
	if err != nil {
		return refused(err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Ino != c.before.st.Ino || !versionOf(&c.before.st).same(&st) {
		return errMeanwhile
	}
	if err := a.attributes(c.now, fd, c.now.st.Mode&0o7777); err != nil {
		return refused(err)
	}
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	a.base[c.Path] = versionOf(&st)
	return nil
}
