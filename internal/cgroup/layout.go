package cgroup

import (
	"slices"
	"strings"
)

// Layout is how cgroups are mounted here and where this process is in them.
type Layout struct {
	Hierarchies []Hierarchy

	v1     [nControllers]*Hierarchy
	v2     *Hierarchy
	fake   bool   // directories of a test stand for the file systems
	parent string // limits.parent, of the layout that a Create works with
}

// newLayout is Detect on recorded texts.
func newLayout(mountinfo, membership string) *Layout {
	return layoutOf(parseMounts(mountinfo), membership)
}

// layoutOf is that of mounts, which are its own then.
func layoutOf(all []Hierarchy, membership string) *Layout {
	l := &Layout{}
	parseMembership(membership, func(controllers, path string) {
		best := -1
		for i := range all {
			h := &all[i]
			if h.covered || !h.matches(controllers) {
				continue
			}
			h.Path = path
			dir, ok := h.below(path)
			if !ok {
				dir = ""
			}
			h.Own = dir
			if best < 0 || h.better(&all[best]) {
				best = i
			}
		}
		if best >= 0 {
			l.Hierarchies = append(l.Hierarchies, all[best])
		}
	})
	l.index()
	return l
}

// index fills what finds a hierarchy by controller.
func (l *Layout) index() {
	for i := range l.Hierarchies {
		h := &l.Hierarchies[i]
		if h.Version == 2 {
			l.v2 = h
			continue
		}
		for c := range nControllers {
			if h.holds.has(c) {
				l.v1[c] = h
			}
		}
	}
}

// matches reports whether a line of /proc/self/cgroup is about this hierarchy.
func (h *Hierarchy) matches(controllers string) bool {
	if h.Version == 2 || controllers == "" {
		return h.Version == 2 && controllers == ""
	}
	n := 0
	for c := range strings.SplitSeq(controllers, ",") {
		if !slices.Contains(h.Controllers, c) {
			return false
		}
		n++
	}
	return n == len(h.Controllers)
}

// better prefers, of two mounts of one hierarchy, the one through which this
// process's own cgroup can be reached and written to.
func (h *Hierarchy) better(o *Hierarchy) bool {
	if (h.Own != "") != (o.Own != "") {
		return h.Own != ""
	}
	return !h.ReadOnly && o.ReadOnly
}

// String tells the kind of layout: "v1", "v2", "hybrid" or "none".
func (l *Layout) String() string {
	v1 := slices.ContainsFunc(l.Hierarchies, func(h Hierarchy) bool { return h.Version == 1 && h.holds != 0 })
	switch {
	case v1 && l.v2 != nil:
		return "hybrid"
	case v1:
		return "v1"
	case l.v2 != nil:
		return "v2"
	}
	return "none"
}
