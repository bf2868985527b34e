// Package state keeps on disk what has to be known about something that outlives the
// command that made it: a directory for each sandbox or container, in a directory of its
// owner's. Others can neither read nor replace it. Everything is reached by descriptors, so that a
// link or a directory that somebody puts in the way is refused and never followed.
package state

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
)

// ErrExists and ErrNotExist are what Create and the others find about a name.
var (
	ErrExists   = errors.New("it exists already")
	ErrNotExist = errors.New("it does not exist")
)

// Store is a directory that holds an entry for each name.
type Store struct {
	path string
	dir  *os.File
	fd   int // of dir, whose Fd makes two calls each time
}

// OpenStore opens the directory at path and makes it, with those above it, if create says
// so. Another owner than the caller, or rights of others to write in it, are
// refused: they could put entries there. Without create a missing one is ErrNotExist.
func OpenStore(path string, create bool) (*Store, error) {
	if create {
		if err := MakeStore(path); err != nil {
			return nil, err
		}
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	switch err {
	case nil:
	case unix.ENOENT:
		return nil, fmt.Errorf("state directory %s: %w", path, ErrNotExist)
	case unix.ELOOP, unix.ENOTDIR:
		return nil, fmt.Errorf("state directory %s: it is no directory, or a symbolic link to one, which may be somebody else's; remove it, or name the directory itself", path)
	default:
		return nil, fmt.Errorf("state directory %s: %w", path, err)
	}
	s := &Store{path: path, dir: os.NewFile(uintptr(fd), path), fd: fd}
	if err := checkOwn(fd, path); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// MakeStore makes the directory at path, with those above it. What is there already stays as it is.
func MakeStore(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("state: %w; name another directory", err)
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("state: %w; name another directory", err)
	}
	return nil
}

// checkOwn refuses what others than the caller could have made or can change.
func checkOwn(fd int, path string) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("state: stat %s: %w", path, err)
	}
	switch {
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("state: %s belongs to user %d, and you are %d: it is not taken as yours; remove it, or name another directory", path, st.Uid, os.Geteuid())
	case st.Mode&0o022 != 0:
		return fmt.Errorf("state: %s can be written to by others (mode %#o): what is in it may not be yours; chmod go-w %s, after a look at what is in it", path, st.Mode&0o7777, path)
	}
	return nil
}

// Path is where the store is.
func (s *Store) Path() string { return s.path }

// Close closes the store; entries stay usable.
func (s *Store) Close() { s.dir.Close() }

// Names lists the entries, in the order of the directory.
func (s *Store) Names() ([]string, error) {
	if _, err := s.dir.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	names, err := s.dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("state: list %s: %w", s.path, err)
	}
	return names, nil
}

// Entry is the directory of one name.
type Entry struct {
	Name   string
	store  string
	parent int
	dir    int
}

// checkName refuses what is no name of an entry, whatever its user's own rules are.
func checkName(name string) error {
	if name == "" || name == "." || name == ".." || len(name) > unix.NAME_MAX {
		return fmt.Errorf("name %q: it takes 1 to %d characters, and . and .. are taken", name, unix.NAME_MAX)
	}
	for _, c := range []byte(name) {
		if c == '/' || c < ' ' || c == 0x7f {
			return fmt.Errorf("name %q: it has a character that it may not have; use letters, digits, and any of -+._ between them", name)
		}
	}
	return nil
}

// Create makes the entry of a name and locks it. It is ErrExists when there is one.
func (s *Store) Create(name string) (*Entry, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	for range 64 {
		if err := unix.Mkdirat(s.fd, name, 0o700); err != nil {
			if err == unix.EEXIST {
				return nil, fmt.Errorf("%s: %w", name, ErrExists)
			}
			return nil, full("make "+filepath.Join(s.path, name), err)
		}
		// Somebody may look in between, find an entry with nothing in it that nobody
		// holds, and take it away as left behind.
		e, err := s.Lock(name)
		if !errors.Is(err, ErrNotExist) {
			return e, err
		}
	}
	return nil, fmt.Errorf("state: %s is taken away as soon as it is made; another program cleans up there", filepath.Join(s.path, name))
}

// Open opens the entry of a name to read it.
func (s *Store) Open(name string) (*Entry, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	path := filepath.Join(s.path, name)
	dir, err := unix.Openat2(s.fd, name, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: resolveOwn,
	})
	switch err {
	case nil:
	case unix.ENOENT:
		return nil, fmt.Errorf("%s: %w", name, ErrNotExist)
	case unix.ELOOP, unix.ENOTDIR, unix.EXDEV:
		return nil, fmt.Errorf("state: %s is no directory of the store's own, but a file, a link or a mount: it is not followed; remove it", path)
	default:
		return nil, fmt.Errorf("state: open %s: %w", path, err)
	}
	if err := checkOwn(dir, path); err != nil {
		unix.Close(dir)
		return nil, err
	}
	parent, err := unix.FcntlInt(uintptr(s.fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		unix.Close(dir)
		return nil, fmt.Errorf("state: open %s: %w", path, err)
	}
	return &Entry{Name: name, store: s.path, parent: parent, dir: dir}, nil
}

// Lock opens the entry of a name and waits until nobody else holds it, flock(2). The lock
// ends with Close, and with the process.
func (s *Store) Lock(name string) (*Entry, error) { return s.lock(name, unix.LOCK_EX) }

// TryLock is Lock for those who do not wait: e is nil when somebody holds it.
func (s *Store) TryLock(name string) (e *Entry, err error) {
	e, err = s.lock(name, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, nil
	}
	return e, err
}

func (s *Store) lock(name string, how int) (*Entry, error) {
	e, err := s.Open(name)
	if err != nil {
		return nil, err
	}
	for {
		if err = unix.Flock(e.dir, how); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		e.Close()
		return nil, fmt.Errorf("state: lock %s: %w", e.Path(""), err)
	}
	// Whoever held it may have taken it away, and somebody made another since.
	var held, there unix.Stat_t
	err = unix.Fstat(e.dir, &held)
	if err == nil {
		err = unix.Fstatat(e.parent, name, &there, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err != nil || held.Ino != there.Ino || held.Dev != there.Dev {
		e.Close()
		return nil, fmt.Errorf("%s: %w", name, ErrNotExist)
	}
	return e, nil
}

// Path is the path of a file in the entry, or of the entry itself for "". It is for
// messages, and for programs that are told of it.
func (e *Entry) Path(file string) string { return filepath.Join(e.store, e.Name, file) }

// DirFD is the entry's directory; it is the entry's to close.
func (e *Entry) DirFD() int { return e.dir }

// Close closes the entry and lets go of its lock.
func (e *Entry) Close() {
	unix.Close(e.dir)
	unix.Close(e.parent)
}

// Read reads a file of the entry; a missing one is ErrNotExist.
func (e *Entry) Read(file string) ([]byte, error) {
	data, err := readFile(e.dir, file, resolveOwn)
	if err == unix.ENOENT {
		return nil, fmt.Errorf("%s: %w", e.Path(file), ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("state: read %s: %w", e.Path(file), err)
	}
	return data, nil
}

// resolveOwn keeps a lookup to the files of an entry.
const resolveOwn = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV

// readFile reads a small file. The error is an errno.
func readFile(dir int, name string, resolve uint64) ([]byte, error) {
	fd, err := unix.Openat2(dir, name, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK, Resolve: resolve})
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return host.ReadFD(fd, host.Whole)
}

// OpenFile opens a file of the entry, not through a link.
func (e *Entry) OpenFile(file string, flags int, perm uint32) (*os.File, error) {
	fd, err := unix.Openat2(e.dir, file, &unix.OpenHow{
		Flags: uint64(flags) | unix.O_CLOEXEC | unix.O_NONBLOCK, Mode: uint64(perm),
		Resolve: resolveOwn,
	})
	if err != nil {
		return nil, fmt.Errorf("state: %w", &fs.PathError{Op: "open", Path: e.Path(file), Err: err})
	}
	return os.NewFile(uintptr(fd), e.Path(file)), nil
}

// Write replaces a file of the entry, which readers see as it was or as it is, also when
// the disk is full or the power fails. The caller holds the lock.
func (e *Entry) Write(file string, data []byte) error {
	temp := ".new-" + strconv.Itoa(os.Getpid()) + "-" + file
	fd, err := unix.Openat(e.dir, temp, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return full("write "+e.Path(file), err)
	}
	f := os.NewFile(uintptr(fd), e.Path(temp))
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = unix.Renameat(e.dir, temp, e.dir, file)
	}
	if err != nil {
		_ = unix.Unlinkat(e.dir, temp, 0)
		return full("write "+e.Path(file), err)
	}
	return nil
}

// Delete removes a file of the entry; it need not be there.
func (e *Entry) Delete(file string) error {
	if err := unix.Unlinkat(e.dir, file, 0); err != nil && err != unix.ENOENT {
		return fmt.Errorf("state: remove %s: %w", e.Path(file), err)
	}
	return nil
}

// Remove takes the entry away with all that is in it. The caller holds the lock; the entry
// is to be closed all the same.
func (e *Entry) Remove() error {
	root, err := os.OpenRoot("/proc/self/fd/" + strconv.Itoa(e.dir))
	if err != nil {
		return fmt.Errorf("state: remove %s: %w", e.Path(""), err)
	}
	defer root.Close()
	d, err := root.Open(".")
	if err != nil {
		return fmt.Errorf("state: remove %s: %w", e.Path(""), err)
	}
	names, err := d.Readdirnames(-1)
	d.Close()
	for _, n := range names {
		err = errors.Join(err, root.RemoveAll(n))
	}
	if err == nil {
		err = unix.Unlinkat(e.parent, e.Name, unix.AT_REMOVEDIR)
	}
	if err != nil && err != unix.ENOENT {
		return fmt.Errorf("state: remove %s: %w", e.Path(""), err)
	}
	return nil
}

// full says what to do about a full disk.
func full(what string, err error) error {
	var named *fs.PathError // by the file that is put in the place of the one that what names
	if errors.As(err, &named) {
		err = named.Err
	}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("state: %s: %w: make room there", what, err)
	}
	return fmt.Errorf("state: %s: %w", what, err)
}
