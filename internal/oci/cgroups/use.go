package cgroups

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
)

// freezer is the directory that freezes the group.
func (g *Group) freezer() (*cgroup.Dir, error) {
	i := g.holder("freezer")
	switch {
	case len(g.state.Dirs) == 0:
		return nil, errNoCgroup
	case i < 0:
		return nil, errNoFreezer
	}
	return g.open(i)
}

// Freeze stops every process of the group.
func (g *Group) Freeze() error { return g.freeze(true) }

// Thaw lets them run on.
func (g *Group) Thaw() error { return g.freeze(false) }

func (g *Group) freeze(on bool) error {
	d, err := g.freezer()
	if err != nil {
		return err
	}
	if err := d.Freeze(on); err != nil {
		if on {
			_ = d.Freeze(false)
		}
		return err
	}
	return nil
}

// Frozen reports whether the group is frozen. One that is gone, or that can't be, is not.
func (g *Group) Frozen() (bool, error) {
	d, err := g.freezer()
	if err == errNoFreezer || err == errNoCgroup || errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	frozen, err := d.Frozen()
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		return false, nil
	}
	return frozen, err
}

// list is the directory that the group's processes are looked up in: that of
// cgroup2, which kills all at once, or any of v1, as they are in all of them.
func (g *Group) list() (*cgroup.Dir, error) {
	for i := range g.state.Dirs {
		if g.state.Dirs[i].V2 {
			return g.open(i)
		}
	}
	for _, c := range [...]string{"devices", "pids", "memory"} {
		if i := g.holder(c); i >= 0 {
			return g.open(i)
		}
	}
	if len(g.state.Dirs) > 0 {
		return g.open(0)
	}
	return nil, errNoCgroup
}

// Processes are the pids in the group; deep: and in those that the container
// made inside of it. A group that is gone has none.
func (g *Group) Processes(deep bool) ([]int, error) {
	d, err := g.list()
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	pids, err := d.Processes(deep)
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	return pids, err
}

// Signal sends a signal to every process of the group. SIGKILL reaches frozen
// ones as well, and those that are forked meanwhile.
func (g *Group) Signal(sig unix.Signal) error {
	d, err := g.list()
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	err = d.Signal(sig)
	if f, ferr := g.freezer(); sig == unix.SIGKILL && ferr == nil && !f.V2 {
		// Frozen by v1, none can fork away, and none takes the signal before it is thawed.
		if !d.V2 && f.Freeze(true) == nil {
			err = d.Signal(sig)
		}
		err = errors.Join(err, f.Freeze(false))
	}
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// DestroyEmpty removes a group that nobody is in, and reports whether it is gone. One that
// somebody is in is left as it is.
func (g *Group) DestroyEmpty() bool {
	d, err := g.list()
	if g.state.Unit != "" || err != nil {
		return false
	}
	// First the one that the processes are looked up in, to be killed.
	gone := unix.Rmdir(d.Path) == nil
	for i := range g.state.Dirs {
		if p := g.state.Dirs[i].Path; gone && p != d.Path {
			err := unix.Rmdir(p)
			gone = err == nil || err == unix.ENOENT
		}
	}
	return gone
}

// Destroy removes the group and those inside of it. Its processes are gone, or
// about to be; a group that is gone is no error.
func (g *Group) Destroy() error {
	var errs []error
	if g.state.Unit != "" {
		if err := g.stopUnit(); err != nil {
			errs = append(errs, err)
		}
	}
	for i := range g.state.Dirs {
		if err := cgroup.RemoveTree(g.state.Dirs[i].Path); err != nil {
			errs = append(errs, err)
		}
	}
	g.Close()
	return errors.Join(errs...)
}

// Update sets the limits that r names and leaves the others. Devices stay as
// they are. version is the container's ociVersion.
func (g *Group) Update(r *specs.LinuxResources, version string) error {
	if len(g.state.Dirs) == 0 {
		return errNoCgroup
	}
	c := Config{Resources: r, Version: version}
	c.normalise()
	full := *c.Resources
	full.Devices = nil
	if err := g.complete(&full); err != nil {
		return err
	}
	if g.state.Unit != "" {
		return g.updateUnit(&full)
	}
	return g.set(&full)
}

// complete adds to an update what cgroup2 keeps in one value with what is to be changed.
func (g *Group) complete(r *specs.LinuxResources) error {
	if c := r.CPU; c != nil && g.v2("cpu") && (value(c.Quota) == 0) != (value(c.Period) == 0) {
		quota, period, err := g.cpuMax()
		if err != nil {
			return err
		}
		with := *c
		if value(c.Quota) == 0 {
			with.Quota = &quota
		} else {
			with.Period = &period
		}
		r.CPU = &with
	}
	m := r.Memory
	if m == nil || !g.v2("memory") {
		return nil
	}
	if value(m.Swap) > 0 && value(m.Limit) == 0 {
		limit, err := g.readInt("memory", "memory.max")
		if err != nil {
			return err
		}
		with := *m
		with.Limit = &limit
		r.Memory = &with
	}
	current, err := g.readInt("memory", "memory.current")
	if err != nil {
		current = -1
	}
	return check2(r, current)
}

func (g *Group) read(controller, file string) (string, error) {
	i := g.holder(controller)
	if i < 0 {
		return "", errNoCgroup
	}
	d, err := g.open(i)
	if err != nil {
		return "", err
	}
	s, err := d.Read(file)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", path.Join(d.Path, file), err)
	}
	return strings.TrimSpace(s), nil
}

// readInt reads a number; "max" is -1.
func (g *Group) readInt(controller, file string) (int64, error) {
	s, err := g.read(controller, file)
	if err != nil || s == "max" {
		return -1, err
	}
	return strconv.ParseInt(s, 10, 64)
}

func (g *Group) cpuMax() (quota int64, period uint64, err error) {
	s, err := g.read("cpu", "cpu.max")
	if err != nil {
		return 0, 0, err
	}
	q, p, _ := strings.Cut(s, " ")
	quota = -1
	if q != "max" {
		if quota, err = strconv.ParseInt(q, 10, 64); err != nil {
			return 0, 0, err
		}
	}
	period, err = strconv.ParseUint(p, 10, 64)
	return quota, period, err
}

// OOMKills is how many processes of the group the kernel's OOM killer has
// ended; -1: unknown.
func (g *Group) OOMKills() int64 {
	file := "memory.oom_control"
	if g.v2("memory") {
		file = "memory.events"
	}
	s, err := g.read("memory", file)
	if err != nil {
		return -1
	}
	for line := range strings.Lines(s) {
		if n, ok := strings.CutPrefix(line, "oom_kill "); ok {
			if v, err := strconv.ParseInt(strings.TrimSpace(n), 10, 64); err == nil {
				return v
			}
		}
	}
	return -1
}

// Enter opens what another process enters the group of a running container by:
// that of its process, or one below it. sub are the arguments of `exec --cgroup`:
// one PATH, or several CONTROLLER[,CONTROLLER]:PATH. init is the container's pid.
func (g *Group) Enter(sub []string, init int) error {
	paths, err := subgroups(sub)
	if err != nil {
		return err
	}
	for i := range g.state.Dirs {
		s := &g.state.Dirs[i]
		dir, named := s.Path, false
		for c, p := range paths {
			if c == "" && s.V2 || !s.V2 && hasWord(strings.Join(s.Controllers, " "), c) {
				dir, named = path.Join(s.Path, path.Clean("/"+p)), true
			}
		}
		if !named && s.V2 {
			dir = g.initGroup(i, init)
		}
		d, err := cgroup.OpenDir(dir, s.V2)
		if err != nil {
			if s.V2 && !named && errors.Is(err, unix.ENOENT) {
				continue // of a hybrid's empty hierarchy: somebody removed it
			}
			return fmt.Errorf("enter the container's cgroup: %w", err)
		}
		if g.dirs[i] != nil {
			g.dirs[i].Close()
		}
		g.dirs[i] = d
		if err := g.openEntry(d); err != nil {
			return err
		}
	}
	return nil
}

// initGroup is the directory of cgroup2 that a process can join. A container that
// made groups of its own has passed its controllers on to them, and its first
// group takes no processes since ("no internal processes", cgroups(7)): then it
// is the one that the container's process is in.
func (g *Group) initGroup(i, init int) string {
	dir := g.state.Dirs[i].Path
	d, err := g.open(i)
	if err != nil {
		return dir
	}
	on, err := d.Read("cgroup.subtree_control")
	if err != nil || strings.TrimSpace(on) == "" {
		return dir
	}
	own, err := os.ReadFile("/proc/" + strconv.Itoa(init) + "/cgroup")
	if err != nil {
		return dir
	}
	for line := range strings.Lines(string(own)) {
		p, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::")
		if !ok {
			continue
		}
		// Both paths end alike, whatever is above what is mounted here.
		base := path.Base(dir)
		if at := strings.LastIndex(p+"/", "/"+base+"/"); at >= 0 {
			return path.Join(dir, path.Clean("/"+(p + "/")[at+len(base)+2:]))
		}
	}
	return dir
}

// subgroups reads the arguments of --cgroup.
func subgroups(args []string) (map[string]string, error) {
	paths := map[string]string{}
	for _, a := range args {
		list, p, ok := strings.Cut(a, ":")
		if !ok {
			if len(args) != 1 {
				return nil, fmt.Errorf("invalid --cgroup argument: %s (missing <controller>: prefix)", a)
			}
			paths[""] = a
			continue
		}
		for c := range strings.SplitSeq(list, ",") {
			if c == "" {
				return nil, fmt.Errorf("invalid --cgroup argument: %s (empty <controller> prefix)", a)
			}
			if _, twice := paths[c]; twice {
				return nil, fmt.Errorf("invalid --cgroup argument(s): controller %s specified multiple times", c)
			}
			paths[c] = p
		}
	}
	return paths, nil
}
