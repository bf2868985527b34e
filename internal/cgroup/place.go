package cgroup

import (
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// place is where a group's directory goes in one hierarchy, and what for.
type place struct {
	h      *Hierarchy
	dir    string
	use    set // controllers and readings that the directory serves
	enable set // cgroup2: to be written to dir's cgroup.subtree_control

	// anchor: dir belongs to somebody else (systemd), who may take a controller
	// away from its children at any time. A child that passes the controllers on
	// to a child of its own keeps them: the kernel refuses with EBUSY.
	anchor bool
}

// Available reports, by an *Unavailable, that this process may not make a
// cgroup with controllers: their names as in Controller.String. It makes nothing.
func (l *Layout) Available(controllers ...string) error {
	var need set
	for _, name := range controllers {
		c, ok := byName(name)
		if !ok {
			return &Unavailable{Controller: name, Cause: "Cloche knows no cgroup controller of this name", Remedy: "use memory, cpu, cpuacct, cpuset, pids, io or freezer"}
		}
		need |= 1 << c
	}
	_, err := l.places(need, l.parent)
	return err
}

// places finds a directory for each hierarchy that the needed controllers are in.
func (l *Layout) places(need set, parent string) ([]place, error) {
	var v2 set
	var out []place
	for c := range nControllers {
		if !need.has(c) {
			continue
		}
		h := l.v1[c]
		if h == nil {
			if l.v2 == nil {
				return nil, l.absent(1 << c)
			}
			v2 |= 1 << c
			continue
		}
		found := false
		for i := range out {
			if out[i].h == h {
				out[i].use |= 1 << c
				found = true
			}
		}
		if !found {
			out = append(out, place{h: h, use: 1 << c})
		}
	}
	for i := range out {
		p := &out[i]
		dir, err := l.dirOf(p.h, parent)
		if err == nil {
			err = p.mayMake(dir)
		}
		if err != nil {
			return nil, p.unavailable(err, dir)
		}
		p.dir = dir
	}
	if v2 != 0 {
		p, err := l.place2(v2, parent)
		if err != nil {
			return nil, err
		}
		out = append(out, *p)
	}
	return out, nil
}

// absent explains controllers that no hierarchy has.
func (l *Layout) absent(s set) error {
	if len(l.Hierarchies) == 0 {
		return &Unavailable{Controller: s.String(), Cause: "no cgroup file system is mounted here", Remedy: "as root: mount -t cgroup2 cgroup2 /sys/fs/cgroup"}
	}
	return &Unavailable{Controller: s.String(), Cause: "no mounted cgroup hierarchy has it", Remedy: "look in /proc/cgroups whether the kernel has it and cgroup_disable= does not switch it off; on cgroup v1 mount it, such as with `mount -t cgroup -o " + s.String() + " cgroup /sys/fs/cgroup/" + s.String() + "`"}
}

// dirOf is the directory that a policy's limits.parent means in a hierarchy:
// itself in its own, the one with the same name in another; without one it is
// the own cgroup of this process.
func (l *Layout) dirOf(h *Hierarchy, parent string) (string, error) {
	if parent == "" {
		if h.Own == "" {
			return h.Path, errUnreachable
		}
		return h.Own, nil
	}
	parent = path.Clean(parent)
	rel, longest := "", -1
	for i := range l.Hierarchies {
		m := l.Hierarchies[i].Mount
		if within(parent, m) && len(m) > longest {
			rel, longest = strings.TrimPrefix(parent, m), len(m)
		}
	}
	if longest < 0 {
		return parent, errOutside
	}
	dir := h.Mount + rel
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return dir, err
	}
	return dir, nil
}

func within(name, dir string) bool {
	rest, ok := strings.CutPrefix(name, dir)
	return ok && (rest == "" || rest[0] == '/' || dir == "/")
}

// mayMake checks that this process may make a directory in dir.
func (p *place) mayMake(dir string) error {
	if p.h.ReadOnly {
		return unix.EROFS
	}
	return writable(dir, true)
}

// placeError is why a place can't be used, beside an errno.
type placeError string

func (e placeError) Error() string { return string(e) }

const (
	errUnreachable placeError = "this process's own cgroup is not below what is mounted"
	errOutside     placeError = "limits.parent is in no mounted cgroup hierarchy"
	errProcesses   placeError = "it holds processes"
	errForeign     placeError = "its parent is not delegated"
)

// How a user comes to a cgroup who may make none.
const (
	byManager  = "`systemd-run --user --scope -p Delegate=yes`"
	HandedOver = "have root make a directory that passes the controllers on, chown it to you with its cgroup.procs and cgroup.subtree_control, and start you in a child of it that is yours, too"
)

// booted reports whether systemd runs this machine, sd_booted(3).
func booted() bool { return exists("/run/systemd/system") }

// unavailable puts into words why dir can't be used.
func (p *place) unavailable(err error, dir string) error {
	u := &Unavailable{Controller: p.use.String()}
	user := "user " + strconv.Itoa(unix.Geteuid())
	switch err {
	case errUnreachable:
		u.Cause = "this process's own cgroup " + p.h.Path + " is not below what is mounted at " + p.h.Mount
		u.Remedy = "name a cgroup directory with limits.parent, or start the container with its own cgroup namespace"
	case errOutside:
		u.Cause = "limits.parent " + dir + " is in no mounted cgroup hierarchy"
		u.Remedy = "name a directory below " + p.h.Mount
	case errProcesses:
		u.Cause = "cgroup " + dir + " has processes of its own, so cgroup2 lets it limit no children (cgroups(7), \"no internal processes\")"
		u.Remedy = "move them to a child first (mkdir " + dir + "/init, write each pid to its cgroup.procs, then +" + strings.ReplaceAll(p.enable.String(), ", ", " +") + " to " + dir + "/cgroup.subtree_control), or start Cloche in a cgroup of its own"
		if booted() {
			u.Remedy += ", such as by " + byManager
		}
	case errForeign:
		u.Cause = user + " may not move processes from " + p.h.Own + " to " + dir + ": the cgroup above both is not delegated"
		u.Remedy = HandedOver
		if booted() {
			u.Remedy = "start Cloche by " + byManager
		}
	case unix.ENOENT:
		u.Cause = "directory " + dir + " does not exist"
		u.Remedy = "mkdir " + dir + ", or name another with limits.parent"
	case unix.EROFS:
		u.Cause = "the cgroup file system at " + p.h.Mount + " is read-only"
		u.Remedy = "mount it writable (a container engine's --privileged, or a bind of /sys/fs/cgroup), or leave the limits to the container"
	default:
		u.Cause = user + " may not make a cgroup in " + dir
		if unix.Geteuid() == 0 {
			u.Remedy = "start Cloche outside of the sandbox or container that this runs in, or name a directory that is handed over to it with limits.parent"
			break
		}
		if p.h.Version == 2 {
			u.Remedy = HandedOver
			if booted() {
				u.Remedy = "run under systemd's user manager (" + byManager + "), or " + HandedOver
			}
		} else {
			u.Remedy = "run as root, or have root make a directory in " + p.h.Mount + ", chown it to you, and name it with limits.parent"
		}
	}
	return u
}
