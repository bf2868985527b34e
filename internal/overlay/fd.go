package overlay

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
)

// below is how every name is resolved: never out of the directory, through a link, or
// into another mount (which an overlay does not see either).
const below = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV

// openBelow opens a path below a directory.
func openBelow(dir int, name string, flags int) (int, error) {
	how := unix.OpenHow{Flags: uint64(flags) | unix.O_CLOEXEC, Resolve: below}
	return host.Openat2(dir, name, &how)
}

// openDir opens a directory below another one, to list it.
func openDir(dir int, name string) (int, error) {
	return openBelow(dir, name, unix.O_RDONLY|unix.O_DIRECTORY)
}

// openFile opens a regular file for reading, and makes sure that it is the one that st is of.
func openFile(dir int, name string, st *unix.Stat_t) (*os.File, error) {
	fd, err := openBelow(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	var now unix.Stat_t
	if err := unix.Fstat(fd, &now); err != nil || now.Ino != st.Ino || now.Dev != st.Dev || now.Mode&unix.S_IFMT != unix.S_IFREG {
		f.Close()
		return nil, errMoved
	}
	return f, nil
}

var errMoved = errors.New("it was replaced while it was read; stop the sandbox first")

// stat is fstatat(2) of a name that may be a symbolic link; ok is false when there is none.
func stat(dir int, name string) (st unix.Stat_t, ok bool, err error) {
	err = unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == unix.ENOENT {
		return st, false, nil
	}
	return st, err == nil, err
}

// names lists a directory, in order.
func names(dir int) ([]string, error) {
	fd, err := openDir(dir, ".")
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), ".")
	defer f.Close()
	all, err := f.Readdirnames(-1)
	slices.Sort(all)
	return all, err
}

// readlink reads the text of a symbolic link.
func readlink(dir int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, name, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// magic is a name in /proc for something that a path-based call, such as that for extended
// attributes of a descriptor opened with O_PATH, has to reach without resolving anything else.
func magic(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// xattr reads an extended attribute of dir's entry name; ok is false when there is none.
func xattr(dir int, name, attr string) (value string, ok bool, err error) {
	fd, err := openBelow(dir, name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return "", false, err
	}
	defer unix.Close(fd)
	return fdXattr(fd, attr)
}

func fdXattr(fd int, attr string) (value string, ok bool, err error) {
	var small [256]byte
	buf := small[:]
	for {
		n, err := unix.Getxattr(magic(fd), attr, buf)
		switch err {
		case nil:
			return string(buf[:n]), true, nil
		case unix.ERANGE:
			buf = make([]byte, 64<<10) // XATTR_SIZE_MAX
		case unix.ENODATA, unix.ENOTSUP, unix.EPERM: // EPERM: user.* on what is neither file nor directory
			return "", false, nil
		default:
			return "", false, err
		}
	}
}

// xattrs are the extended attributes that belong to a file itself: without the marks of
// overlayfs, those that a security module gives, and those that only root may see.
func xattrs(dir int, name string) (map[string]string, error) {
	fd, err := openBelow(dir, name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return fdXattrs(fd)
}

func fdXattrs(fd int) (map[string]string, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return nil, err // a link in /proc to a link can't be followed on; it has none but a label
	}
	buf := make([]byte, 64<<10) // XATTR_LIST_MAX
	n, err := unix.Listxattr(magic(fd), buf)
	if err == unix.ENOTSUP {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for attr := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		as := attr
		for _, marks := range [...]string{"user.overlay.", "trusted.overlay."} {
			if rest, ok := strings.CutPrefix(attr, marks); ok {
				// An attribute of this name that a sandbox sets itself is kept one level deeper.
				if rest, ok = strings.CutPrefix(rest, "overlay."); !ok {
					as = ""
				} else {
					as = marks + rest
				}
			}
		}
		if as == "" || strings.HasPrefix(as, "security.") && as != capability || strings.HasPrefix(as, "trusted.") {
			continue
		}
		value, ok, err := fdXattr(fd, attr)
		if err != nil {
			return nil, err
		}
		if ok {
			all[as] = value
		}
	}
	return all, nil
}

// capability is the attribute that gives a program capabilities(7) at execve(2).
const capability = "security.capability"

// parentOf splits a path below the directory into that of its directory and its name.
func parentOf(p string) (dir, name string) {
	dir, name = path.Split(p)
	if dir == "" {
		return ".", name
	}
	return strings.TrimSuffix(dir, "/"), name
}

// remover removes trees that may be nested deeper than descriptors can be open.
type remover struct {
	top  int // a directory on the same file system
	deep []string
}

// farDown is how deep removeAll follows directories before it moves them up.
const farDown = 256

// removeAll removes a directory's entry with all below it, never through a link or a mount.
func removeAll(dir int, name string) error {
	r := remover{top: dir}
	if err := r.remove(dir, name, 0); err != nil {
		return err
	}
	for len(r.deep) > 0 {
		next := r.deep[0]
		r.deep = r.deep[1:]
		if err := r.remove(dir, next, 0); err != nil {
			return err
		}
	}
	return nil
}

func (r *remover) remove(dir int, name string, depth int) error {
	err := unix.Unlinkat(dir, name, 0)
	if err == nil || err == unix.ENOENT {
		return nil
	}
	if err != unix.EISDIR && err != unix.EPERM {
		return err
	}
	if depth > farDown {
		up := scratch + strconv.FormatUint(rand.Uint64(), 36)
		if err := unix.Renameat2(dir, name, r.top, up, unix.RENAME_NOREPLACE); err != nil {
			return err
		}
		r.deep = append(r.deep, up)
		return nil
	}
	fd, err := openDir(dir, name)
	if err == unix.EACCES { // such as the work directory that the kernel makes
		if p, perr := openBelow(dir, name, unix.O_PATH|unix.O_DIRECTORY); perr == nil {
			_ = unix.Chmod(magic(p), 0o700)
			unix.Close(p)
		}
		fd, err = openDir(dir, name)
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	all, err := names(fd)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if len(all) > 0 && unix.Fstat(fd, &st) == nil && st.Mode&0o300 != 0o300 {
		_ = unix.Fchmod(fd, st.Mode&0o7777|0o700)
	}
	for _, n := range all {
		if err := r.remove(fd, n, depth+1); err != nil {
			return fmt.Errorf("%s: %w", n, err)
		}
	}
	return unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
}
