package oci

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/internal/plan"
)

// copyUp fills a tmpfs with what it is going to cover (tmpcopyup). Both are
// descriptors of the image's, so no name in the container is walked but below them.
func (m *maker) copyUp() error {
	mount := m.nextCopyUp()
	var fds [2]int
	for i := range fds {
		kind, fd, err := m.image.Receive()
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if kind != plan.SentCopyUp {
			return fmt.Errorf("the launcher image has sent something unknown (%d)", kind)
		}
		fds[i] = fd
	}
	from, err := host.Openat2(fds[0], ".", &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC})
	if err != nil {
		return fmt.Errorf("tmpcopyup: open the directory to be copied: %w", err)
	}
	defer unix.Close(from)
	to, err := host.Openat2(fds[1], ".", &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC})
	if err != nil {
		return fmt.Errorf("tmpcopyup: open the new file system: %w", err)
	}
	defer unix.Close(to)
	back, err := m.asContainerRoot()
	if err != nil {
		return fmt.Errorf("tmpcopyup: %w", err)
	}
	defer back()
	// The file system has its mode from the mount's options: those of config.json, or what
	// compile_mounts.go put there; and its owner where they name one.
	var st unix.Stat_t
	if err := unix.Fstat(to, &st); err != nil {
		return err
	}
	if err := copyTree(from, to, 0); err != nil {
		return fmt.Errorf("tmpcopyup: %w", err)
	}
	uid, gid := -1, -1
	if hasPrefixed(mount.Options, "uid=") {
		uid = int(st.Uid)
	}
	if hasPrefixed(mount.Options, "gid=") {
		gid = int(st.Gid)
	}
	if err := unix.Fchown(to, uid, gid); err != nil {
		return fmt.Errorf("tmpcopyup: %w", err)
	}
	return unix.Fchmod(to, st.Mode&0o7777)
}

// nextCopyUp is the mount that the image asks to have filled: it does them in their order.
func (m *maker) nextCopyUp() *plan.ContainerMount {
	mounts := m.compiler.in.Mounts
	for !mounts[m.copied].CopyUp {
		m.copied++
	}
	m.copied++
	return &mounts[m.copied-1]
}

// asContainerRoot has this thread make files as the root of the container's user
// namespace does: a file system of that namespace takes no file of anybody else's.
// Its capabilities stay; back undoes it.
func (m *maker) asContainerRoot() (back func(), err error) {
	if !m.compiler.userNS() || m.compiler.facts.CapEff&(1<<unix.CAP_SETUID) == 0 {
		return func() {}, nil
	}
	dir := "/proc/" + strconv.Itoa(m.pid()) + "/"
	uid, err := hostID(dir + "uid_map")
	if err != nil {
		return nil, err
	}
	gid, err := hostID(dir + "gid_map")
	if err != nil {
		return nil, err
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var before [2]unix.CapUserData
	if err := unix.Capget(&header, &before[0]); err != nil {
		return nil, os.NewSyscallError("capget", err)
	}
	// credentials(7): both are of this thread alone, to which it is locked.
	back = func() {
		_ = unix.Setfsuid(os.Geteuid())
		_ = unix.Setfsgid(os.Getegid())
	}
	_ = unix.Setfsgid(gid)
	_ = unix.Setfsuid(uid)
	if err := unix.Capset(&header, &before[0]); err != nil {
		back()
		return nil, os.NewSyscallError("capset", err)
	}
	return back, nil
}

// hostID is the id on the host of id 0, as an id map tells it.
func hostID(name string) (int, error) {
	text, err := readFile(name)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "0" {
			return strconv.Atoi(f[1])
		}
	}
	return 0, fmt.Errorf("%s: id 0 is not mapped", name)
}

const maxCopyDepth = 64

var errDeep = errors.New("directories are nested more than 64 deep")

// copyTree copies a directory's content, by descriptors of directories and names
// that are one part long. Nothing is followed, and a mount below is not entered.
func copyTree(from, to, depth int) error {
	if depth > maxCopyDepth {
		return errDeep
	}
	if err := copyMeta(from, to); err != nil {
		return err
	}
	names, err := readNames(from)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := copyEntry(from, to, name, depth); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func readNames(fd int) ([]string, error) {
	buf := make([]byte, 32<<10)
	var names []string
	for {
		n, err := unix.ReadDirent(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return names, err
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}

func copyEntry(from, to int, name string, depth int) error {
	var st unix.Stat_t
	if err := unix.Fstatat(from, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	const resolve = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		if err := unix.Mkdirat(to, name, 0o700); err != nil {
			return err
		}
		in, err := host.Openat2(from, name, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: resolve})
		if err != nil {
			return err
		}
		defer unix.Close(in)
		out, err := host.Openat2(to, name, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: resolve})
		if err != nil {
			return err
		}
		defer unix.Close(out)
		return copyTree(in, out, depth+1)
	case unix.S_IFLNK:
		buf := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(from, name, buf)
		if err != nil {
			return err
		}
		if err := unix.Symlinkat(string(buf[:n]), to, name); err != nil {
			return err
		}
		return unix.Fchownat(to, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW)
	case unix.S_IFREG:
		return copyRegular(from, to, name, resolve)
	default:
		if err := unix.Mknodat(to, name, st.Mode, int(st.Rdev)); err != nil {
			return err
		}
		if err := unix.Fchownat(to, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
		return unix.Fchmodat(to, name, st.Mode&0o7777, 0)
	}
}

func copyRegular(from, to int, name string, resolve uint64) error {
	in, err := host.Openat2(from, name, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC, Resolve: resolve})
	if err != nil {
		return err
	}
	defer unix.Close(in)
	out, err := host.Openat2(to, name, &unix.OpenHow{Flags: unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC, Mode: 0o600, Resolve: resolve})
	if err != nil {
		return err
	}
	defer unix.Close(out)
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Read(in, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		for at := 0; at < n; {
			w, err := unix.Write(out, buf[at:n])
			if err != nil {
				return err
			}
			at += w
		}
	}
	return copyMeta(in, out)
}

// copyMeta gives a file the owner, mode, times and extended attributes of another.
func copyMeta(from, to int) error {
	var st unix.Stat_t
	if err := unix.Fstat(from, &st); err != nil {
		return err
	}
	if err := unix.Fchown(to, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if err := unix.Fchmod(to, st.Mode&0o7777); err != nil {
		return err
	}
	return copyXattrs(from, to)
}

func copyXattrs(from, to int) error {
	size, err := unix.Flistxattr(from, nil)
	if err != nil || size == 0 {
		return nil // a file system without them
	}
	list := make([]byte, size)
	if size, err = unix.Flistxattr(from, list); err != nil {
		return err
	}
	for begin, i := 0, 0; i < size; i++ {
		if list[i] != 0 {
			continue
		}
		name := string(list[begin:i])
		begin = i + 1
		n, err := unix.Fgetxattr(from, name, nil)
		if err != nil {
			return err
		}
		value := make([]byte, n)
		if n > 0 {
			if n, err = unix.Fgetxattr(from, name, value); err != nil {
				return err
			}
		}
		// What this tmpfs or this user can't have is left out, as cp -a does.
		if err := unix.Fsetxattr(to, name, value[:n], 0); err != nil && err != unix.EOPNOTSUPP && err != unix.EPERM {
			return err
		}
	}
	return nil
}
