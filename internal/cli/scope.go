package cli

import (
	"errors"
	"os"
	"path"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
	"github.com/cloche-sandbox/cloche/internal/supervise"
	"github.com/cloche-sandbox/cloche/policy"
)

// EnterScope moves this process to a cgroup of its own with the help of
// systemd's user manager; name is for people. Package tree sets it: what speaks
// D-Bus is not initialised yet when Early runs, and is of no use to
// most runs. nil: there is nobody to ask.
var EnterScope func(name string) error

// scopeMayHelp reports whether a start failed for a cgroup that this user may not make
// and somebody is there who may hand one out. Nothing is asked yet.
func scopeMayHelp(p *policy.Policy, err error) bool {
	var refused *supervise.LimitError
	return errors.As(err, &refused) && refused.Cause.Limit == "" && p.Limits.Parent == "" && os.Geteuid() != 0 && hasManager()
}

// hasManager reports whether systemd runs this machine, sd_booted(3), and one of the
// sockets is there by which package systemd reaches the user manager.
func hasManager() bool {
	if unix.Access("/run/systemd/system", unix.F_OK) != nil {
		return false
	}
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		dir = "/run/user/" + strconv.Itoa(os.Geteuid())
	}
	for _, name := range [...]string{"systemd/private", "bus"} {
		if unix.Access(path.Join(dir, name), unix.F_OK) == nil {
			return true
		}
	}
	return false
}

// withoutScope adds to the refusal of a limit why the manager did not help either.
func withoutScope(err, why error) error {
	var refused *supervise.LimitError
	if !errors.As(err, &refused) {
		return err
	}
	e := *refused.Refused
	var u *cgroup.Unavailable
	if errors.As(why, &u) {
		e.Why += ", and " + u.Cause
		e.Fix = u.Remedy + "; or " + e.Fix
	} else {
		e.Why += ", and systemd's user manager did not help: " + why.Error()
	}
	return &e
}

// inScope adds to the refusal of a limit in the manager's scope why it was asked.
func inScope(before, err error) error {
	var first, refused *supervise.LimitError
	if !errors.As(before, &first) || !errors.As(err, &refused) {
		return err
	}
	e := *refused.Refused
	e.Why = first.Cause.Cause + "; in the scope that systemd's user manager made: " + e.Why
	return &e
}
