// Package named knows the sandboxes that have a name: what each was started as, which
// processes it has, whether it runs, and how it ended.
//
// The record of a sandbox lies in a store of package state, readable by its owner alone. It is
// written before the sandbox starts, so that none is ever without one.
package named

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/internal/state"
	"github.com/cloche-sandbox/cloche/policy"
)

// Sandbox is the record of one.
type Sandbox struct {
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	Args    []string  `json:"args"` // the command
	Env     []string  `json:"env"`  // of the command
	UID     uint32    `json:"uid"`  // who started it
	GID     uint32    `json:"gid"`

	// Owner is the process that the sandbox ends with: the supervisor, or the launcher's image.
	Owner state.Process `json:"owner"`
	// Init is its first process. Where it was not written down, InitProcess looks for it.
	Init   state.Process `json:"init"`
	Cgroup []string      `json:"cgroup,omitempty"` // its directories, absolute
	// Counted says that one of them counts memory or processors, or can be frozen.
	Counted bool          `json:"counted,omitempty"`
	Limits  policy.Limits `json:"limits"` // those that hold now

	// Landlock holds the rules that the command was given; they are known before it starts.
	Landlock []plan.LandlockPath `json:"landlock,omitempty"`
	// Denied is how many system calls the filter has refused, as of some seconds ago; nil: nobody counts.
	Denied   *int64 `json:"denied,omitempty"`
	Detached bool   `json:"detached,omitempty"`
	Log      string `json:"log,omitempty"` // directory of its output
	// MaxOutput is what the keeper of logs lets it write; 0: that is not its business. Over is that it wrote more,
	// and was ended.
	MaxOutput policy.Size `json:"max_output,omitempty"`
	Over      bool        `json:"over,omitempty"`
	Ended     *Ended      `json:"ended,omitempty"`
}

// Ended is how a sandbox ended.
type Ended struct {
	Reason   string    `json:"reason"` // as in a result, or Lost
	ExitCode int       `json:"exit_code"`
	Message  string    `json:"message,omitempty"` // why the command never ran
	When     time.Time `json:"when"`
}

// Lost is the reason of a sandbox whose owner ended without a word: it was killed, or the
// machine was restarted.
const Lost = "lost"

// DirVariable is the environment variable that names another directory for the records.
const DirVariable = "CLOCHE_STATE_DIR"

// Dir is the directory of this user's records: $XDG_RUNTIME_DIR/cloche, and for root
// /run/cloche. It lasts until the machine is restarted, as sandboxes do.
func Dir() (string, error) { return dirBy(os.Getenv) }

// DirIn is Dir for a command with that environment.
func DirIn(env []string) (string, error) {
	return dirBy(func(name string) (value string) {
		for _, kv := range env {
			if v, ok := strings.CutPrefix(kv, name+"="); ok {
				value = v
			}
		}
		return value
	})
}

func dirBy(getenv func(string) string) (string, error) {
	if dir := getenv(DirVariable); dir != "" {
		if !path.IsAbs(dir) {
			return "", fmt.Errorf("%s=%s is no absolute path; name a directory of yours", DirVariable, dir)
		}
		return path.Clean(dir), nil
	}
	uid := os.Geteuid()
	if uid == 0 {
		return "/run/cloche", nil
	}
	if dir := getenv("XDG_RUNTIME_DIR"); path.IsAbs(dir) {
		return path.Join(dir, "cloche"), nil
	}
	dir := "/run/user/" + strconv.Itoa(uid)
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return dir + "/cloche", nil
	}
	// Without a login session there is no such directory. The store refuses one of
	// somebody else's making.
	return "/tmp/cloche-" + strconv.Itoa(uid), nil
}

// The files of a record. The policy is large, and seldom looked at.
const (
	recordFile = "sandbox.json"
	policyFile = "policy.json"
)

// Create writes the record of a sandbox that is about to start, with its expanded policy. A name
// whose sandbox has ended is given anew; one whose sandbox runs is refused.
func Create(s *Sandbox, p *policy.Policy) error {
	if err := CheckName(s.Name); err != nil {
		return err
	}
	dir, err := Dir()
	if err != nil {
		return err
	}
	stores, err := state.OpenStore(dir, true)
	if err != nil {
		return fmt.Errorf("%w; or set %s", err, DirVariable)
	}
	defer stores.Close()
	e, err := take(stores, s.Name)
	if err != nil {
		return err
	}
	// Whoever wanted the name at the same time may have it, also where the entry was made here.
	if old, err := read(e); err == nil && old.Running() {
		e.Close()
		return fmt.Errorf("the name %s is in use: that sandbox runs since %s (pid %d); choose another name, or end it first", s.Name, old.Created.Format(time.DateTime), old.Owner.Pid)
	}
	defer e.Close()
	data, err := json.Marshal(p)
	if err == nil {
		err = e.Delete(plan.JoinFileName) // of who had the name before
	}
	if err == nil {
		err = e.Write(policyFile, data)
	}
	if err == nil {
		err = write(e, s)
	}
	if err != nil {
		if _, none := read(e); errors.Is(none, state.ErrNotExist) {
			_ = e.Remove() // nothing is left of what was begun
		}
	}
	return err
}

// take makes the entry of a name, or locks the one that is there.
func take(stores *state.Store, name string) (e *state.Entry, err error) {
	for range 64 {
		if e, err = stores.Create(name); !errors.Is(err, state.ErrExists) {
			return e, err
		}
		if e, err = stores.Lock(name); !errors.Is(err, state.ErrNotExist) {
			return e, err
		} // it was removed in between
	}
	return e, err
}

func write(e *state.Entry, s *Sandbox) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return e.Write(recordFile, data)
}

func read(e *state.Entry) (*Sandbox, error) {
	data, err := e.Read(recordFile)
	if err != nil {
		return nil, err
	}
	s := &Sandbox{}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", e.Path(recordFile), err)
	}
	s.Name = e.Name
	return s, nil
}

// Update changes the record of a sandbox that owner is the owner of. When the name belongs to
// another run by now, nothing is changed, and that is no error.
func Update(name string, owner state.Process, change func(*Sandbox)) error {
	e, err := lock(name)
	if err != nil {
		return err
	}
	defer e.Close()
	s, err := read(e)
	if err != nil || s.Owner != owner {
		return err
	}
	change(s)
	return write(e, s)
}

// KeepJoin keeps the image to join a sandbox with, see plan.JoinImage. Where somebody else is at
// the record, or it can't be written, there is none: the next to join makes it.
func (s *Sandbox) KeepJoin(image []byte) {
	stores, err := open()
	if err != nil {
		return
	}
	defer stores.Close()
	e, err := stores.TryLock(s.Name)
	if e == nil || err != nil {
		return
	}
	defer e.Close()
	if now, err := read(e); err == nil && now.Owner == s.Owner && now.Ended == nil {
		_ = e.Write(plan.JoinFileName, image)
	}
}

// lock opens the entry of a name.
func lock(name string) (*state.Entry, error) {
	stores, err := open()
	if err != nil {
		return nil, err
	}
	defer stores.Close()
	return stores.Lock(name)
}

// open opens the store; state.ErrNotExist: there is none yet.
func open() (*state.Store, error) {
	dir, err := Dir()
	if err != nil {
		return nil, err
	}
	return state.OpenStore(dir, false)
}

// Running reports whether the sandbox runs.
func (s *Sandbox) Running() bool { return s.Ended == nil && s.Owner.Alive() }

// Age is how long ago the sandbox was started. The wall clock, which may jump, is asked only where
// the machine was restarted since.
func (s *Sandbox) Age() time.Duration {
	if age, ok := s.Owner.Age(); ok {
		return age
	}
	return time.Since(s.Created)
}

// Dir is where the record lies.
func (s *Sandbox) Dir() string {
	dir, err := Dir()
	if err != nil {
		return ""
	}
	return path.Join(dir, s.Name)
}

// Policy is the expanded policy that the sandbox was started with.
func (s *Sandbox) Policy() (*policy.Policy, error) {
	stores, err := open()
	if err != nil {
		return nil, err
	}
	defer stores.Close()
	e, err := stores.Open(s.Name)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	data, err := e.Read(policyFile)
	if err != nil {
		return nil, err
	}
	p := &policy.Policy{}
	if err := json.Unmarshal(data, p); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", e.Path(policyFile), err)
	}
	return p, nil
}

// CheckName refuses what is no name of a sandbox: it has to be safe in a path, in a cgroup's name
// and on a command line, where a word of digits alone is a pid.
func CheckName(name string) error {
	ok := name != "" && len(name) <= 64
	digits := true
	for i := range len(name) {
		c := name[i]
		digit := c >= '0' && c <= '9'
		letter := c >= 'a' && c <= 'z' || digit
		digits = digits && digit
		if !letter && (i == 0 || c != '_' && c != '.' && c != '-') {
			ok = false
		}
	}
	switch {
	case !ok:
		return errors.New("not a name; use up to 64 of a-z, 0-9, _ . -, beginning with a letter or digit")
	case digits:
		return errors.New("digits alone are a pid; add a letter")
	}
	return nil
}
