package overlay

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/state"
	"github.com/cloche-sandbox/cloche/policy"
)

// Keep gives each overlay of a policy whose changes would be dropped a place where those of
// the sandbox called name are kept, and notes the state of its directory. Changes that are
// kept from an earlier run of that name are there again; while that goes on it is refused. runner
// is the process that the sandbox will end with, this one or what it becomes.
func Keep(p *policy.Policy, name string, runner state.Process) error {
	return keepAll(p, name, func(s *Store, mine []*policy.Mount) error {
		if s.Running() {
			return fmt.Errorf("%s runs already (pid %d), and its changes can be those of one sandbox alone; choose another name, or end it first", name, s.Runner.Pid)
		}
		for _, m := range mine {
			l, fd, err := s.keep(m, p.Unshare.User)
			if err != nil {
				return fmt.Errorf("overlay %s: %w", m.Path, err)
			}
			err = s.note(l, fd)
			unix.Close(fd)
			if err != nil {
				return fmt.Errorf("overlay %s: its state can't be noted: %w", m.Path, err)
			}
		}
		s.Runner = runner
		return s.write()
	})
}

// Again gives the overlays of a policy the places that they had in the run that has just
// ended, and notes nothing.
func Again(p *policy.Policy, name string) error {
	return keepAll(p, name, func(s *Store, mine []*policy.Mount) error {
		for _, m := range mine {
			_, fd, err := s.keep(m, p.Unshare.User)
			if err != nil {
				return err
			}
			unix.Close(fd)
		}
		return nil
	})
}

// keepAll opens or makes the store for the overlays of a policy, if there are some.
func keepAll(p *policy.Policy, name string, do func(s *Store, mine []*policy.Mount) error) error {
	var mine []*policy.Mount
	for i := range p.Mounts {
		if m := &p.Mounts[i]; m.Kind == policy.Overlay && m.Upper == "" && len(m.Lower) == 0 {
			mine = append(mine, m)
		}
	}
	if len(mine) == 0 {
		return nil
	}
	stores, err := all(true)
	if err != nil {
		return err
	}
	defer stores.Close()
	s, err := take(stores, name)
	if err != nil {
		return err
	}
	defer s.Close()
	return do(s, mine)
}

// take makes the store of a name, or opens the one that is there.
func take(stores *state.Store, name string) (s *Store, err error) {
	for range 64 {
		e, cerr := stores.Create(name)
		switch {
		case cerr == nil:
			// Somebody may have had it for a moment before it was locked here.
			if s, err = read(e); err != nil {
				e.Close()
			}
			return s, err
		case !errors.Is(cerr, state.ErrExists):
			return nil, cerr
		}
		if s, err = open(stores, name); !errors.Is(err, ErrNone) {
			return s, err
		} // it was discarded in between
	}
	return nil, err
}

// keep finds or makes the layer of one overlay, and opens its directory.
func (s *Store) keep(m *policy.Mount, userXattr bool) (l *Layer, fd int, err error) {
	dir, err := realDir(m.Path)
	if err != nil {
		return nil, -1, err
	}
	if within(s.entry.Path(""), dir) {
		return nil, -1, fmt.Errorf("its changes would be kept in %s, which lies in it; name another place: XDG_STATE_HOME=DIR cloche run …, or --overlay %s:upper=DIR", s.entry.Path(""), m.Path)
	}
	if fd, err = unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return nil, -1, err
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, -1, err
	}
	for _, old := range s.Layers {
		if old.Dir == dir {
			l = old
		}
	}
	switch {
	case l == nil:
		l = &Layer{Dir: dir, Dev: st.Dev, Ino: st.Ino, UserXattr: userXattr, at: strconv.Itoa(len(s.Layers))}
		if err := s.make(l, fd, &st); err != nil {
			return nil, -1, err
		}
		s.Layers = append(s.Layers, l)
	case l.Dev != st.Dev || l.Ino != st.Ino:
		return nil, -1, fmt.Errorf("the changes kept of %s are to another directory of that name, which was replaced; to discard them: cloche rm %s", s.Name, s.Name)
	case l.UserXattr != userXattr:
		return nil, -1, fmt.Errorf("the changes kept of %s were made with another kind of user namespace, whose marks this one does not read; run it as before, or discard them: cloche rm %s", s.Name, s.Name)
	}
	m.Upper, m.Work = s.entry.Path(l.at+"/upper"), s.entry.Path(l.at+"/work")
	return l, fd, nil
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
	if err := removeAll(s.entry.DirFD(), l.at); err != nil { // of one that was never finished
		return err
	}
	for _, d := range [...]string{"", "/upper", "/work"} {
		if err := unix.Mkdirat(s.entry.DirFD(), l.at+d, 0o700); err != nil {
			return &fs.PathError{Op: "mkdir", Path: s.entry.Path(l.at + d), Err: err}
		}
	}
	upper, err := openDir(s.entry.DirFD(), l.at+"/upper")
	if err != nil {
		return err
	}
	defer unix.Close(upper)
	if err := s.holdsMarks(l, upper); err != nil {
		return err
	}
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

// ErrMarks is the error for a place that can't hold changes as overlayfs keeps them.
var ErrMarks = errors.New("its file system can't hold the marks of an overlay")

// holdsMarks tries whether overlayfs can mark what is removed: without, it would go on and fail
// at the first directory that the sandbox removes.
func (s *Store) holdsMarks(l *Layer, upper int) error {
	probe := l.marks() + "cloche"
	err := unix.Fsetxattr(upper, probe, []byte("y"), 0)
	if err == nil {
		return unix.Fremovexattr(upper, probe)
	}
	return fmt.Errorf("its changes would be kept in %s, and %w, extended attributes %s*: %w (a tmpfs can since Linux 6.6, where it is a user namespace's); name a place on a disk: XDG_STATE_HOME=DIR cloche run …",
		s.entry.Path(""), ErrMarks, l.marks(), err)
}

// note writes the directory's state down. Of what the upper layer has already the state counts
// that the sandbox has seen first.
func (s *Store) note(l *Layer, lower int) error {
	now, err := snapshot(lower)
	if err != nil {
		return err
	}
	old, err := s.readBase(l)
	switch {
	case errors.Is(err, state.ErrNotExist):
		return s.writeBase(l, now)
	case err != nil:
		return err
	}
	upper, err := openDir(s.entry.DirFD(), l.at+"/upper")
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
	return s.writeBase(l, now)
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
