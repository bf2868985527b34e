package cgroups

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
)

// groupPath is the directory of a group in a hierarchy. An absolute
// linux.cgroupsPath counts from what is mounted; another one, and the id of a
// container without, from the own group of this process. There is no way out by "..".
func groupPath(h *cgroup.Hierarchy, asked, id string) string {
	if path.IsAbs(asked) {
		return path.Join(h.Mount, path.Clean(asked))
	}
	if asked == "" {
		asked = id
	}
	own := h.Own
	switch {
	case own == "":
		own = h.Mount
	case h.Version == 2 && own != h.Mount:
		// This process is in its own group, which can pass no controller on then.
		own = path.Dir(own)
	}
	return path.Join(own, path.Clean("/"+asked))
}

// makeGroup makes a directory and those above it, and makes them usable.
func makeGroup(h *cgroup.Hierarchy, dir string) (d *cgroup.Dir, existed bool, err error) {
	v2 := h.Version == 2
	rest, ok := strings.CutPrefix(dir, h.Mount)
	if rest = strings.Trim(rest, "/"); !ok || rest == "" {
		return nil, false, fmt.Errorf("linux.cgroupsPath: %s is the root of the hierarchy, which holds all processes of the machine; name a group below it", dir)
	}
	names := strings.Split(rest, "/")
	cpuset := false
	for _, c := range h.Controllers {
		cpuset = cpuset || c == "cpuset"
	}
	d, err = cgroup.OpenDir(h.Mount, v2)
	if err != nil {
		return nil, false, err
	}
	for _, name := range names {
		if v2 {
			passOn(d)
		}
		child, made, err := d.Make(name)
		if err == nil && !v2 && cpuset {
			err = inherit(d, child, made)
			if err != nil && made {
				_ = unix.Rmdir(child.Path)
			}
		}
		d.Close()
		if err != nil {
			return nil, false, err
		}
		d, existed = child, !made
	}
	return d, existed, nil
}

// passOn has a group of cgroup2 pass on all it has. What can't be passed on is
// named by the limit that needs it, if any does.
func passOn(d *cgroup.Dir) {
	have, err := d.Read("cgroup.controllers")
	if err != nil {
		return
	}
	on, err := d.Read("cgroup.subtree_control")
	if err != nil {
		return
	}
	var missing []string
	for c := range strings.FieldsSeq(have) {
		if !hasWord(on, c) {
			missing = append(missing, "+"+c)
		}
	}
	if len(missing) == 0 || d.Write("cgroup.subtree_control", strings.Join(missing, " ")) == nil {
		return
	}
	for _, c := range missing {
		_ = d.Write("cgroup.subtree_control", c)
	}
}

func hasWord(list, word string) bool {
	for w := range strings.FieldsSeq(list) {
		if w == word {
			return true
		}
	}
	return false
}

// inherit gives a new cpuset of v1 what its parent has: one without processors
// or memory nodes can't be entered.
func inherit(parent, child *cgroup.Dir, made bool) error {
	for _, file := range [...]string{"cpuset.cpus", "cpuset.mems"} {
		if !made {
			have, err := child.Read(file)
			if err != nil {
				return fmt.Errorf("read %s/%s: %w", child.Path, file, err)
			}
			if strings.TrimSpace(have) != "" {
				continue
			}
		}
		have, err := parent.Read(file)
		if err == nil {
			err = child.Write(file, strings.TrimSpace(have))
		}
		if err != nil {
			return fmt.Errorf("copy %s from %s to %s: %w", file, parent.Path, child.Path, err)
		}
	}
	return nil
}

// delegate gives the group of cgroup2 to a user: the directory, and the files
// that the kernel says may be given away. v1 is not safe to give away.
func (g *Group) delegate(uid int) error {
	i := g.holder("")
	if i < 0 {
		return nil
	}
	d, err := g.open(i)
	if err != nil {
		return err
	}
	if err := d.Chown("", uid); err != nil {
		return fmt.Errorf("give cgroup %s to user %d: %w", d.Path, uid, err)
	}
	list, err := os.ReadFile("/sys/kernel/cgroup/delegate")
	if err != nil { // before Linux 4.15
		list = []byte("cgroup.procs cgroup.subtree_control cgroup.threads")
	}
	for file := range strings.FieldsSeq(string(list)) {
		if err := d.Chown(file, uid); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("give %s/%s to user %d: %w", d.Path, file, uid, err)
		}
	}
	return nil
}
