package overlay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// view is a layer that is open.
type view struct {
	tree
	store *Store
	layer *Layer
}

// view opens a layer.
func (s *Store) view(l *Layer) (v *view, err error) {
	v = &view{store: s, layer: l, tree: tree{upper: -1, lower: -1, marks: l.marks()}}
	defer func() {
		if err != nil {
			v.close()
		}
	}()
	if v.upper, err = openDir(s.entry.DirFD(), l.at+"/upper"); err != nil {
		return v, &fs.PathError{Op: "open", Path: s.entry.Path(l.at + "/upper"), Err: err}
	}
	v.lower, err = unix.Openat2(unix.AT_FDCWD, l.Dir, &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return v, &fs.PathError{Op: "open", Path: l.Dir, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(v.lower, &st); err != nil {
		return v, err
	}
	if st.Dev != l.Dev || st.Ino != l.Ino {
		return v, fmt.Errorf("%s is another directory than the one that the changes are to: it was replaced, or another file system is mounted there", l.Dir)
	}
	if v.base, err = s.readBase(l); err != nil {
		return v, fmt.Errorf("the state of %s at the start can't be read: %w", l.Dir, err)
	}
	return v, nil
}

func (v *view) close() {
	for _, fd := range [...]int{v.lower, v.upper} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// Diff lists the changes of a layer, by path.
func (s *Store) Diff(l *Layer) ([]Change, error) {
	v, err := s.view(l)
	if err != nil {
		return nil, err
	}
	defer v.close()
	return v.diff()
}

func (v *view) diff() ([]Change, error) {
	top, err := v.top()
	if err != nil {
		return nil, err
	}
	defer top.close()
	all, err := v.topChange()
	if err != nil {
		return nil, err
	}
	err = v.walk(top, func(c Change) { all = append(all, c) })
	if err != nil {
		return nil, err
	}
	links := v.resolver()
	for i := range all {
		c := &all[i]
		if c.Refused = v.dangerous(c, links); c.Refused == "" {
			if c.Refused, err = v.conflict(c); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// topChange is that of the directory's own mode and owner.
func (v *view) topChange() ([]Change, error) {
	c := Change{Path: ".", Kind: Changed, Type: "directory", now: &node{path: ".", up: true}, before: &node{path: "."}}
	var up unix.Stat_t
	if err := unix.Fstat(v.upper, &up); err != nil {
		return nil, err
	}
	if err := unix.Fstat(v.lower, &c.before.st); err != nil {
		return nil, err
	}
	// The upper layer's directory may never have had the same owner.
	was, is := v.layer.Root, metaOf(&up)
	c.now.st = c.before.st
	if is.Mode != was.Mode {
		c.now.st.Mode = up.Mode
	}
	if is.UID != was.UID || is.GID != was.GID {
		c.now.st.Uid, c.now.st.Gid = up.Uid, up.Gid
	}
	if c.now.st.Mode != c.before.st.Mode {
		c.What = append(c.What, "mode")
	}
	if c.now.st.Uid != c.before.st.Uid || c.now.st.Gid != c.before.st.Gid {
		c.What = append(c.What, "owner")
	}
	if c.What == nil {
		return nil, nil
	}
	return []Change{c}, nil
}

// walk compares a level of the merged tree with the directory.
func (v *view) walk(l *level, emit func(Change)) error {
	all, err := l.names()
	if err != nil {
		return fmt.Errorf("%s: %w", l.path, err)
	}
	for _, name := range all {
		merged, before, err := v.look(l, name)
		if err != nil {
			return fmt.Errorf("%s: %w", path.Join(l.path, name), err)
		}
		if err := v.compare(l, name, merged, before, emit); err != nil {
			return err
		}
	}
	return nil
}

func (v *view) compare(l *level, name string, merged, before *node, emit func(Change)) error {
	c := Change{Path: path.Join(l.path, name), now: merged, before: before}
	switch {
	case merged == nil && before == nil:
		return nil
	case merged == nil:
		c.Kind, c.Type = Removed, typeName(before.st.Mode)
		emit(c)
		return nil
	case before == nil:
		c.Kind, c.Type = Added, typeName(merged.st.Mode)
		emit(c)
	default:
		c.Kind, c.Type = Changed, typeName(merged.st.Mode)
		var err error
		if c.What, err = v.differences(merged, before); err != nil {
			if !errors.Is(err, unix.EACCES) {
				return fmt.Errorf("%s: %w", c.Path, err)
			}
			c.What, c.Refused = []string{"content"}, "it can't be read: "+err.Error()
		}
		if was := typeName(before.st.Mode); was != c.Type {
			c.Was = was
		}
		if len(c.What) > 0 {
			emit(c)
		}
	}
	if !merged.isDir() {
		return nil
	}
	next, err := v.enter(l, name, merged, before)
	if err != nil {
		return err
	}
	defer next.close()
	return v.walk(next, emit)
}

// differences says in what two nodes differ.
func (v *view) differences(a, b *node) (what []string, err error) {
	if a.st.Mode&unix.S_IFMT != b.st.Mode&unix.S_IFMT {
		return []string{"type"}, nil
	}
	switch a.st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		differs, err := v.contentDiffers(a, b)
		if err != nil {
			return nil, err
		}
		if differs {
			what = append(what, "content")
		}
	case unix.S_IFLNK:
		x, err := readlinkBelow(v.tree.layer(a), a.path)
		if err != nil {
			return nil, err
		}
		y, err := readlinkBelow(v.tree.layer(b), b.path)
		if err != nil {
			return nil, err
		}
		if x != y {
			what = append(what, "content")
		}
	case unix.S_IFCHR, unix.S_IFBLK:
		if a.st.Rdev != b.st.Rdev {
			what = append(what, "content")
		}
	}
	if a.st.Mode != b.st.Mode {
		what = append(what, "mode")
	}
	if a.st.Uid != b.st.Uid || a.st.Gid != b.st.Gid {
		what = append(what, "owner")
	}
	x, err := xattrs(v.tree.layer(a), a.path)
	if err != nil {
		return nil, err
	}
	y, err := xattrs(v.tree.layer(b), b.path)
	if err != nil {
		return nil, err
	}
	if !maps.Equal(x, y) {
		what = append(what, "attributes")
	}
	if what == nil && a.isFile() && a.st.Mtim != b.st.Mtim {
		what = append(what, "time")
	}
	return what, nil
}

func readlinkBelow(dir int, p string) (string, error) {
	parent, name := parentOf(p)
	fd, err := openDir(dir, parent)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	return readlink(fd, name)
}

// content is where the bytes of a file are.
func (v *view) content(n *node) (dir int, name string, st unix.Stat_t, err error) {
	if n.data == "" {
		return v.tree.layer(n), n.path, n.st, nil
	}
	fd, err := openBelow(v.lower, n.data, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return -1, "", st, fmt.Errorf("its content, %s: %w", n.data, err)
	}
	defer unix.Close(fd)
	err = unix.Fstat(fd, &st)
	return v.lower, n.data, st, err
}

func (v *view) contentDiffers(a, b *node) (bool, error) {
	dirA, nameA, stA, err := v.content(a)
	if err != nil {
		return false, err
	}
	dirB, nameB, stB, err := v.content(b)
	if err != nil {
		return false, err
	}
	if stA.Size != stB.Size {
		return true, nil
	}
	if stA.Ino == stB.Ino && stA.Dev == stB.Dev {
		return false, nil
	}
	x, err := openFile(dirA, nameA, &stA)
	if err != nil {
		return false, err
	}
	defer x.Close()
	y, err := openFile(dirB, nameB, &stB)
	if err != nil {
		return false, err
	}
	defer y.Close()
	return bytesDiffer(x, y, stA.Size)
}

// bytesDiffer compares two files of the same size. It passes over where both have a hole.
func bytesDiffer(x, y *os.File, size int64) (bool, error) {
	bufX, bufY := make([]byte, 128<<10), make([]byte, 128<<10)
	for at := int64(0); ; {
		dataX, err := nextData(x, at, size)
		if err != nil {
			return false, err
		}
		dataY, err := nextData(y, at, size)
		if err != nil {
			return false, err
		}
		if at = min(dataX, dataY); at >= size {
			return false, nil
		}
		n, err := x.ReadAt(bufX, at)
		if err != nil && err != io.EOF {
			return false, err
		}
		m, err := y.ReadAt(bufY, at)
		if err != nil && err != io.EOF {
			return false, err
		}
		if n == 0 || !bytes.Equal(bufX[:n], bufY[:m]) {
			return true, nil // 0: it was cut meanwhile
		}
		at += int64(n)
	}
}

// nextData is where the first byte from at on is that is in no hole; size: nowhere.
func nextData(f *os.File, at, size int64) (int64, error) {
	data, err := f.Seek(at, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return size, nil
	}
	return data, err
}

// conflict says what in the directory is no longer as it was when the sandbox was started,
// or "".
func (v *view) conflict(c *Change) (string, error) {
	was, known := v.base[c.Path]
	switch {
	case c.before == nil && known:
		return "it was removed from the directory meanwhile", nil
	case c.before != nil && !known:
		return "something of that name was made in the directory meanwhile", nil
	case c.before != nil && !was.same(&c.before.st):
		return "it was changed in the directory meanwhile", nil
	}
	// What has to go with a directory must be what the sandbox saw.
	if c.before.isDir() && !c.now.isDir() {
		fd, err := openDir(v.lower, c.Path)
		if err != nil {
			return "", fmt.Errorf("%s: %w", c.Path, err)
		}
		defer unix.Close(fd)
		return v.base.unchanged(fd, c.Path)
	}
	return "", nil
}

// unchanged says what in the directory p is not as it was, or "".
func (b base) unchanged(fd int, p string) (string, error) {
	now := base{}
	if err := now.add(fd, p+"/", 0); err != nil {
		return "", err
	}
	for name, v := range now {
		was, ok := b[name]
		switch {
		case !ok:
			return name + " was made in the directory meanwhile", nil
		case was != v && v.Mode&unix.S_IFMT != unix.S_IFDIR:
			return name + " was changed in the directory meanwhile", nil
		}
	}
	return "", nil
}
