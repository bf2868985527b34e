package overlay

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"

	"github.com/cloche-sandbox/cloche/internal/state"
)

// Store is what is kept of one sandbox. It is locked until Close.
type Store struct {
	Name string
	record

	entry *state.Entry
}

// record is what the store holds of itself.
type record struct {
	Layers []*Layer
	// Runner is the process that the sandbox ends with, of its last run.
	Runner state.Process
}

// Running reports whether the sandbox runs: what it changes is in no state to be brought over,
// and overlayfs does not allow for changes to the directory below it.
func (s *Store) Running() bool { return s.Runner.Alive() }

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

// all opens the directory of all stores; nil: there is none, and none was to be made.
func all(make bool) (*state.Store, error) {
	dir, err := root()
	if err != nil {
		return nil, err
	}
	s, err := state.OpenStore(dir, make)
	if errors.Is(err, state.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("there is no place for the changes of sandboxes: %w (XDG_STATE_HOME)", err)
	}
	return s, nil
}

// ErrNone is the error for a sandbox of which no changes are kept.
var ErrNone = errors.New("no changes are kept")

// Names lists the sandboxes of which changes are kept.
func Names() ([]string, error) {
	s, err := all(false)
	if s == nil {
		return nil, err
	}
	defer s.Close()
	names, err := s.Names()
	slices.Sort(names)
	return names, err
}

// Open opens the store of a sandbox; ErrNone: there is none.
func Open(name string) (*Store, error) {
	s, err := all(false)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, ErrNone
	}
	defer s.Close()
	return open(s, name)
}

func open(stores *state.Store, name string) (*Store, error) {
	e, err := stores.TryLock(name)
	switch {
	case errors.Is(err, state.ErrNotExist):
		return nil, ErrNone
	case err != nil:
		return nil, err
	case e == nil:
		return nil, busy(name)
	}
	s, err := read(e)
	if err != nil {
		e.Close()
	}
	return s, err
}

// read reads what an entry holds.
func read(e *state.Entry) (*Store, error) {
	s := &Store{Name: e.Name, entry: e}
	data, err := e.Read(recordName)
	if errors.Is(err, state.ErrNotExist) {
		return s, nil // it is being made, or was when the machine stopped
	}
	if err == nil {
		err = json.Unmarshal(data, &s.record)
	}
	if err != nil {
		return nil, fmt.Errorf("what is kept of %s can't be read: %w; to discard it: cloche rm %s", e.Name, err, e.Name)
	}
	for i, l := range s.Layers {
		l.at = strconv.Itoa(i)
	}
	return s, nil
}

// Close unlocks the store.
func (s *Store) Close() { s.entry.Close() }

const recordName = "record.json"

func (s *Store) write() error {
	data, err := json.Marshal(&s.record)
	if err != nil {
		return err
	}
	return s.entry.Write(recordName, data)
}

// Discard removes what is kept of a sandbox; nil where there is nothing.
func Discard(name string) error {
	stores, err := all(false)
	if stores == nil {
		return err
	}
	defer stores.Close()
	e, err := stores.TryLock(name)
	switch {
	case errors.Is(err, state.ErrNotExist):
		return nil
	case err != nil:
		return err
	case e == nil:
		return busy(name)
	}
	defer e.Close()
	if s, err := read(e); err == nil && s.Running() {
		return fmt.Errorf("%s runs (pid %d), and its changes are in use; end it first", name, s.Runner.Pid)
	}
	in, err := names(e.DirFD())
	if err != nil {
		return err
	}
	for _, n := range in {
		// What is in there may be unreadable, and nested deeper than others can follow.
		if err := removeAll(e.DirFD(), n); err != nil {
			return fmt.Errorf("the changes of %s can't be removed: %s: %w; where files in there belong to other users (user.mode = \"ranges\"), remove them as root", name, e.Path(n), err)
		}
	}
	return e.Remove()
}

func busy(name string) error {
	return fmt.Errorf("another cloche works with the changes of %s; try again when it is done", name)
}
