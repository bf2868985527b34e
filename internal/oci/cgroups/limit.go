package cgroups

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
)

// set writes the limits of resources but those of devices.
func (g *Group) set(r *specs.LinuxResources) error {
	if r == nil {
		return nil
	}
	list, err := settings(r, g.v2)
	if err != nil {
		return err
	}
	if len(r.Unified) > 0 && !g.v2("") {
		return errNoUnified
	}
	var again []setting
	for _, s := range list {
		err := g.write(&s)
		if later(err) {
			again = append(again, s)
		} else if err != nil {
			return g.explain(&s, err)
		}
	}
	for _, s := range again {
		if err := g.write(&s); err != nil {
			return g.explain(&s, err)
		}
	}
	return nil
}

// errNoDir is what a setting fails with whose controller is nowhere.
var errNoDir = errors.New("no controller")

// write writes one setting; the error is an errno.
func (g *Group) write(s *setting) error {
	i := g.holder(s.controller)
	if i < 0 {
		if s.optional {
			return nil
		}
		return errNoDir
	}
	d, err := g.open(i)
	if err != nil {
		return err
	}
	if s.alt != "" && d.Has(s.alt) {
		s.file = s.alt
		if s.altValue != "" {
			s.value = s.altValue
		}
	}
	err = d.Write(s.file, s.value)
	if s.optional && (err == unix.ENOENT || err == unix.EOPNOTSUPP) {
		return nil
	}
	return err
}

// explain says which field could not be set, and why.
func (g *Group) explain(s *setting, err error) error {
	controller := s.controller
	i := g.holder(controller)
	if controller == "" {
		controller, _, _ = strings.Cut(s.file, ".")
	}
	if err == errNoDir {
		return refused(s.field, "no mounted cgroup hierarchy has the controller "+controller+"; look in /proc/cgroups, and mount it")
	}
	why := ""
	dir := g.state.Dirs[i].Path
	switch {
	case err == unix.ENOENT && g.state.Dirs[i].V2:
		if controller == "blkio" {
			controller = "io"
		}
		why = ": the kernel has no such file, or the groups above do not pass the controller " + controller + " on (cgroup.subtree_control)"
	case err == unix.ENOENT:
		why = ": this kernel's controller " + controller + " has no such file"
	case err == unix.EBUSY && strings.HasPrefix(s.field, "memory"):
		why = ": so much is in use already"
	case err == unix.EINVAL:
		why = ": the kernel takes no such value here; a group above may allow less"
	case permission(err):
		why = ": this user may not, or a group above allows less"
	case err == unix.EOPNOTSUPP:
		why = ": this kernel no longer has it"
	}
	return refused(s.field, fmt.Sprintf("write %q to %s: %v%s", s.value, path.Join(dir, s.file), err, why))
}

// setDevices lets the container use its devices and no others.
func (g *Group) setDevices(c *Config) error {
	var list []specs.LinuxDeviceCgroup
	if c.Resources != nil {
		list = c.Resources.Devices
	}
	rules, err := deviceRules(list)
	if err != nil {
		return err
	}
	i := g.holder("devices")
	if i < 0 {
		if c.Rootless {
			return nil
		}
		return refused("devices", "no mounted cgroup hierarchy has the controller devices, so every device would be open to the container; mount it")
	}
	d, err := g.open(i)
	if err == nil {
		if d.V2 {
			err = setDevices(d.FD(), rules)
		} else {
			err = setDevices1(d, rules)
		}
	}
	if err != nil && c.Rootless {
		// In a user namespace no device can be made or opened that the host
		// does not give to its user.
		return nil
	}
	return err
}

func setDevices1(d *cgroup.Dir, rules []rule) error {
	e, err := reduce(rules)
	if err != nil {
		return err
	}
	file, exception := "devices.deny", "devices.allow"
	if e.allow {
		file, exception = exception, file
	}
	if err := d.Write(file, "a"); err != nil {
		return refused("devices", fmt.Sprintf("write a to %s: %v: a group above allows less", path.Join(d.Path, file), err))
	}
	if len(e.list) == 0 {
		return nil
	}
	lines := make([]string, len(e.list))
	for i := range e.list {
		lines[i] = e.list[i].line()
	}
	if n, err := d.WriteEach(exception, lines); err != nil {
		return refused("devices", fmt.Sprintf("write %q to %s: %v: a group above allows less", lines[n], path.Join(d.Path, exception), err))
	}
	return nil
}
