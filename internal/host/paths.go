package host

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

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
	Linked   bool   // it does not exist, and a symbolic link is on the way to where it would be
	Real     string // the path with every symbolic link resolved

	// Links are the real places of the symbolic links that lead from the path to Real,
	// where FollowLinks looked for them, each with a NUL behind it: facts are compared.
	Links string
}

// FollowLinks finds the links on the way of paths that Stat has looked at.
func (f *Facts) FollowLinks(paths ...string) {
	for _, p := range paths {
		fact := f.Paths[p]
		fact.Links = linksOn(p)
		f.Paths[p] = fact
	}
}

// linksOn walks a path as the kernel does, path_resolution(7), which gives up after 40
// links as well.
func linksOn(p string) string {
	var links strings.Builder
	left := strings.Split(p, "/")
	at := "/"
	for n := 0; len(left) > 0 && n < 40; {
		name := left[0]
		left = left[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at = filepath.Dir(at)
			continue
		}
		here := filepath.Join(at, name)
		to, err := os.Readlink(here)
		if err != nil {
			at = here
			continue
		}
		n++
		links.WriteString(here + "\x00")
		if filepath.IsAbs(to) {
			at = "/"
		}
		left = append(strings.Split(to, "/"), left...)
	}
	return links.String()
}

// Stat looks at paths and keeps what it finds in f.Paths. Symbolic links are
// followed; nothing is opened for reading.
func (f *Facts) Stat(paths ...string) {
	if f.Paths == nil {
		f.Paths = make(map[string]PathFact, len(paths))
	}
	for _, p := range paths {
		if _, ok := f.Paths[p]; !ok {
			f.Paths[p] = statPath(p)
		}
	}
}

// Look is Stat for paths on which something is going to be mounted: what is there
// matters, and its real name, owner and inode do not. It is one system call for
// each that is no symbolic link.
func (f *Facts) Look(paths ...string) {
	if f.Paths == nil {
		f.Paths = make(map[string]PathFact, len(paths))
	}
	for _, p := range paths {
		if _, ok := f.Paths[p]; ok {
			continue
		}
		var st unix.Statx_t
		err := unix.Statx(unix.AT_FDCWD, p, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE|unix.STATX_MODE, &st)
		switch {
		case err != nil:
			f.Paths[p] = PathFact{Err: errnoName(err), Linked: linkedAway(p)}
		case st.Mode&unix.S_IFMT == unix.S_IFLNK:
			pf := statPath(p)
			pf.Linked = !pf.Exists
			f.Paths[p] = pf
		default:
			f.Paths[p] = PathFact{Exists: true, Mode: uint32(st.Mode)}
		}
	}
}

// statPath resolves the path once, and takes all but the link's text from the
// descriptor, so that everything told belongs to the same file.
func statPath(p string) PathFact {
	pf := PathFact{}
	fd, err := openPath(p)
	if err != nil {
		pf.Err = errnoName(err)
		pf.Link, _ = os.Readlink(p) // one that leads nowhere
		return pf
	}
	defer unix.Close(fd)
	found := PathFact{}
	if err := found.stat(fd); err != nil {
		pf.Err = errnoName(err)
		return pf
	}
	if found.Real, err = realPath(fd, p); err != nil {
		pf.Err = errnoName(err)
		return pf
	}
	if found.Real != p {
		found.Link, _ = os.Readlink(p)
	}
	return found
}

// stat takes from an open file what statx(2) tells.
func (pf *PathFact) stat(fd int) error {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS, &st); err != nil {
		return err
	}
	pf.Exists = true
	pf.Mode, pf.UID, pf.GID = uint32(st.Mode), st.Uid, st.Gid
	pf.Ino, pf.DevMajor, pf.DevMinor = st.Ino, st.Dev_major, st.Dev_minor
	pf.Rdev = unix.Mkdev(st.Rdev_major, st.Rdev_minor)
	return nil
}

func openPath(p string) (fd int, err error) {
	for {
		fd, err = unix.Open(p, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// linkedAway reports whether a symbolic link is on the way to p, which does not exist.
func linkedAway(p string) bool {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS}
	fd, err := unix.Openat2(unix.AT_FDCWD, p, &how)
	if err == nil {
		unix.Close(fd) // it has come into being meanwhile: to be looked at again
		return true
	}
	return err == unix.ELOOP
}

// realPath asks the kernel for the name of an open file: one readlink, where
// walking the path would take a call for every part of it.
func realPath(fd int, p string) (string, error) {
	var buf [unix.PathMax]byte
	n, err := unix.Readlink("/proc/self/fd/"+strconv.Itoa(fd), buf[:])
	if err != nil || n <= 0 || n == len(buf) || buf[0] != '/' {
		return filepath.EvalSymlinks(p) // no /proc here, or a name that leads nowhere
	}
	return string(buf[:n]), nil
}

func errnoName(err error) string {
	for {
		if e, ok := err.(unix.Errno); ok {
			if n := unix.ErrnoName(e); n != "" {
				return n
			}
		}
		w, ok := err.(interface{ Unwrap() error })
		if !ok {
			return err.Error()
		}
		err = w.Unwrap()
	}
}
