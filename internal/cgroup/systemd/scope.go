// Package systemd gets a cgroup from systemd for a user who may not make one:
// the manager of a user's session makes a scope, hands it over with its
// controllers (Delegate=yes), and moves the calling process in. It is a package
// of its own because of what D-Bus costs to start.
package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	sd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
)

// Scope is the unit that this process was moved to.
type Scope struct {
	Unit string // "cloche-1234-….scope"
	Dir  string // its cgroup's directory
}

// supervisor is the group in the scope that this process lives in: one that
// passes controllers on may hold no process itself.
const supervisor = "supervisor"

// patience is how long the manager may take.
const patience = 10 * time.Second

// Enter moves this process, with all its threads, into a scope of its own; its
// children of before stay where they are. Afterwards cgroup.Detect finds a place
// where groups can be made. systemd takes the scope away when the last process
// has left it. It takes some ten milliseconds.
//
// name is for people who look at the unit. Where there is no systemd, or no
// cgroup2, the error is a *cgroup.Unavailable.
func Enter(ctx context.Context, name string) (*Scope, error) {
	return enter(ctx, name, connect)
}

type dialer func(context.Context) (*sd.Conn, error)

func enter(ctx context.Context, name string, dial dialer) (*Scope, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := dial(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	defer conn.Close()
	unit := unitName(name)
	if err := start(ctx, conn, unit); err != nil {
		return nil, &cgroup.Unavailable{
			Controller: "any", Cause: "systemd refused to make the scope " + unit + ": " + err.Error(),
			Remedy: "look in `journalctl --user -n 20`, or start Cloche by `systemd-run --user --scope -p Delegate=yes`",
		}
	}
	s := &Scope{Unit: unit}
	if s.Dir, err = scopeDir(unit); err != nil {
		return nil, err
	}
	return s, s.arrange()
}

// unitName is a fresh unit's; systemd takes letters, digits and ":-_.\".
func unitName(name string) string {
	label := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '.':
			return r
		}
		return '_'
	}, name)
	if len(label) > 40 {
		label = label[:40]
	}
	if label != "" {
		label = "-" + label
	}
	return "cloche-" + strconv.Itoa(os.Getpid()) + "-" + strconv.FormatInt(time.Now().UnixNano(), 36) + label + ".scope"
}

// start asks for the scope and waits until it is there.
func start(ctx context.Context, conn *sd.Conn, unit string) error {
	property := func(name string, value any) sd.Property {
		return sd.Property{Name: name, Value: dbus.MakeVariant(value)}
	}
	properties := []sd.Property{
		sd.PropDescription("Cloche sandboxes of process " + strconv.Itoa(os.Getpid())),
		property("PIDs", []uint32{uint32(os.Getpid())}),
		property("Delegate", true),
		// A scope that failed would stay listed until somebody resets it.
		property("CollectMode", "inactive-or-failed"),
	}
	done := make(chan string, 1)
	if _, err := conn.StartTransientUnitContext(ctx, unit, "fail", properties, done); err != nil {
		return err
	}
	select {
	case result := <-done:
		if result != "done" {
			return errors.New("its job ended as " + strconv.Quote(result))
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// scopeDir is where the scope's cgroup is: this process is in it now.
func scopeDir(unit string) (string, error) {
	l, err := cgroup.Detect()
	if err != nil {
		return "", err
	}
	for _, h := range l.Hierarchies {
		if h.Version == 2 && path.Base(h.Own) == unit {
			return h.Own, nil
		}
	}
	return "", &cgroup.Unavailable{
		Controller: "any", Cause: "systemd made the scope " + unit + ", and this process is not in its cgroup2 directory: cgroups are mounted as " + l.String() + " here, and systemd hands over cgroup2 alone",
		Remedy: "boot with systemd.unified_cgroup_hierarchy=1, or run as root",
	}
}

// arrange moves this process to a child, so that the scope may pass on its
// controllers, and has it do so.
func (s *Scope) arrange() error {
	inner := path.Join(s.Dir, supervisor)
	if err := os.Mkdir(inner, 0o755); err != nil {
		return fmt.Errorf("cgroup of the scope %s: %w", s.Unit, err)
	}
	if err := write(path.Join(inner, "cgroup.procs"), "0"); err != nil {
		return fmt.Errorf("enter the cgroup of the scope %s: %w", s.Unit, err)
	}
	list, err := os.ReadFile(path.Join(s.Dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for c := range strings.FieldsSeq(string(list)) {
		// One by one: that a controller can't be passed on is no reason to go
		// without the others. What is missing is named by the limit that needs it.
		_ = write(path.Join(s.Dir, "cgroup.subtree_control"), "+"+c)
	}
	return nil
}

// write writes without creating: a file that is not there is an error.
func write(name, value string) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}
