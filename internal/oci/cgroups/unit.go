package cgroups

import (
	"errors"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
)

// Unit is systemd's unit of a container, as package late reaches it.
type Unit interface {
	// State is the unit's name and slice.
	State() State
	// Start makes the unit around a process, and tells its directories.
	Start(pid int) (State, error)
	// Set tells systemd the limits, which would else undo them one day.
	Set(*specs.LinuxResources) error
	// Stop has systemd forget the unit.
	Stop() error
}

// Driver finds the unit of a container: a new one by its configuration, an old
// one by its state.
type Driver interface {
	New(*Config) (Unit, error)
	Load(State) (Unit, error)
}

var systemd Driver

// RegisterSystemd makes systemd's driver known.
func RegisterSystemd(d Driver) { systemd = d }

var errNoDriver = errors.New("--systemd-cgroup: systemd's driver is not in this program")

// prepareUnit checks all that can be checked before there is a process.
func prepareUnit(c *Config) (*Group, error) {
	if systemd == nil {
		return nil, errNoDriver
	}
	rules := []specs.LinuxDeviceCgroup(nil)
	if c.Resources != nil {
		rules = c.Resources.Devices
	}
	if _, err := deviceRules(rules); err != nil {
		return nil, err
	}
	u, err := systemd.New(c)
	if err != nil {
		return nil, err
	}
	return &Group{dirFD: -1, state: u.State(), unit: u, config: c}, nil
}

// NeedsPid reports whether the group can't be entered before [Group.Adopt].
func (g *Group) NeedsPid() bool { return g.config != nil }

// Adopt has systemd make the unit around a process, which waits meanwhile and
// has no cgroup namespace of its own yet, and sets the limits.
func (g *Group) Adopt(pid int) error {
	c := g.config
	if c == nil {
		return nil
	}
	s, err := g.unit.Start(pid)
	if err != nil {
		return err
	}
	g.config, g.state = nil, s
	g.dirs = make([]*cgroup.Dir, len(s.Dirs))
	err = g.adopted(c)
	if err != nil {
		return errors.Join(err, g.unit.Stop())
	}
	return nil
}

func (g *Group) adopted(c *Config) error {
	if c.Resources != nil {
		if err := g.updateUnit(c.Resources); err != nil {
			return err
		}
	}
	if err := g.setDevices(c); err != nil {
		return err
	}
	if c.OwnerUID != nil {
		return g.delegate(*c.OwnerUID)
	}
	return nil
}

// updateUnit sets limits in the kernel, which refuses what can't be, and tells systemd.
func (g *Group) updateUnit(r *specs.LinuxResources) error {
	u, err := g.theUnit()
	if err != nil {
		return err
	}
	if err := u.Set(r); err != nil {
		return err
	}
	return g.set(r)
}

func (g *Group) theUnit() (Unit, error) {
	if g.unit != nil {
		return g.unit, nil
	}
	if systemd == nil {
		return nil, errNoDriver
	}
	u, err := systemd.Load(g.state)
	g.unit = u
	return u, err
}

func (g *Group) stopUnit() error {
	u, err := g.theUnit()
	if err != nil {
		return err
	}
	return u.Stop()
}
