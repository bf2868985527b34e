package overlay

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/state"
)

// Apply brings changes of a layer over to its directory: those that chosen reports true
// for, and the new directories above them. A change that is refused says why, and the
// others are brought over all the same. A file is there as a whole or not at all,
// whatever happens meanwhile. With dry nothing is changed.
func (s *Store) Apply(l *Layer, chosen func(path string) bool, dry bool) (done, refused []Change, err error) {
	v, err := s.view(l)
	if err != nil {
		return nil, nil, err
	}
	defer v.close()
	if !dry {
		if err := v.recover(); err != nil {
			return nil, nil, err
		}
	}
	all, err := v.diff()
	if err != nil {
		return nil, nil, err
	}
	a := &applier{view: v, links: map[[2]uint64]string{}}
	for _, c := range inOrder(withParents(all, chosen)) {
		if c.Refused == "" && !dry {
			if err := a.apply(&c); err != nil {
				var r refusal
				if !errors.As(err, &r) {
					return done, refused, errors.Join(fmt.Errorf("%s: %w", c.Path, err), a.finish())
				}
				c.Refused = string(r)
			}
		}
		if c.Refused != "" {
			refused = append(refused, c)
		} else {
			done = append(done, c)
		}
	}
	for _, list := range [...][]Change{done, refused} {
		slices.SortFunc(list, func(x, y Change) int { return strings.Compare(x.Path, y.Path) })
	}
	if dry {
		return done, refused, nil
	}
	return done, refused, a.finish()
}

// inOrder puts changes in the order in which they can be brought over: directories, then files
// whose content lies under another name in the directory (metacopy, redirect), and
// last what takes names away.
func inOrder(list []Change) []Change {
	rank := func(c *Change) int {
		switch {
		case c.Kind == Removed:
			return 3
		case c.now.isDir():
			return 0
		case c.now.elsewhere(c.Path):
			return 1
		}
		return 2
	}
	slices.SortStableFunc(list, func(x, y Change) int { return rank(&x) - rank(&y) })
	return list
}

// elsewhere reports whether a node of the path p has its content under another path.
func (n *node) elsewhere(p string) bool {
	return !n.up && n.path != p || n.data != "" && n.data != p
}

// withParents are the changes that were chosen, each with the directories above it that
// are new.
func withParents(all []Change, chosen func(string) bool) (list []Change) {
	need := map[string]bool{}
	for _, c := range all {
		if chosen(c.Path) {
			for p := c.Path; p != "."; p = path.Dir(p) {
				need[p] = true
			}
		}
	}
	for _, c := range all {
		newDir := c.Type == "directory" && (c.Kind == Added || c.Was != "")
		if chosen(c.Path) || need[c.Path] && newDir {
			list = append(list, c)
		}
	}
	return list
}

// refusal is why one change is not brought over.
type refusal string

func (r refusal) Error() string { return string(r) }

// refused makes a refusal of an error that is about one file alone.
func refused(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ELOOP):
		return refusal("a directory above it is a symbolic link now")
	case errors.Is(err, unix.EXDEV):
		return refusal("another file system is mounted above it, which the sandbox did not see")
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return refusal("its directory is not there: it was refused, not chosen, or replaced meanwhile")
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM), errors.Is(err, unix.EROFS), errors.Is(err, unix.EBUSY):
		return refusal("you may not change it: " + err.Error())
	case errors.Is(err, errMoved):
		return refusal(err.Error())
	}
	return err
}

var errMeanwhile = refusal("it was changed in the directory meanwhile")

// applier brings changes over one by one.
type applier struct {
	*view
	links   map[[2]uint64]string // files of the upper layer with several names, and the first that was brought over
	modes   []Change             // new directories, whose mode is set when they are full
	journal *os.File
}

// scratch is how names begin that exist while a change is brought over.
const scratch = ".cloche-apply-"

// journalName is the file of a store that names the scratch that is in use, so that the next
// Apply can take it away after a SIGKILL.
func (l *Layer) journalName() string { return "applying-" + l.at }

func (a *applier) note(dir, name string) (err error) {
	if a.journal == nil {
		if a.journal, err = a.store.entry.OpenFile(a.layer.journalName(), unix.O_WRONLY|unix.O_CREAT, 0o600); err != nil {
			return err
		}
	}
	if err := a.journal.Truncate(0); err != nil {
		return err
	}
	_, err = a.journal.WriteAt([]byte(dir+"\x00"+name), 0)
	return err
}

// recover removes what an Apply that was killed left.
func (v *view) recover() error {
	text, err := v.store.entry.Read(v.layer.journalName())
	if errors.Is(err, state.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	dir, name, ok := strings.Cut(string(text), "\x00")
	if ok && strings.HasPrefix(name, scratch) && !strings.Contains(name, "/") {
		parent, err := openBelow(v.lower, dir, unix.O_PATH|unix.O_DIRECTORY)
		if err == nil {
			err = removeAll(parent, name)
			unix.Close(parent)
		}
		if err != nil && err != unix.ENOENT {
			return fmt.Errorf("what an apply that was killed left can't be removed: %s: %w", path.Join(v.layer.Dir, dir, name), err)
		}
	}
	return v.store.entry.Delete(v.layer.journalName())
}

// finish sets what could not be set before, and writes down how the directory is now.
func (a *applier) finish() error {
	var errs []error
	for i := len(a.modes) - 1; i >= 0; i-- {
		c := &a.modes[i]
		fd, err := openDir(a.lower, c.Path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		var st unix.Stat_t
		err = unix.Fchmod(fd, c.now.st.Mode&0o7777)
		if err == nil {
			err = unix.Fstat(fd, &st)
		}
		if err != nil {
			errs = append(errs, &fs.PathError{Op: "chmod", Path: c.Path, Err: err})
		} else {
			a.base[c.Path] = versionOf(&st)
		}
		unix.Close(fd)
	}
	for _, first := range a.links { // a further name changes ctime
		if fd, err := openBelow(a.lower, first, unix.O_PATH|unix.O_NOFOLLOW); err == nil {
			var st unix.Stat_t
			if unix.Fstat(fd, &st) == nil {
				a.base[first] = versionOf(&st)
			}
			unix.Close(fd)
		}
	}
	if err := a.store.writeBase(a.layer, a.base); err != nil {
		errs = append(errs, fmt.Errorf("the state of %s can't be written down: %w", a.layer.Dir, err))
	}
	if a.journal != nil {
		a.journal.Close()
		errs = append(errs, a.store.entry.Delete(a.layer.journalName()))
	}
	return errors.Join(errs...)
}

// apply brings one change over.
func (a *applier) apply(c *Change) error {
	dir, name := parentOf(c.Path)
	parent, err := openBelow(a.lower, dir, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return refused(err)
	}
	defer unix.Close(parent)
	if c.Kind == Changed && c.now.isDir() && c.before.isDir() {
		return a.directory(c, parent, name)
	}
	tmp := scratch + strconv.FormatUint(rand.Uint64(), 36)
	if err := a.note(dir, tmp); err != nil {
		return fmt.Errorf("the store: %w", err)
	}
	if c.Kind == Removed {
		return a.remove(c, parent, name, tmp)
	}
	if err := a.make(c, parent, tmp); err != nil {
		_ = removeAll(parent, tmp)
		return refused(err)
	}
	if err := a.place(c, parent, name, tmp); err != nil {
		_ = removeAll(parent, tmp)
		return refused(err)
	}
	return a.settle(c, parent, name)
}

// settle notes how a name is now.
func (a *applier) settle(c *Change, parent int, name string) error {
	st, ok, err := stat(parent, name)
	if err != nil || !ok {
		return refused(errors.Join(err, errMoved))
	}
	if c.before.isDir() {
		a.forget(c.Path)
	}
	a.base[c.Path] = versionOf(&st)
	return nil
}

func (a *applier) forget(p string) {
	delete(a.base, p)
	for name := range a.base {
		if strings.HasPrefix(name, p+"/") {
			delete(a.base, name)
		}
	}
}

// place puts what is ready under its name. What was there is exchanged for it, looked at when
// nobody else can put something new in its place, and put back if it is not what it should be.
func (a *applier) place(c *Change, parent int, name, tmp string) error {
	if c.before == nil {
		err := unix.Renameat2(parent, tmp, parent, name, unix.RENAME_NOREPLACE)
		if err == unix.EEXIST {
			return refusal("something of that name was made in the directory meanwhile")
		}
		return exchangeError(err)
	}
	if err := a.still(c, parent, name); err != nil {
		return err
	}
	ready, ok, err := stat(parent, tmp)
	if err != nil || !ok {
		return errors.Join(err, errMoved)
	}
	ours := ready.Ino
	if err := unix.Renameat2(parent, tmp, parent, name, unix.RENAME_EXCHANGE); err != nil {
		return exchangeError(err)
	}
	if err := a.was(c, parent, tmp); err != nil {
		if back := putBack(parent, name, tmp, ours); back != nil {
			return fmt.Errorf("%w, and what was there is in %s now: %w", err, tmp, back)
		}
		return err
	}
	return removeAll(parent, tmp)
}

// putBack undoes an exchange. Somebody who goes on replacing the name meanwhile wins: what comes
// out of it must be what was put there, ours first, or it is newer than what was put back
// and changes places with it once more.
func putBack(parent int, name, tmp string, ours uint64) error {
	put := ours
	for range 1000 {
		in, ok, err := stat(parent, tmp)
		if err != nil || !ok {
			return errors.Join(err, errMoved)
		}
		if err := unix.Renameat2(parent, tmp, parent, name, unix.RENAME_EXCHANGE); err != nil {
			return err
		}
		out, ok, err := stat(parent, tmp)
		if err != nil || !ok {
			return errors.Join(err, errMoved)
		}
		if out.Ino == put {
			return nil
		}
		put = in.Ino
	}
	return errors.New("it is replaced faster than it can be put back")
}

func exchangeError(err error) error {
	if err == unix.EINVAL || err == unix.ENOSYS {
		return fmt.Errorf("its file system can't exchange names (renameat2(2)), so nothing can be brought over safely; copy it by hand: %w", err)
	}
	return err
}

// still makes sure that a name is as it was when the changes were listed.
func (a *applier) still(c *Change, parent int, name string) error {
	st, ok, err := stat(parent, name)
	switch {
	case err != nil:
		return err
	case !ok || st.Ino != c.before.st.Ino || !versionOf(&c.before.st).same(&st):
		return errMeanwhile
	}
	return a.stillBelow(c, parent, name)
}

// stillBelow does so for what goes with a directory.
func (a *applier) stillBelow(c *Change, parent int, name string) error {
	if !c.before.isDir() {
		return nil
	}
	fd, err := openDir(parent, name)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	why, err := a.base.unchanged(fd, c.Path)
	if err == nil && why != "" {
		err = refusal(why)
	}
	return err
}

// was makes sure that what came out of an exchange is what should have been there. Its ctime is
// that of the exchange; whoever wrote to it changed mtime as well.
func (a *applier) was(c *Change, parent int, tmp string) error {
	st, ok, err := stat(parent, tmp)
	if err != nil || !ok {
		return errors.Join(err, errMeanwhile)
	}
	before := versionOf(&c.before.st)
	before.Ctime = st.Ctim.Nano()
	if st.Ino != c.before.st.Ino || !before.same(&st) {
		return errMeanwhile
	}
	return a.stillBelow(c, parent, tmp)
}

// remove takes a name away, looks at what it was, and puts it back if it is not what
// the sandbox removed.
func (a *applier) remove(c *Change, parent int, name, tmp string) error {
	if err := a.still(c, parent, name); err != nil {
		return refused(err)
	}
	if err := unix.Renameat2(parent, name, parent, tmp, unix.RENAME_NOREPLACE); err != nil {
		return refused(exchangeError(err))
	}
	if err := a.was(c, parent, tmp); err != nil {
		if back := unix.Renameat2(parent, tmp, parent, name, unix.RENAME_NOREPLACE); back != nil {
			return fmt.Errorf("%w, and what was there is in %s now: %w", err, tmp, back)
		}
		return refused(err)
	}
	if err := removeAll(parent, tmp); err != nil {
		return refused(err)
	}
	a.forget(c.Path)
	return nil
}
