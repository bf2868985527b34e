// Package cgroups keeps the cgroup of an OCI container: it makes it where
// linux.cgroupsPath says, sets linux.resources, hands out what a process enters it
// by, and freezes, reads, kills and removes it.
//
// A process always enters by itself, because that is what costs no grace
// period of the kernel: on v1 the launcher image writes "0" to each hierarchy's `tasks`
// (20 µs, where a pid written to cgroup.procs takes 9 ms), on cgroup2 it is
// cloned into the group (CLONE_INTO_CGROUP). The exception is systemd's driver, where
// the manager makes a scope around a process that is there already.
//
// Nothing here costs time at the start of the program. What does, the message bus,
// is in package late, which makes itself known by [RegisterSystemd].
package cgroups

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
)

// Config is what a container asks for.
type Config struct {
	ID      string // of the container
	Path    string // linux.cgroupsPath
	Version string // ociVersion
	// Systemd has the path read as slice:prefix:name, and systemd make the group.
	Systemd bool
	// Rootless lets a container whose config.json names no path and no limits run
	// without a group where this user may make none.
	Rootless  bool
	Resources *specs.LinuxResources // nil: no limits, and the default devices
	// OwnerUID, on the host, gets the group of cgroup2, so that a container with
	// user and cgroup namespaces of its own can make groups inside.
	OwnerUID *int
	// Annotations may hold properties of systemd's unit (org.systemd.property.*).
	Annotations map[string]string
}

// State is what has to be kept about a group to come back to it.
type State struct {
	Dirs []DirState `json:"dirs,omitempty"`
	Unit string     `json:"unit,omitempty"` // systemd's, "NAME.scope" or "NAME.slice"
	// Config has what the unit was made from.
	Slice    string `json:"slice,omitempty"`
	Rootless bool   `json:"rootless,omitempty"`
}

// DirState is the group's directory in one hierarchy.
type DirState struct {
	Path        string   `json:"path"`
	V2          bool     `json:"v2,omitempty"`
	Controllers []string `json:"controllers,omitempty"` // v1; a named hierarchy is "name=NAME"
}

// Group is the cgroup of a container.
type Group struct {
	state   State
	dirs    []*cgroup.Dir // in the order of state.Dirs; nil: not open
	entries []cgroup.Entry
	dirFD   int
	unit    Unit    // of systemd's driver
	config  *Config // until Adopt
}

// What engines and people read when a group is not as it should be.
var (
	errFrozen    = errors.New("container's cgroup unexpectedly frozen")
	errNoUnified = errors.New("linux.resources.unified: no cgroup2 is mounted here, and v1 knows none of its files")
	errNoCgroups = errors.New("no cgroup file system is mounted here; as root: mount -t cgroup2 cgroup2 /sys/fs/cgroup")
	errNoFreezer = errors.New("the container has no cgroup with a freezer")
	errNoCgroup  = errors.New("the container has no cgroup: it was made by a user who may make none")
)

// Prepare makes the group of a container, sets its limits and opens what a
// process enters it by. On an error nothing of it is left behind, but for the
// groups above it.
func Prepare(c Config) (*Group, error) {
	c.normalise()
	if c.Systemd {
		return prepareUnit(&c)
	}
	l, err := cgroup.Detect()
	if err != nil {
		return nil, err
	}
	if len(l.Hierarchies) == 0 {
		if c.Rootless && c.Path == "" && !c.limits() {
			return &Group{dirFD: -1}, nil
		}
		return nil, errNoCgroups
	}
	g := &Group{dirFD: -1, state: State{Rootless: c.Rootless}}
	if err := g.make(l, &c); err != nil {
		err = errors.Join(err, g.undo())
		g.Close()
		return nil, err
	}
	return g, nil
}

// Find is the group that Prepare would make, for a container of which nothing else is known
// since it is not finished. Nothing is made, and whether it is there shows when it is used: its
// maker may be making it now.
func Find(c Config) (*Group, error) {
	if c.Systemd {
		return prepareUnit(&c)
	}
	l, err := cgroup.Detect()
	if err != nil {
		return nil, err
	}
	s := State{Rootless: c.Rootless}
	for i := range l.Hierarchies {
		h := &l.Hierarchies[i]
		if dir := groupPath(h, c.Path, c.ID); dir != h.Mount {
			s.Dirs = append(s.Dirs, DirState{Path: dir, V2: h.Version == 2, Controllers: h.Controllers})
		}
	}
	return Load(s), nil
}

// normalise makes of a limit of 0 processes what engines meant by it before the
// specification had a word for no limit (1.3): none.
func (c *Config) normalise() {
	if c.Resources == nil || c.Resources.Pids == nil || value(c.Resources.Pids.Limit) != 0 || !Before13(c.Version) {
		return
	}
	r := *c.Resources
	r.Pids = nil
	c.Resources = &r
}

// Before13 reports whether a version of the specification is older than 1.3.
func Before13(version string) bool {
	for _, prefix := range [...]string{"1.0.", "1.1.", "1.2."} {
		if strings.HasPrefix(version, prefix) {
			return true
		}
	}
	return false
}

// limits reports whether anything but devices is limited.
func (c *Config) limits() bool {
	if c.Resources == nil {
		return false
	}
	for _, v2 := range [...]bool{false, true} {
		if list, err := settings(c.Resources, func(string) bool { return v2 }); err != nil || len(list) > 0 {
			return true
		}
	}
	return false
}

// make makes the directories and sets the limits.
func (g *Group) make(l *cgroup.Layout, c *Config) error {
	var denied error
	for i := range l.Hierarchies {
		h := &l.Hierarchies[i]
		d, existed, err := makeGroup(h, groupPath(h, c.Path, c.ID))
		if err != nil {
			if c.Rootless && c.Path == "" && permission(err) {
				denied = err
				continue
			}
			return err
		}
		g.state.Dirs = append(g.state.Dirs, DirState{Path: d.Path, V2: d.V2, Controllers: h.Controllers})
		g.dirs = append(g.dirs, d)
		if existed {
			if err := g.notFrozen(len(g.dirs) - 1); err != nil {
				return err
			}
		}
	}
	if len(g.dirs) == 0 {
		if c.limits() {
			return fmt.Errorf("linux.resources: the container could get no cgroup for its limits: %w; run as root, or under systemd's user manager with --systemd-cgroup", denied)
		}
		return nil
	}
	return g.limitAndOpen(c)
}

// limitAndOpen is what is the same whoever made the directories.
func (g *Group) limitAndOpen(c *Config) error {
	if err := g.set(c.Resources); err != nil {
		return err
	}
	if err := g.setDevices(c); err != nil {
		return err
	}
	if c.OwnerUID != nil {
		if err := g.delegate(*c.OwnerUID); err != nil {
			return err
		}
	}
	return g.openEntries()
}

func (g *Group) notFrozen(i int) error {
	s := &g.state.Dirs[i]
	if !s.V2 && !slices.Contains(s.Controllers, "freezer") {
		return nil
	}
	if frozen, err := g.dirs[i].Frozen(); err == nil && frozen {
		return errFrozen
	}
	return nil
}

// undo removes what make has made.
func (g *Group) undo() error {
	var errs []error
	for _, d := range g.state.Dirs {
		// A group that somebody else made before has a directory of his own
		// or processes, and stays.
		if err := unix.Rmdir(d.Path); err != nil && err != unix.ENOENT && err != unix.EBUSY && err != unix.ENOTEMPTY {
			errs = append(errs, fmt.Errorf("remove cgroup %s: %w", d.Path, err))
		}
	}
	return errors.Join(errs...)
}

func permission(err error) bool {
	return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EROFS)
}

// openEntries opens what a process enters the group by.
func (g *Group) openEntries() error {
	for _, d := range g.dirs {
		if err := g.openEntry(d); err != nil {
			return err
		}
	}
	return nil
}

func (g *Group) openEntry(d *cgroup.Dir) error {
	if d.V2 && cgroup.CloneInto() {
		g.dirFD = d.FD()
		return nil
	}
	e, err := d.Entry()
	if err != nil {
		return err
	}
	g.entries = append(g.entries, e)
	return nil
}

// Entries are the files that a process writes "0" to itself to enter the group,
// before it makes a cgroup namespace.
func (g *Group) Entries() []cgroup.Entry { return g.entries }

// DirFD is the directory for clone3(2) with CLONE_INTO_CGROUP; -1: none is needed.
func (g *Group) DirFD() int { return g.dirFD }

// State is what [Load] needs.
func (g *Group) State() State { return g.state }

// Load comes back to a group. Nothing is opened before it is needed.
func Load(s State) *Group {
	return &Group{state: s, dirFD: -1, dirs: make([]*cgroup.Dir, len(s.Dirs))}
}

// Close closes all descriptors.
func (g *Group) Close() {
	for _, e := range g.entries {
		unix.Close(e.FD)
	}
	g.entries, g.dirFD = nil, -1
	for i, d := range g.dirs {
		if d != nil {
			d.Close()
			g.dirs[i] = nil
		}
	}
}

// open opens the directory of a hierarchy.
func (g *Group) open(i int) (*cgroup.Dir, error) {
	if g.dirs[i] == nil {
		d, err := cgroup.OpenDir(g.state.Dirs[i].Path, g.state.Dirs[i].V2)
		if err != nil {
			return nil, err
		}
		g.dirs[i] = d
	}
	return g.dirs[i], nil
}

// holder is the index of the directory that a controller of v1 or, where no
// hierarchy of v1 has it, of cgroup2 is in; -1: none.
func (g *Group) holder(controller string) int {
	v2 := -1
	for i := range g.state.Dirs {
		d := &g.state.Dirs[i]
		if d.V2 {
			v2 = i
		} else if controller != "" && slices.Contains(d.Controllers, controller) {
			return i
		}
	}
	return v2
}

func (g *Group) v2(controller string) bool {
	i := g.holder(controller)
	return i >= 0 && g.state.Dirs[i].V2
}

// Path is the group's directory for a controller by its name on v1; "": none.
func (g *Group) Path(controller string) string {
	if i := g.holder(controller); i >= 0 {
		return g.state.Dirs[i].Path
	}
	return ""
}
