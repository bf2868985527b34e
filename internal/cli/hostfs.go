package cli

import (
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// hostFS is what the reasoning about files asks the host. Paths are absolute
// and hold no symbolic link but perhaps the last part.
type hostFS interface {
	lstat(path string) (inode, error)
	readlink(path string) (string, error)
	acl(path string) []byte       // of acl(5), as the kernel keeps it; nil: none
	mountFlags(path string) int64 // ST_RDONLY and its like, statfs(2)
	open(path string) (file, error)
	glob(pattern string) []string
}

// file is an open file of the host.
type file interface {
	io.ReaderAt
	io.Closer
}

// inode is what lstat(2) tells of a file.
type inode struct {
	mode      uint32 // type and permission bits
	uid, gid  uint32 // outside
	immutable bool   // chattr +i: not even root writes to it
}

func (n inode) is(kind uint32) bool { return n.mode&unix.S_IFMT == kind }

// realHost is the machine that the program runs on.
type realHost struct{}

func (realHost) lstat(path string) (inode, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_BASIC_STATS, &st); err != nil {
		return inode{}, err
	}
	return inode{mode: uint32(st.Mode), uid: st.Uid, gid: st.Gid, immutable: st.Attributes&unix.STATX_ATTR_IMMUTABLE != 0}, nil
}

func (realHost) readlink(path string) (string, error) { return os.Readlink(path) }

func (realHost) acl(path string) []byte {
	buf := make([]byte, 4096)
	n, err := unix.Lgetxattr(path, "system.posix_acl_access", buf)
	if err != nil {
		return nil
	}
	return buf[:n]
}

func (realHost) mountFlags(path string) int64 {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0
	}
	return int64(st.Flags)
}

func (realHost) open(path string) (file, error) {
	// A pipe or a device must not make a question wait.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, unix.EINVAL
	}
	return f, nil
}

func (realHost) glob(pattern string) []string {
	names, _ := filepath.Glob(pattern) // its only error is a bad pattern
	return names
}

// realPath follows the symbolic links of a host path.
func realPath(h hostFS, path string) (string, inode, error) {
	left := strings.Split(strings.Trim(path, "/"), "/")
	at := ""
	n := inode{mode: unix.S_IFDIR | 0o755}
	for links := 0; len(left) > 0; {
		part := left[0]
		left = left[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			at = at[:max(0, strings.LastIndexByte(at, '/'))]
			continue
		}
		if !n.is(unix.S_IFDIR) {
			return "", inode{}, unix.ENOTDIR
		}
		child, err := h.lstat(at + "/" + part)
		if err != nil {
			return "", inode{}, err
		}
		if child.is(unix.S_IFLNK) {
			if links++; links > maxLinks {
				return "", inode{}, unix.ELOOP
			}
			to, err := h.readlink(at + "/" + part)
			if err != nil {
				return "", inode{}, err
			}
			if strings.HasPrefix(to, "/") {
				at = ""
			}
			left = append(strings.Split(strings.Trim(to, "/"), "/"), left...)
			n = inode{mode: unix.S_IFDIR | 0o755}
			continue
		}
		at, n = at+"/"+part, child
	}
	if at == "" {
		root, err := h.lstat("/")
		return "/", root, err
	}
	if !strings.HasSuffix(path, "/") || n.is(unix.S_IFDIR) {
		return at, n, nil
	}
	return "", inode{}, unix.ENOTDIR
}

// maxLinks is how many symbolic links the kernel follows in one path.
const maxLinks = 40
