package cgroup

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// place2 finds a directory of cgroup2. A group with controllers can't be made
// in a cgroup that has processes, as the own one has at least this process, so
// the search goes upwards from there.
func (l *Layout) place2(use set, parent string) (*place, error) {
	p := &place{h: l.v2, use: use}
	dir, err := l.dirOf(l.v2, parent)
	if err == nil {
		err = p.try2(dir, true)
		if err == nil {
			return p, nil
		}
	}
	first := p.unavailable(err, dir)
	if u, ok := err.(*Unavailable); ok {
		first = u
	}
	if parent != "" || l.v2.Own == "" {
		return nil, first
	}
	for dir != l.v2.Mount && within(dir, l.v2.Mount) {
		dir = path.Dir(dir)
		if p.try2(dir, false) == nil {
			return p, nil
		}
	}
	return nil, first
}

// try2 decides whether dir will do, and what has to be enabled in it first.
// An ancestor's cgroup.subtree_control is not touched: it has other children.
func (p *place) try2(dir string, mine bool) error {
	if err := p.mayMake(dir); err != nil {
		return err
	}
	if p.h.Own != "" {
		// The cgroup above both decides who may move between them.
		if err := writable(path.Join(common(p.h.Own, dir), "cgroup.procs"), false); err != nil && err != unix.ENOENT {
			return errForeign
		}
	}
	p.dir, p.enable, p.anchor = dir, 0, false
	need := p.use &^ (1<<CPUAcct | 1<<Freezer) // these are part of every cgroup2
	if need == 0 {
		return nil
	}
	p.anchor = !mine && managed(dir)
	on, err := readFile(path.Join(dir, "cgroup.subtree_control"))
	if err != nil {
		return err
	}
	p.enable = need &^ parseNames(on)
	if p.enable == 0 {
		return nil
	}
	have, err := readFile(path.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	if absent := p.enable &^ parseNames(have); absent != 0 {
		return notPassedOn(absent, p.h, dir)
	}
	if !mine {
		return &Unavailable{Controller: p.enable.String(), Cause: "cgroup " + dir + " does not pass it on to its children", Remedy: "as root: echo +" + strings.ReplaceAll(p.enable.String(), ", ", " +") + " > " + dir + "/cgroup.subtree_control"}
	}
	if err := writable(path.Join(dir, "cgroup.subtree_control"), false); err != nil {
		return err
	}
	// The real root of cgroup2 is the one cgroup that may have both; it alone
	// has no cgroup.type.
	if unix.Access(path.Join(dir, "cgroup.type"), unix.F_OK) != nil {
		return nil
	}
	procs, err := readFile(path.Join(dir, "cgroup.procs"))
	if err == nil && procs != "" {
		return errProcesses
	}
	return err
}

// notPassedOn explains a controller that a cgroup does not get from its parent.
func notPassedOn(absent set, h *Hierarchy, dir string) error {
	u := &Unavailable{Controller: absent.String(), Cause: "cgroup " + dir + " does not get it from its parent"}
	if have, err := readFile(path.Join(h.Mount, "cgroup.controllers")); err == nil && absent&^parseNames(have) != 0 {
		u.Cause = "cgroup2 at " + h.Mount + " does not have it"
		u.Remedy = "look in /proc/cgroups whether the kernel has it, cgroup_disable= does not switch it off, and no cgroup v1 hierarchy holds it"
		return u
	}
	if booted() {
		u.Remedy = "as root: a drop-in for user@.service with \"[Service] Delegate=cpu cpuset io memory pids\", daemon-reload, and a new login"
		return u
	}
	u.Remedy = "as root: echo +" + strings.ReplaceAll(absent.String(), ", ", " +") + " to the cgroup.subtree_control of each cgroup above"
	return u
}

// common is the deepest directory that holds both.
func common(a, b string) string {
	for !within(b, a) {
		a = path.Dir(a)
	}
	return a
}

// managed reports whether somebody else enables and disables controllers in
// dir. systemd marks what it has handed over by an extended attribute.
func managed(dir string) bool {
	if !booted() {
		return false
	}
	var value [8]byte
	for _, name := range [...]string{"user.delegate", "trusted.delegate"} {
		if n, err := unix.Getxattr(dir, name, value[:]); err == nil && n == 1 && value[0] == '1' {
			return false
		}
	}
	return true
}
