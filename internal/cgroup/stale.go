package cgroup

import (
	"errors"
	"path"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// foreignAge is how old an empty group of another pid namespace has to be: its
// owner can't be looked up, and a living one's group is empty only for moments.
const foreignAge = time.Hour

// maxSweep bounds the work of a sweep that nobody asked for.
const maxSweep = 64

// RemoveStale removes the groups that killed supervisors left where Create
// would make new ones, and returns how many directories that were. A group is
// stale when the process that its name tells is gone and it holds no process.
func RemoveStale(l *Layout) (n int, err error) {
	var errs []error
	for i := range l.Hierarchies {
		h := &l.Hierarchies[i]
		if h.Own == "" || h.ReadOnly || h.Version == 1 && h.holds == 0 {
			continue
		}
		for dir := h.Own; ; dir = path.Dir(dir) {
			fd, err := l.openDir(h, dir)
			if err != nil {
				errs = append(errs, err)
				break
			}
			n += sweep(fd, -1)
			unix.Close(fd)
			// On cgroup2 groups are made in the own cgroup or above.
			if h.Version == 1 || dir == h.Mount || !within(dir, h.Mount) {
				break
			}
		}
	}
	return n, errors.Join(errs...)
}

// swept is whether this program has swept a hierarchy, by the device number of
// its file system. A program that starts thousands of sandboxes looks once.
var swept sync.Map

func sweepOnce(fd int) {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return
	}
	if _, done := swept.LoadOrStore(st.Ino^st.Dev<<32, true); !done {
		sweep(fd, maxSweep)
	}
}

// glanced is the same for the look of a program that may have no end of its own.
var glanced sync.Map

// glance removes the groups of dead processes that are beside a new one. A program
// that becomes its sandbox never removes a group itself, so Create looks; but
// only where there is anything beside it, which a directory's number of links
// tells, and not for pids that were used again: that is left to a Remove.
func glance(parent int) {
	var st unix.Stat_t
	const alone = 3 // links: ".", its name, and ".." of the group just made
	if unix.Fstat(parent, &st) != nil || st.Nlink <= alone {
		return
	}
	if _, done := glanced.LoadOrStore(st.Ino^st.Dev<<32, true); done {
		return
	}
	names, err := subdirs(parent)
	if err != nil {
		return
	}
	n := 0
	for _, name := range names {
		o, ok := parseName(name)
		if ok && n < maxSweep && (o.ns == 0 || o.ns == self().ns) && unix.Kill(o.pid, 0) == unix.ESRCH && empty(parent, name) && removeTree(parent, name, time.Time{}) == nil {
			n++
		}
	}
}

// sweep removes the stale groups in a directory, at most limit of them.
func sweep(fd, limit int) (n int) {
	names, err := subdirs(fd)
	if err != nil {
		return 0
	}
	for _, name := range names {
		if n == limit {
			break
		}
		o, ok := parseName(name)
		if !ok || !o.gone(fd, name) {
			continue
		}
		if empty(fd, name) && removeTree(fd, name, time.Time{}) == nil {
			n++
		}
	}
	return n
}

// empty reports that no process is in a group nor below it. A process that
// enters after this look is no danger: rmdir is refused then.
func empty(parent int, name string) bool {
	fd, err := openBelow(parent, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	if procs, err := readBelow(fd, "cgroup.procs"); err != nil || procs != "" {
		return false
	}
	names, err := subdirs(fd)
	if err != nil {
		return false
	}
	for _, n := range names {
		if !empty(fd, n) {
			return false
		}
	}
	return true
}

// gone reports whether the process that made a group is no more.
func (o owner) gone(dir int, name string) bool {
	me := self()
	if o.ns != 0 && o.ns != me.ns {
		var st unix.Stat_t
		err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
		return err == nil && time.Since(time.Unix(st.Mtim.Unix())) > foreignAge
	}
	if o.pid == me.pid && (o.start == 0 || o.start == me.start) {
		return false
	}
	if unix.Kill(o.pid, 0) == unix.ESRCH {
		return true
	}
	if o.start == 0 {
		return false
	}
	start, ok := startTime(strconv.Itoa(o.pid))
	return ok && start != o.start
}
