package cgroup

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"
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
	file, value, state, want := "freezer.state", "THAWED", "freezer.state", "THAWED\n"
	if on {
		value, want = "FROZEN", "FROZEN\n"
	}
	if d.h.Version == 2 {
		file, value, state, want = "cgroup.freeze", "0", "cgroup.events", "frozen 0\n"
		if on {
			value, want = "1", "frozen 1\n"
		}
	}
	if err := writeBelow(d.fd, file, value); err != nil {
		return fileError("write", path.Join(d.dir, g.Name, file), err)
	}
	deadline := time.Now().Add(patience)
	for wait := firstWait; ; wait = min(2*wait, longWait) {
		s, err := readBelow(d.fd, state)
		if err != nil {
			return fileError("read", path.Join(d.dir, g.Name, state), err)
		}
		if strings.Contains(s, want) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not %q within %v", path.Join(d.dir, g.Name, state), strings.TrimSpace(want), patience)
		}
		time.Sleep(wait)
	}
}
