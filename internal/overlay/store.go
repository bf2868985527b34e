package overlay

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// Store is what is kept of one sandbox. It is locked until Close.
type Store struct {
	Name   string
	Layers []*Layer

	dir  int
	path string
}

// root is the directory of all stores of this user: below $XDG_STATE_HOME, as this is
// work that has to survive a reboot, and for root below /var/lib.
func root() (string, error) {
	dir := os.Getenv("XDG_STATE_HOME")
	switch {
	case path.IsAbs(dir):
	case os.Geteuid() == 0:
		dir = "/var/lib"
	default:
		home := os.Getenv("HOME")
		if !path.IsAbs(home) {
			return "", errors.New("there is no place for the changes: neither HOME nor XDG_STATE_HOME names a directory; set XDG_STATE_HOME")
		}
		dir = home + "/.local/state"
	}
	return path.Join(dir, "cloche/overlays"), nil
}

// openRoot opens the directory of all stores, and makes it where make says so. Nobody else
// may write there.
func openRoot(make bool) (fd int, name string, err error) {
	if name, err = root(); err != nil {
		return -1, "", err
	}
	if make {
		if err := os.MkdirAll(name, 0o700); err != nil {
			return -1, "", fmt.Errorf("there is no place for the changes: %w; set XDG_STATE_HOME to a directory of yours", err)
		}
	}
	fd, err = unix.Open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, name, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	if err := private(fd, name); err != nil {
		unix.Close(fd)
		return -1, name, err
	}
	return fd, name, nil
}

// private refuses a directory of somebody else's, or one that others may write to.
func private(fd int, name string) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	switch {
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to user %d, not to you: what is in there is not trusted; set XDG_STATE_HOME to a directory of yours", name, st.Uid)
	case st.Mode&0o022 != 0:
		return fmt.Errorf("others may write to %s: what is in there is not trusted; chmod 700 %s", name, name)
	}
	return nil
}

// ErrNone is the error for a sandbox of which no changes are kept.
var ErrNone = errors.New("no changes are kept")

// Names lists the sandboxes of which changes are kept.
func Names() ([]string, error) {
	fd, _, err := openRoot(false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	all, err := names(fd)
	return slices.DeleteFunc(all, func(s string) bool { return s[0] == '.' }), err
}

// Open opens the store of a sandbox; ErrNone: there is none.
func Open(name string) (*Store, error) {
	top, dir, err := openRoot(false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, err
	}
	defer unix.Close(top)
	return open(top, dir, name)
}

func open(top int, dir, name string) (*Store, error) {
	s := &Store{Name: name, path: path.Join(dir, name)}
	if name == "" || name[0] == '.' || strings.Contains(name, "/") {
		return nil, ErrNone
	}
	fd, err := openDir(top, name)
	if err == unix.ENOENT {
		return nil, ErrNone
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: s.path, Err: err}
	}
	s.dir = fd
	if err := private(fd, s.path); err != nil {
		unix.Close(fd)
		return nil, err
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		unix.Close(fd)
		if err == unix.EWOULDBLOCK {
			return nil, fmt.Errorf("another cloche works with the changes of %s; try again when it is done", name)
		}
		return nil, &fs.PathError{Op: "flock", Path: s.path, Err: err}
	}
	if err := s.read(); err != nil {
		s.Close()
		return nil, fmt.Errorf("what is kept of %s can't be read: %s: %w; to discard it: cloche rm %s", name, s.path, err, name)
	}
	return s, nil
}

// Close unlocks the store.
func (s *Store) Close() { unix.Close(s.dir) }

const recordName = "record.json"

func (s *Store) read() error {
	fd, err := openBelow(s.dir, recordName, unix.O_RDONLY)
	if err == unix.ENOENT {
		return nil // it was being made when the machine stopped
	}
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), recordName)
	defer f.Close()
	if err := json.NewDecoder(f).Decode(&s.Layers); err != nil {
		return err
	}
	for i, l := range s.Layers {
		l.at = strconv.Itoa(i)
	}
	return nil
}

func (s *Store) write() error {
	data, err := json.Marshal(s.Layers)
	if err != nil {
		return err
	}
	fd, err := unix.Openat(s.dir, recordName+".new", unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), recordName)
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = unix.Renameat(s.dir, recordName+".new", s.dir, recordName)
	}
	return err
}

// Discard removes what is kept of a sandbox; nil where there is nothing.
func Discard(name string) error {
	top, dir, err := openRoot(false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(top)
	if name == "" || name[0] == '.' || strings.Contains(name, "/") {
		return nil
	}
	if fd, err := openDir(top, name); err == nil {
		defer unix.Close(fd)
		if unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) == unix.EWOULDBLOCK {
			return fmt.Errorf("another cloche works with the changes of %s; try again when it is done", name)
		}
	}
	if err := removeAll(top, name); err != nil {
		return fmt.Errorf("the changes of %s can't be removed: %s: %w; where files in there belong to other users (user.mode = \"ranges\"), remove them as root", name, path.Join(dir, name), err)
	}
	return nil
}

// Keep gives each overlay of a policy whose changes would be dropped a place where those of
// the sandbox called name are kept, and notes the state of its directory. Changes that are
// kept from an earlier run of that name are there again.
func Keep(p *policy.Policy, name string) error {
	var mine []*policy.Mount
	for i := range p.Mounts {
		if m := &p.Mounts[i]; m.Kind == policy.Overlay && m.Upper == "" && len(m.Lower) == 0 {
			mine = append(mine, m)
		}
	}
	if len(mine) == 0 {
		return nil
	}
	top, dir, err := openRoot(true)
	if err != nil {
		return err
	}
	defer unix.Close(top)
	if err := unix.Mkdirat(top, name, 0o700); err != nil && err != unix.EEXIST {
		return &fs.PathError{Op: "mkdir", Path: path.Join(dir, name), Err: err}
	}
	s, err := open(top, dir, name)
	if err != nil {
		return err
	}
	defer s.Close()
	for _, m := range mine {
		if err := s.keep(m, p.Unshare.User); err != nil {
			return fmt.Errorf("overlay %s: %w", m.Path, err)
		}
	}
	return s.write()
}

// keep finds or makes the layer of one overlay.
func (s *Store) keep(m *policy.Mount, userXattr bool) error {
	dir, err := realDir(m.Path)
	if err != nil {
		return err
	}
	if within(s.path, dir) {
		return fmt.Errorf("its changes would be kept in %s, which lies in it; name another place: XDG_STATE_HOME=DIR cloche run …, or --overlay %s:upper=DIR", s.path, m.Path)
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	var l *Layer
	for _, old := range s.Layers {
		if old.Dir == dir {
			l = old
		}
	}
	switch {
	case l == nil:
		l = &Layer{Dir: dir, Dev: st.Dev, Ino: st.Ino, UserXattr: userXattr, at: strconv.Itoa(len(s.Layers))}
		if err := s.make(l, fd, &st); err != nil {
			return err
		}
		s.Layers = append(s.Layers, l)
	case l.Dev != st.Dev || l.Ino != st.Ino:
		return fmt.Errorf("the changes kept of %s are to another directory of that name, which was replaced; to discard them: cloche rm %s", s.Name, s.Name)
	case l.UserXattr != userXattr:
		return fmt.Errorf("the changes kept of %s were made with another kind of user namespace, whose marks this one does not read; run it as before, or discard them: cloche rm %s", s.Name, s.Name)
	}
	if err := s.note(l, fd); err != nil {
		return fmt.Errorf("its state can't be noted: %w", err)
	}
	m.Upper, m.Work = path.Join(s.path, l.at, "upper"), path.Join(s.path, l.at, "work")
	return nil
}

// realDir is a policy's path as the absolute one of a directory, without links.
func realDir(name string) (string, error) {
	if name == "~" || strings.HasPrefix(name, "~/") {
		name = os.Getenv("HOME") + name[1:]
	}
	name, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(name)
}

func within(name, dir string) bool {
	rest, ok := strings.CutPrefix(name, dir)
	return ok && (rest == "" || rest[0] == '/' || dir == "/")
}

// make makes the directories of a layer. What the sandbox sees in place of the directory has the
// upper one's mode and owner.
func (s *Store) make(l *Layer, lower int, st *unix.Stat_t) error {
	if err := removeAll(s.dir, l.at); err != nil { // of one that was never finished
		return err
	}
	for _, d := range [...]string{"", "/upper", "/work"} {
		if err := unix.Mkdirat(s.dir, l.at+d, 0o700); err != nil {
			return &fs.PathError{Op: "mkdir", Path: path.Join(s.path, l.at+d), Err: err}
		}
	}
	upper, err := openDir(s.dir, l.at+"/upper")
	if err != nil {
		return err
	}
	defer unix.Close(upper)
	_ = unix.Fchown(upper, int(st.Uid), int(st.Gid)) // an ordinary user may not, and need not
	if err := unix.Fchmod(upper, st.Mode&0o7777); err != nil {
		return err
	}
	if attrs, err := xattrs(lower, "."); err == nil { // above all its default ACL, acl(5)
		for attr, value := range attrs {
			_ = unix.Setxattr(magic(upper), attr, []byte(value), 0)
		}
	}
	var made unix.Stat_t
	if err := unix.Fstat(upper, &made); err != nil {
		return err
	}
	l.Root = metaOf(&made)
	return nil
}

// note writes the directory's state down. Of what the upper layer has already the state counts
// that the sandbox has seen first.
func (s *Store) note(l *Layer, lower int) error {
	now, err := snapshot(lower)
	if err != nil {
		return err
	}
	at, err := openDir(s.dir, l.at)
	if err != nil {
		return err
	}
	defer unix.Close(at)
	old, err := readBase(at, "base")
	switch {
	case err == unix.ENOENT:
		return now.write(at, "base")
	case err != nil:
		return fmt.Errorf("%s: %w", path.Join(s.path, l.at, "base"), err)
	}
	upper, err := openDir(at, "upper")
	if err != nil {
		return err
	}
	defer unix.Close(upper)
	t := &tree{upper: upper, marks: l.marks()}
	have, covers, err := t.inUpper()
	if err != nil {
		return err
	}
	for p := range now {
		if have[p] || coveredBy(covers, p) {
			delete(now, p)
		}
	}
	for p, v := range old {
		if have[p] || coveredBy(covers, p) {
			now[p] = v
		}
	}
	return now.write(at, "base")
}

// coveredBy reports whether one of the paths covers, below which the directory is out of
// sight, lies above p.
func coveredBy(covers map[string]bool, p string) bool {
	for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
		if covers[dir] {
			return true
		}
	}
	return false
}
