package cgroup

import (
	"errors"
	"fmt"
	"math"
	"path"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// Group is the cgroup of one sandbox: a directory in each hierarchy that its
// limits and readings need. Its methods may be called by several goroutines, but
// for Remove, which comes last.
type Group struct {
	Name string
	// Notes says in words where a limit holds less here than its name promises,
	// a line each, after a dry run as well.
	Notes []string

	layout  *Layout
	dirs    []groupDir
	by      [nControllers]int8 // index into dirs; -1: none
	entries []Entry
	dirFD   int
	cpuFD   int // cpu.stat or cpuacct.usage; -1: not asked for
	dry     bool
}

// groupDir is the group's directory in one hierarchy.
type groupDir struct {
	place
	parentFD int
	fd       int // limits and readings
	leafFD   int // where processes live: fd, or below an anchored one
}

// leafName is the child of an anchored group that processes live in.
const leafName = "sandbox"

// Path is the group's directory in the hierarchy of its first controller, for messages.
func (g *Group) Path() string {
	if len(g.dirs) == 0 {
		return ""
	}
	return path.Join(g.dirs[0].dir, g.Name)
}

// Paths lists the group's directories, one for each hierarchy.
func (g *Group) Paths() []string {
	var all []string
	for i := range g.dirs {
		all = append(all, path.Join(g.dirs[i].dir, g.Name))
	}
	return all
}

// Entries are the files that a process writes "0" to itself to enter the group;
// the launcher inherits them. With a DirFD cgroup2 needs no entry.
func (g *Group) Entries() []Entry { return g.entries }

// DirFD is the directory for clone3(2) with CLONE_INTO_CGROUP, or -1 where the
// group has no part in cgroup2 or the kernel is older than 5.7. After a dry run
// it is a number that is no descriptor.
func (g *Group) DirFD() int { return g.dirFD }

// Create makes a group, writes the limits, and opens what is needed to enter
// it. name is for people who look at the directory; it need not be unique.
//
// The limit of pids is for the command: pid 1 of the sandbox lives in the group
// too, so the file gets one more (unless Options.NoInit). Memory that pid 1 uses,
// some tens of KiB, counts.
//
// An error is an *Unavailable, or names the file and the value that the kernel
// refused; nothing is left behind then.
func (l *Layout) Create(name string, lim policy.Limits, o Options) (*Group, error) {
	if err := validate(&lim); err != nil {
		return nil, err
	}
	places, err := l.places(controllersFor(&lim, o), lim.Parent)
	if err != nil {
		return nil, err
	}
	g := &Group{Name: groupName(name), layout: l, dirFD: -1, cpuFD: -1, dry: o.DryRun}
	for c := range g.by {
		g.by[c] = -1
	}
	for i := range places {
		g.dirs = append(g.dirs, groupDir{place: places[i], parentFD: -1, fd: -1, leafFD: -1})
		for c := range nControllers {
			if places[i].use.has(c) {
				g.by[c] = int8(i)
			}
		}
	}
	g.note(&lim)
	if o.DryRun {
		g.pretend()
		return g, nil
	}
	if err := g.make(&lim, o); err != nil {
		return nil, errors.Join(err, g.Remove())
	}
	return g, nil
}

// pretend gives a dry run the entries that a real one would have.
func (g *Group) pretend() {
	for i := range g.dirs {
		d := &g.dirs[i]
		switch {
		case d.h.Version == 2 && cloneIntoCgroup():
			g.dirFD = math.MaxInt32
		case d.h.Version == 2:
			g.entries = append(g.entries, Entry{Path: path.Join(d.dir, g.Name, "cgroup.procs"), FD: -1, V2: true})
		default:
			g.entries = append(g.entries, Entry{Path: path.Join(d.dir, g.Name, "tasks"), FD: -1})
		}
	}
}

func (g *Group) make(lim *policy.Limits, o Options) error {
	for i := range g.dirs {
		if err := g.makeDir(&g.dirs[i]); err != nil {
			return err
		}
	}
	if err := g.limit(lim, o); err != nil {
		return err
	}
	for i := range g.dirs {
		if err := g.open(&g.dirs[i]); err != nil {
			return err
		}
	}
	for i := range g.dirs {
		glance(g.dirs[i].parentFD)
	}
	if o.CPUTime {
		return g.openCPU()
	}
	return nil
}

// makeDir makes the directory of one hierarchy.
func (g *Group) makeDir(d *groupDir) (err error) {
	if d.parentFD, err = g.layout.openDir(d.h, d.dir); err != nil {
		return err
	}
	if d.enable != 0 {
		if err := enable(d.parentFD, d.enable); err != nil {
			if err == unix.EBUSY {
				err = d.unavailable(errProcesses, d.dir)
			}
			return fileError("enable "+d.enable.String()+" in", path.Join(d.dir, "cgroup.subtree_control"), err)
		}
	}
	dir := path.Join(d.dir, g.Name)
	if err := mkdir(d.parentFD, g.Name, dir); err != nil {
		return err
	}
	if d.fd, err = openBelow(d.parentFD, g.Name, unix.O_RDONLY|unix.O_DIRECTORY); err != nil {
		return fileError("open", dir, err)
	}
	d.leafFD = d.fd
	if d.anchor {
		if err := enable(d.fd, d.use&^(1<<CPUAcct|1<<Freezer)); err != nil {
			return fileError("write", path.Join(dir, "cgroup.subtree_control"), err)
		}
		if err := mkdir(d.fd, leafName, path.Join(dir, leafName)); err != nil {
			return err
		}
		if d.leafFD, err = openBelow(d.fd, leafName, unix.O_RDONLY|unix.O_DIRECTORY); err != nil {
			return fileError("open", path.Join(dir, leafName), err)
		}
	}
	return nil
}

// mkdir tells the two limits that a cgroup2 can set to its own descendants.
func mkdir(fd int, name, whole string) error {
	err := unix.Mkdirat(fd, name, 0o755)
	switch err {
	case nil:
		return nil
	case unix.EAGAIN:
		return fmt.Errorf("make cgroup %s: %w: cgroup.max.descendants or cgroup.max.depth of a cgroup above is reached; raise it, or remove unused cgroups", whole, err)
	case unix.ENOSPC:
		return fmt.Errorf("make cgroup %s: %w: the kernel has no number left for another cgroup (65535 with a memory controller); remove unused ones", whole, err)
	case unix.ENOENT:
		return fmt.Errorf("make cgroup %s: %w: the cgroup above was removed meanwhile; name another with limits.parent", whole, err)
	}
	return fileError("make cgroup", whole, err)
}

// enable passes controllers on to the children of a cgroup2.
func enable(dir int, s set) error {
	value := ""
	for c := range nControllers {
		if s.has(c) {
			value += " +" + c.String()
		}
	}
	return writeBelow(dir, "cgroup.subtree_control", value[1:])
}

// open opens what a process enters the group by. On v1 that is `tasks`, which
// moves one thread: `cgroup.procs` waits for a grace period, a thousand times as long.
func (g *Group) open(d *groupDir) error {
	file := "tasks"
	if d.h.Version == 2 {
		if cloneIntoCgroup() {
			g.dirFD = d.leafFD
			return nil
		}
		file = "cgroup.procs"
	}
	fd, err := openBelow(d.leafFD, file, unix.O_WRONLY)
	if err != nil {
		return fileError("open", path.Join(d.dir, g.Name, file), err)
	}
	g.entries = append(g.entries, Entry{Path: path.Join(d.dir, g.Name, file), FD: fd, V2: d.h.Version == 2})
	return nil
}

// dir is the directory that serves a controller, or nil.
func (g *Group) dir(c Controller) *groupDir {
	if i := g.by[c]; i >= 0 && g.dirs[i].fd >= 0 {
		return &g.dirs[i]
	}
	return nil
}

// closeFDs closes all that is open.
func (g *Group) closeFDs() {
	for _, e := range g.entries {
		if e.FD >= 0 {
			unix.Close(e.FD)
		}
	}
	g.entries = nil
	if g.cpuFD >= 0 {
		unix.Close(g.cpuFD)
	}
	g.cpuFD, g.dirFD = -1, -1
	for i := range g.dirs {
		d := &g.dirs[i]
		if d.leafFD >= 0 && d.leafFD != d.fd {
			unix.Close(d.leafFD)
		}
		for _, fd := range [...]int{d.fd, d.parentFD} {
			if fd >= 0 {
				unix.Close(fd)
			}
		}
		d.leafFD, d.fd, d.parentFD = -1, -1, -1
	}
}
