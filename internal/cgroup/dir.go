package cgroup

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Dir is one open directory of one hierarchy, for those who say themselves where
// it lies and what its files hold: an OCI container's config.json does.
type Dir struct {
	Path string
	V2   bool
	fd   int
}

// OpenDir opens a directory and makes sure that it is one of a cgroup file
// system: somebody may have mounted over it. A directory that is not there is
// [unix.ENOENT].
func OpenDir(dir string, v2 bool) (*Dir, error) {
	h := &Hierarchy{Version: 1}
	if v2 {
		h.Version = 2
	}
	fd, err := new(Layout).openDir(h, dir)
	if err != nil {
		return nil, err
	}
	return &Dir{Path: dir, V2: v2, fd: fd}, nil
}

// Make makes the directory name in d, or takes the one that is there, and opens it.
func (d *Dir) Make(name string) (child *Dir, made bool, err error) {
	child = &Dir{Path: path.Join(d.Path, name), V2: d.V2, fd: -1}
	err = mkdir(d.fd, name, child.Path)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, false, err
	}
	made = err == nil
	if child.fd, err = openBelow(d.fd, name, unix.O_RDONLY|unix.O_DIRECTORY); err != nil {
		return nil, made, fileError("open", child.Path, err)
	}
	return child, made, nil
}

// FD is the directory itself, for clone3(2) with CLONE_INTO_CGROUP.
func (d *Dir) FD() int { return d.fd }

// Write writes a whole value to a file of the group. The error is an errno.
func (d *Dir) Write(file, value string) error { return writeBelow(d.fd, file, value) }

// WriteEach writes one value after the other to a file of the group, and returns how many
// were taken. The error is an errno.
func (d *Dir) WriteEach(file string, values []string) (taken int, err error) {
	return writeEachBelow(d.fd, file, values...)
}

// Read reads a file of the group. The error is an errno.
func (d *Dir) Read(file string) (string, error) { return readBelow(d.fd, file) }

// Has reports whether the group has a file.
func (d *Dir) Has(file string) bool {
	return unix.Faccessat(d.fd, file, unix.F_OK, 0) == nil
}

// Chown gives a file of the group, or with "" the directory, to a user.
func (d *Dir) Chown(file string, uid int) error {
	if file == "" {
		return unix.Fchown(d.fd, uid, -1)
	}
	return unix.Fchownat(d.fd, file, uid, -1, unix.AT_SYMLINK_NOFOLLOW)
}

// Entry opens what a process enters the group by, where that is not FD: `tasks`
// on v1, which unlike cgroup.procs waits for no grace period.
func (d *Dir) Entry() (Entry, error) {
	file := "tasks"
	if d.V2 {
		file = "cgroup.procs"
	}
	e := Entry{Path: path.Join(d.Path, file), V2: d.V2}
	var err error
	if e.FD, err = openBelow(d.fd, file, unix.O_WRONLY); err != nil {
		return e, fileError("open", e.Path, err)
	}
	return e, nil
}

// CloneInto reports whether this kernel's clone3(2) takes CLONE_INTO_CGROUP.
func CloneInto() bool { return cloneIntoCgroup() }

// Close closes the directory.
func (d *Dir) Close() {
	if d.fd >= 0 {
		unix.Close(d.fd)
	}
	d.fd = -1
}

// Processes are the pids in the group; deep: and in the groups below it.
func (d *Dir) Processes(deep bool) ([]int, error) {
	pids, err := processes(d.fd, deep)
	if err != nil {
		return nil, fileError("read", path.Join(d.Path, "cgroup.procs"), err)
	}
	slices.Sort(pids)
	return slices.Compact(pids), nil
}

func processes(fd int, deep bool) ([]int, error) {
	list, err := readBelow(fd, "cgroup.procs")
	if err == unix.EOPNOTSUPP { // a threaded cgroup2 lists its threads alone
		list, err = readBelow(fd, "cgroup.threads")
	}
	if err != nil {
		return nil, err
	}
	var pids []int
	for s := range strings.FieldsSeq(list) {
		if pid, err := strconv.Atoi(s); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	if !deep {
		return pids, nil
	}
	names, err := subdirs(fd)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		child, err := openBelow(fd, name, unix.O_RDONLY|unix.O_DIRECTORY)
		if err == unix.ENOENT {
			continue
		}
		if err != nil {
			return nil, err
		}
		more, err := processes(child, true)
		unix.Close(child)
		if err != nil && err != unix.ENODEV && err != unix.ENOENT {
			return nil, err
		}
		pids = append(pids, more...)
	}
	return pids, nil
}

// Signal sends a signal to every process of the group and of those below it.
// A frozen group of v1 handles it when it is thawed.
func (d *Dir) Signal(sig unix.Signal) error {
	if sig == unix.SIGKILL && d.V2 && writeBelow(d.fd, "cgroup.kill", "1") == nil {
		return nil
	}
	if _, err := signalTree(d.fd, sig); err != nil {
		return fileError("signal", d.Path, err)
	}
	return nil
}

// Freeze stops the group's processes, or lets them run on, and returns when they
// do. d is the one of v1's freezer, or of cgroup2 (Linux 5.2).
func (d *Dir) Freeze(on bool) error {
	file, value, state, want := "freezer.state", "THAWED", "freezer.state", "THAWED\n"
	switch {
	case d.V2 && on:
		file, value, state, want = "cgroup.freeze", "1", "cgroup.events", "frozen 1\n"
	case d.V2:
		file, value, state, want = "cgroup.freeze", "0", "cgroup.events", "frozen 0\n"
	case on:
		value, want = "FROZEN", "FROZEN\n"
	}
	if err := writeBelow(d.fd, file, value); err != nil {
		return fileError("write", path.Join(d.Path, file), err)
	}
	deadline := time.Now().Add(patience)
	for wait := firstWait; ; wait = min(2*wait, longWait) {
		s, err := readBelow(d.fd, state)
		if err != nil {
			return fileError("read", path.Join(d.Path, state), err)
		}
		if strings.Contains(s, want) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not %q within %v", path.Join(d.Path, state), strings.TrimSpace(want), patience)
		}
		time.Sleep(wait)
		if !d.V2 && on {
			// v1 leaves tasks out that were forked meanwhile, until it is asked again.
			if err := writeBelow(d.fd, file, value); err != nil {
				return fileError("write", path.Join(d.Path, file), err)
			}
		}
	}
}

// Frozen reports whether the group is frozen, or about to be.
func (d *Dir) Frozen() (bool, error) {
	file, thawed := "freezer.state", "THAWED"
	if d.V2 {
		file, thawed = "cgroup.freeze", "0"
	}
	s, err := readBelow(d.fd, file)
	if err != nil {
		return false, fileError("read", path.Join(d.Path, file), err)
	}
	return strings.TrimSpace(s) != thawed, nil
}

// RemoveTree removes a group by its directory, and those below it. One that is
// gone is no error; one whose processes are still about to leave is waited for.
func RemoveTree(dir string) error {
	if err := unix.Rmdir(dir); err == nil || err == unix.ENOENT {
		return nil
	}
	parent, err := retry(func() (int, error) {
		return unix.Open(path.Dir(dir), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	})
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return fileError("open", path.Dir(dir), err)
	}
	defer unix.Close(parent)
	if err := removeTree(parent, path.Base(dir), time.Now().Add(patience)); err != nil {
		return fmt.Errorf("remove cgroup %s: %w: %s", dir, err, whyBusy(err))
	}
	return nil
}
