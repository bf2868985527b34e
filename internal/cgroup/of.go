package cgroup

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// Of opens the cgroups of a process, one in each hierarchy in which it is in another than
// the caller. One that is not below what is mounted here is an error, as it could not be
// entered; so is one that this user may not open.
func Of(pid int) ([]*Dir, error) {
	mounts, err := readFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	own, err := readFile("/proc/self/cgroup")
	if err == unix.ENOENT {
		return nil, nil // a kernel without cgroups
	}
	if err != nil {
		return nil, err
	}
	name := "/proc/" + strconv.Itoa(pid) + "/cgroup"
	its, err := readFile(name)
	if err != nil {
		return nil, err
	}
	mine := map[string]bool{}
	parseMembership(own, func(controllers, path string) { mine[controllers+":"+path] = true })
	l := newLayout(mounts, its)
	var dirs []*Dir
	parseMembership(its, func(controllers, path string) {
		if err != nil || mine[controllers+":"+path] {
			return
		}
		var h *Hierarchy
		for i := range l.Hierarchies {
			if l.Hierarchies[i].matches(controllers) {
				h = &l.Hierarchies[i]
			}
		}
		if h == nil || h.Own == "" {
			err = &Unavailable{Controller: controllers, Cause: "the cgroup " + path + " of process " + strconv.Itoa(pid) + " is not below what is mounted here", Remedy: "mount its hierarchy below /sys/fs/cgroup"}
			return
		}
		var d *Dir
		if d, err = OpenDir(h.Own, h.Version == 2); err == nil {
			dirs = append(dirs, d)
		}
	})
	if err != nil {
		for _, d := range dirs {
			d.Close()
		}
		return nil, err
	}
	return dirs, nil
}
