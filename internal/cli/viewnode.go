package cli

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// node is a file as the command sees it.
type node struct {
	inode
	path     string // inside, without symbolic links
	hostPath string // what it is outside; "" when the set-up made it
	place    *place // the entry that it comes from; nil: the sandbox's own root
	link     string // text, of a symbolic link

	readOnly, noExec, noDev bool // flags of its mount

	lower    bool // in a layer of an overlay that is not written to
	modeOnly bool // capabilities do not help: a sysctl

	// refuse and why: what the kernel decides by other means than modes.
	refuse uint32 // bits of mayRead, mayWrite, mayExec
	why    string
}

// lost is a path that leads nowhere.
type lost struct {
	errno unix.Errno
	at    string // the part of the path that it ends at
	place *place
	dir   *node // the directory in which the last name is missing, for making it
}

func (l *lost) Error() string { return l.at + ": " + l.errno.Error() }

// made is a file that the set-up made.
func (v *view) made(p string, mode uint32, pl *place, readOnly bool) *node {
	return &node{inode: inode{mode: mode, uid: v.maker.uid, gid: v.maker.gid}, path: p, place: pl, readOnly: readOnly, noDev: true}
}

// at finds the file at a path whose parts above the last are directories and
// no links. except is a place to look under.
func (v *view) at(p string, except *place) (*node, error) {
	for i := range v.places {
		if pl := &v.places[i]; pl != except && !pl.skip && pl.target == p {
			return v.top(pl)
		}
	}
	cover := v.coverOf(p)
	if n, err := v.within(cover, p); err == nil {
		return n, nil
	} else if cover != nil && cover.kind != policy.Tmpfs && cover.kind != policy.Overlay {
		return nil, err
	}
	if p == "/" {
		return v.made(p, unix.S_IFDIR|0o755, nil, true), nil
	}
	// Directories are made for what is mounted in them.
	for i := range v.places {
		if pl := &v.places[i]; pl != except && !pl.skip && below(pl.target, p) && v.coverOf(pl.target) == cover {
			return v.made(p, unix.S_IFDIR|0o755, cover, cover == nil), nil
		}
	}
	return nil, unix.ENOENT
}

// top is the root of what a place shows.
func (v *view) top(pl *place) (*node, error) {
	switch pl.kind {
	case policy.Read, policy.Write:
		return v.bound(pl, pl.real)
	case policy.Symlink:
		n := v.made(pl.target, unix.S_IFLNK|0o777, pl, true)
		n.link = pl.link
		return n, nil
	case policy.File:
		mode := pl.Mode
		if mode == 0 {
			mode = 0o644
		}
		return v.made(pl.target, unix.S_IFREG|mode, pl, true), nil
	case policy.Hide:
		mode := uint32(unix.S_IFREG)
		if pl.dir {
			mode = unix.S_IFDIR
		}
		n := v.made(pl.target, mode, pl, true)
		n.noExec = true
		return n, nil
	case policy.Tmpfs:
		mode := pl.Mode
		if mode == 0 {
			mode = 0o755
		}
		return v.made(pl.target, unix.S_IFDIR|mode, pl, false), nil
	case policy.Overlay:
		return v.layered(pl, pl.target)
	case policy.Dev:
		return v.made(pl.target, unix.S_IFDIR|0o755, pl, true), nil
	}
	return v.proc(pl, pl.target)
}

// within finds a path in the tree of a place, below its top.
func (v *view) within(c *place, p string) (*node, error) {
	if c == nil {
		return nil, unix.ENOENT
	}
	switch c.kind {
	case policy.Read, policy.Write:
		n, err := v.bound(c, path.Join(c.real, strings.TrimPrefix(p, strings.TrimSuffix(c.target, "/"))))
		if err == nil {
			n.path = p
		}
		return n, err
	case policy.Overlay:
		return v.layered(c, p)
	case policy.Dev:
		return v.dev(c, p)
	case policy.Proc:
		return v.proc(c, p)
	}
	return nil, unix.ENOENT
}

// bound is a file of the host that a bind shows.
func (v *view) bound(pl *place, real string) (*node, error) {
	n, err := v.host.lstat(real)
	if err != nil {
		return nil, err
	}
	f := &node{inode: n, path: pl.target, hostPath: real, place: pl}
	if n.is(unix.S_IFLNK) {
		if f.link, err = v.host.readlink(real); err != nil {
			return nil, err
		}
		return f, nil
	}
	flags := v.host.mountFlags(real)
	f.readOnly = pl.kind == policy.Read || flags&unix.ST_RDONLY != 0
	f.noExec = flags&unix.ST_NOEXEC != 0
	f.noDev = flags&unix.ST_NODEV != 0 || pl.real != "/dev" && !below(pl.real, "/dev")
	return f, nil
}

// layered is a file of an overlay: that of the topmost layer that has it.
func (v *view) layered(pl *place, p string) (*node, error) {
	layers := pl.Lower
	if len(layers) == 0 {
		layers = []string{pl.Path}
	}
	if pl.Upper != "" {
		layers = append([]string{pl.Upper}, layers...)
	}
	rest := strings.TrimPrefix(p, strings.TrimSuffix(pl.target, "/"))
	for _, l := range layers {
		top, _, err := realPath(v.host, l)
		if err != nil {
			continue
		}
		name := path.Join(top, rest)
		n, err := v.host.lstat(name)
		if err != nil {
			continue
		}
		if n.is(unix.S_IFCHR) && l == pl.Upper {
			return nil, unix.ENOENT // a whiteout: deleted
		}
		f := &node{inode: n, path: p, hostPath: name, place: pl, noDev: true, lower: l != pl.Upper}
		if n.is(unix.S_IFLNK) {
			if f.link, err = v.host.readlink(name); err != nil {
				return nil, err
			}
		}
		return f, nil
	}
	return nil, unix.ENOENT
}

// walk follows a path as the kernel would for the command. A missing last name
// is a *lost with the directory that lacks it.
func (v *view) walk(name string) (*node, error) {
	at, err := v.at("/", nil)
	if err != nil {
		return nil, &lost{unix.ENOENT, "/", nil, nil}
	}
	left := strings.Split(strings.TrimRight(name, "/"), "/")
	for links := 0; len(left) > 0; {
		part := left[0]
		left = left[1:]
		if part == "" || part == "." {
			continue
		}
		child, l := v.step(at, part)
		switch {
		case l != nil:
			if len(left) > 0 {
				l.dir = nil
			}
			return nil, l
		case !child.is(unix.S_IFLNK):
			at = child
			continue
		case child.link == "":
			return nil, &lost{unix.EXDEV, child.path, child.place, nil} // a descriptor, see viewproc.go
		}
		if links++; links > maxLinks {
			return nil, &lost{unix.ELOOP, child.path, child.place, nil}
		}
		if strings.HasPrefix(child.link, "/") {
			if at, err = v.at("/", nil); err != nil {
				return nil, &lost{unix.ENOENT, "/", nil, nil}
			}
		}
		left = append(strings.Split(strings.TrimRight(child.link, "/"), "/"), left...)
	}
	return at, nil
}

// step looks one name up in a directory.
func (v *view) step(at *node, part string) (*node, *lost) {
	if !at.is(unix.S_IFDIR) {
		return nil, &lost{unix.ENOTDIR, at.path, at.place, nil}
	}
	if !v.maySee && !v.permits(at, mayExec) {
		return nil, &lost{unix.EACCES, at.path, at.place, nil}
	}
	p := path.Join(at.path, part) // ".." too: no part of at.path is a link
	child, err := v.at(p, nil)
	if err == nil {
		child.path = p
		return child, nil
	}
	e, _ := err.(unix.Errno)
	if e == unix.EACCES && at.hostPath != "" {
		e = unix.EXDEV // the command may enter, its caller may not: nobody here knows
	}
	l := &lost{e, p, at.place, nil}
	if e == unix.ENOENT {
		l.dir = at
	}
	return nil, l
}

// permits reports whether modes, lists and capabilities let the command do
// something with a file.
func (v *view) permits(n *node, want uint32) bool {
	if n.refuse&want != 0 {
		return false
	}
	var acl []byte
	if n.hostPath != "" && n.uid != v.who.uid && n.mode&0o070 != 0 {
		acl = v.host.acl(n.hostPath)
	}
	who := v.who
	if n.modeOnly {
		who.overrides, who.searches = false, false
	}
	// One bit at a time: that is all the difference there is between lists and modes.
	for bit := uint32(mayRead); bit > 0; bit >>= 1 {
		if want&bit != 0 && !who.permits(n.inode, acl, bit) {
			return false
		}
	}
	return true
}
