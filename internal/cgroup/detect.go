package cgroup

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// detected is the layout that was found last, with what tells whether it still holds: a
// program that starts one sandbox after another would read the same two files and take
// them apart each time.
var detected struct {
	sync.Mutex
	layout *Layout // nil: nothing was found yet, or it can't be told whether it holds
	mounts int     // /proc/self/mountinfo, of which poll(2) tells when it has changed, proc_pid_mounts(5)
	ns     string  // the mount namespace that it was opened in
	own    int     // /proc/self/cgroup
	text   string  // what that said
}

// Detect finds out how cgroups are mounted and where this process is in them, from
// /proc/self/mountinfo and /proc/self/cgroup. Without cgroups the layout is empty, which
// is no error.
func Detect() (*Layout, error) {
	d := &detected
	d.Lock()
	defer d.Unlock()
	if d.layout != nil {
		if stillHolds() {
			l := *d.layout
			return &l, nil
		}
		unix.Close(d.mounts)
		unix.Close(d.own)
		d.layout = nil
	}
	ns := mountNamespace()
	mounts, text, err := openAndRead("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("cgroups: %w; mount /proc", err)
	}
	own, membership, err := openAndRead("/proc/self/cgroup")
	l := newLayout(text, membership) // a kernel without any cgroup has no such file
	if err != nil || ns == "" {
		unix.Close(mounts)
		if err == nil {
			unix.Close(own)
		}
		return l, nil
	}
	d.layout, d.mounts, d.ns, d.own, d.text = l, mounts, ns, own, membership
	again := *l
	return &again, nil
}

// stillHolds reports whether the two files would say the same again.
func stillHolds() bool {
	d := &detected
	if d.ns != mountNamespace() {
		return false
	}
	changed := []unix.PollFd{{Fd: int32(d.mounts), Events: unix.POLLPRI}}
	if n, err := unix.Poll(changed, 0); n != 0 || err != nil {
		return false
	}
	var buf [4096]byte
	n, err := unix.Pread(d.own, buf[:], 0)
	return err == nil && n < len(buf) && string(buf[:n]) == d.text
}

// mountNamespace names this process's mount namespace; "": unknown.
func mountNamespace() string {
	var buf [64]byte
	n, err := unix.Readlink("/proc/self/ns/mnt", buf[:])
	if err != nil {
		return ""
	}
	return string(buf[:n])
}
