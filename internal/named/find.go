package named

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
	"github.com/cloche-sandbox/cloche/internal/document"
	"github.com/cloche-sandbox/cloche/internal/inspect"
	"github.com/cloche-sandbox/cloche/internal/state"
)

// List is all sandboxes of this user that have a name, by name: those that run, and those
// that have ended and were not removed. What is found to be left behind by an owner that was killed is
// cleaned up, with a line in notes; so is what can't be read.
func List() (all []*Sandbox, notes []string, err error) {
	stores, err := open()
	if errors.Is(err, state.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	defer stores.Close()
	names, err := stores.Names()
	if err != nil {
		return nil, nil, err
	}
	slices.Sort(names)
	// Most of the time goes into the kernel, for each sandbox a dozen calls.
	found, said := make([]*Sandbox, len(names)), make([]string, len(names))
	var next atomic.Int64
	var wait sync.WaitGroup
	for range min(runtime.NumCPU(), len(names)) {
		wait.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(names)); i = next.Add(1) - 1 {
				found[i], said[i] = look(stores, names[i])
			}
		})
	}
	wait.Wait()
	isNone := func(s *Sandbox) bool { return s == nil }
	return slices.DeleteFunc(found, isNone), slices.DeleteFunc(said, func(s string) bool { return s == "" }), nil
}

// look reads the record of a name; nil: it has none that can be read. Where something has to be
// cleaned up, note says what was.
func look(stores *state.Store, name string) (s *Sandbox, note string) {
	e, err := stores.Open(name)
	if errors.Is(err, state.ErrNotExist) {
		return nil, "" // removed meanwhile
	}
	if err == nil {
		s, err = read(e)
		e.Close()
	}
	switch {
	case errors.Is(err, state.ErrNotExist):
		return nil, halfMade(stores, name)
	case err != nil:
		return nil, fmt.Sprintf("%s: %v; to be rid of it: cloche rm %s", name, err, name)
	}
	if s.Ended == nil && !s.Owner.Alive() {
		note, err := clean(stores, s)
		if err != nil {
			note = err.Error()
		}
		if note != "" {
			return s, name + ": " + note
		}
	}
	return s, ""
}

// halfMade removes an entry without a record, which its maker did not live to write.
func halfMade(stores *state.Store, name string) string {
	e, err := stores.TryLock(name)
	if e == nil || err != nil {
		return "" // it is being made
	}
	defer e.Close()
	if _, err := e.Read(recordFile); !errors.Is(err, state.ErrNotExist) {
		return ""
	}
	if err := e.Remove(); err != nil {
		return err.Error()
	}
	return name + ": its start was cut off before anything ran; its record is removed"
}

// clean writes down that a sandbox has ended whose owner is gone, and removes its cgroup.
func clean(stores *state.Store, s *Sandbox) (note string, err error) {
	e, err := stores.TryLock(s.Name)
	if e == nil || err != nil {
		return "", err // somebody else is at it
	}
	defer e.Close()
	now, err := read(e)
	if err != nil {
		return "", err
	}
	if now.Ended != nil || now.Owner != s.Owner {
		*s = *now // its owner wrote it down a moment ago
		return "", nil
	}
	s.Ended = &Ended{Reason: Lost, ExitCode: -1, When: time.Now()}
	if err := write(e, s); err != nil {
		return "", err
	}
	note = "it has ended without a word: what watched it was killed, or the machine was restarted"
	if len(s.Cgroup) > 0 {
		if l, err := cgroup.Detect(); err == nil {
			if n, _ := cgroup.RemoveStale(l); n > 0 {
				note += "; the cgroups that were left are removed"
			}
		}
	}
	return note, nil
}

// Find finds the sandbox of a name, and has the nearest name for one that is not there.
func Find(name string) (*Sandbox, error) {
	stores, err := open()
	if err != nil && !errors.Is(err, state.ErrNotExist) {
		return nil, err
	}
	var names []string
	if err == nil {
		defer stores.Close()
		e, err := stores.Open(name)
		if err == nil {
			defer e.Close()
			s, err := read(e)
			if err == nil || !errors.Is(err, state.ErrNotExist) {
				return s, err
			}
		} else if !errors.Is(err, state.ErrNotExist) {
			return nil, err
		}
		names, _ = stores.Names()
	}
	return nil, unknown(name, names)
}

// ErrUnknown is the error for a name that no sandbox has.
var ErrUnknown = errors.New("there is no sandbox of this name")

func unknown(name string, names []string) error {
	var like []string
	for _, n := range names {
		if strings.HasPrefix(n, name) {
			like = append(like, n)
		}
	}
	slices.Sort(like)
	near := document.Nearest(name, names)
	switch {
	case len(like) == 1:
		return fmt.Errorf("%s: %w: did you mean %q?", document.Clip(name), ErrUnknown, like[0])
	case len(like) > 1 && len(like) <= 8:
		return fmt.Errorf("%s: %w, and several that begin so: %s", document.Clip(name), ErrUnknown, strings.Join(like, ", "))
	case near != "":
		return fmt.Errorf("%s: %w: did you mean %q?", document.Clip(name), ErrUnknown, near)
	}
	return fmt.Errorf("%s: %w; `cloche ps` lists them", document.Clip(name), ErrUnknown)
}

// InitProcess is the sandbox's first process: pid 1 of its pid namespace, or where it shares one, the
// first that its owner made.
func (s *Sandbox) InitProcess() (state.Process, error) {
	if !s.Running() {
		return state.Process{}, s.notRunning()
	}
	if s.Init.Pid != 0 && s.Init.Alive() {
		return s.Init, nil
	}
	first := s.initChild()
	if first == 0 {
		return state.Process{}, fmt.Errorf("%s is just starting, or ending: it has no process yet; ask again", s.Name)
	}
	return state.ProcessOf(first)
}

// InitPID is the pid of the first process of a sandbox that was just seen to run; 0: it has none yet.
func (s *Sandbox) InitPID() int {
	if s.Init.Pid != 0 {
		return s.Init.Pid
	}
	return s.initChild()
}

func (s *Sandbox) initChild() int {
	children := inspect.Children(s.Owner.Pid)
	if len(children) == 1 {
		return children[0]
	}
	depth := len(inspect.PIDs(s.Owner.Pid))
	for _, pid := range children {
		if pids := inspect.PIDs(pid); len(pids) > depth && pids[len(pids)-1] == 1 {
			return pid
		}
	}
	if len(children) == 0 {
		return 0
	}
	return children[0]
}

// Command is the process of the sandbox's command: the oldest child of pid 1, or pid 1 itself where the
// policy has no init.
func (s *Sandbox) Command() (state.Process, error) {
	init, err := s.InitProcess()
	if err != nil {
		return init, err
	}
	oldest, lowest := 0, 0
	for _, pid := range inspect.Children(init.Pid) {
		pids := inspect.PIDs(pid)
		if len(pids) == 0 {
			continue
		}
		if inside := pids[len(pids)-1]; oldest == 0 || inside < lowest {
			oldest, lowest = pid, inside
		}
	}
	if oldest == 0 {
		return init, nil
	}
	return state.ProcessOf(oldest)
}

func (s *Sandbox) notRunning() error {
	if s.Ended == nil {
		return fmt.Errorf("%s does not run: what watched it was killed", s.Name)
	}
	return fmt.Errorf("%s does not run: it has ended (%s) at %s", s.Name, s.Ended.Reason, s.Ended.When.Format(time.DateTime))
}

// patience is how long a sandbox may take to end that was killed.
const patience = 5 * time.Second

// Kill ends a sandbox at once, and waits until it has ended.
func (s *Sandbox) Kill() error {
	owner, err := s.Owner.Open()
	if err != nil {
		return nil // it has ended
	}
	defer unix.Close(owner)
	init, err := s.InitProcess()
	if err == nil {
		fd, err := init.Open()
		if err == nil {
			err = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
			unix.Close(fd)
		}
		if err != nil && err != unix.ESRCH && !errors.Is(err, state.ErrNotExist) {
			return fmt.Errorf("%s can't be killed: %w", s.Name, err)
		}
	}
	if Ends(owner, patience) {
		return nil
	}
	// What watches it does not: then it goes itself, and what is left of the sandbox with it.
	if err := unix.PidfdSendSignal(owner, unix.SIGKILL, nil, 0); err != nil && err != unix.ESRCH {
		return fmt.Errorf("%s can't be killed: %w", s.Name, err)
	}
	if !Ends(owner, patience) {
		return fmt.Errorf("%s was killed and does not end: a process of it sleeps in the kernel; `cloche inspect --tree %s` shows them", s.Name, s.Name)
	}
	return nil
}

// Ends waits until the process of a pidfd has ended, and tells whether it has.
func Ends(pidfd int, within time.Duration) bool {
	for end := time.Now().Add(within); ; {
		left := max(0, time.Until(end))
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(left/time.Millisecond))
		switch {
		case err == nil && n > 0:
			return true
		case err != nil && err != unix.EINTR, left == 0:
			return false
		}
	}
}

// Remove takes the record away, and what is left of the sandbox's cgroup: where its owner was
// killed its processes may have been about to end when somebody looked last. One that runs is refused.
func Remove(name string) error {
	e, err := lock(name)
	if errors.Is(err, state.ErrNotExist) {
		return fmt.Errorf("%s: %w", document.Clip(name), ErrUnknown)
	}
	if err != nil {
		return err
	}
	defer e.Close()
	if s, err := read(e); err == nil {
		if s.Running() {
			return fmt.Errorf("%s runs (pid %d); end it first, or remove it with --force", name, s.Owner.Pid)
		}
		for _, dir := range s.Cgroup {
			if err := cgroup.RemoveTree(dir); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return e.Remove()
}
