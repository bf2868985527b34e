package cgroup

import (
	"errors"
	"path"
)

// Freeze stops every process of the group, and returns when they stand still.
// It needs Options.Freezer or a part in cgroup2 (Linux 5.2).
func (g *Group) Freeze() error { return g.freeze(true) }

// Thaw lets a frozen group run on.
func (g *Group) Thaw() error { return g.freeze(false) }

var errNoFreezer = errors.New("the group has no freezer; make it with Options.Freezer")

func (g *Group) freeze(on bool) error {
	d := g.dir(Freezer)
	for i := range g.dirs {
		if d == nil && g.dirs[i].h.Version == 2 && g.dirs[i].fd >= 0 {
			d = &g.dirs[i]
		}
	}
	if d == nil {
		return errNoFreezer
	}
	dir := Dir{Path: path.Join(d.dir, g.Name), V2: d.h.Version == 2, fd: d.fd}
	return dir.Freeze(on)
}
