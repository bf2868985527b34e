package cgroups

import (
	"encoding/binary"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
)

// WatchOOM tells each time that the kernel finds the group's memory exhausted (v1)
// or kills one of its processes for it (cgroup2). The channel is closed when the group is
// gone, or on cgroup2 when nothing runs in it any more.
func (g *Group) WatchOOM() (<-chan struct{}, error) {
	i := g.holder("memory")
	if i < 0 {
		return nil, fmt.Errorf("events of memory: %w", errNoCgroup)
	}
	d, err := g.open(i)
	if err != nil {
		return nil, err
	}
	out := make(chan struct{}, 16)
	if d.V2 {
		return out, g.watch2(d, out)
	}
	return out, watch1(d, out)
}

// watch1 has the kernel write to an eventfd, cgroups(7) and its
// Documentation/admin-guide/cgroup-v1/memory.rst, section 10.
func watch1(d *cgroup.Dir, out chan<- struct{}) error {
	control, err := unix.Openat(d.FD(), "memory.oom_control", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", path.Join(d.Path, "memory.oom_control"), err)
	}
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		unix.Close(control)
		return err
	}
	if err := d.Write("cgroup.event_control", fmt.Sprintf("%d %d", event, control)); err != nil {
		unix.Close(control)
		unix.Close(event)
		return fmt.Errorf("write %s: %w", path.Join(d.Path, "cgroup.event_control"), err)
	}
	go func() {
		defer unix.Close(control)
		defer unix.Close(event)
		defer close(out)
		var buf [8]byte
		for {
			_, err := unix.Read(event, buf[:])
			if err == unix.EINTR {
				continue
			}
			// The removal of a group is an event too.
			if err != nil || unix.Access(d.Path, unix.F_OK) != nil {
				return
			}
			out <- struct{}{}
		}
	}()
	return nil
}

func (g *Group) watch2(d *cgroup.Dir, out chan<- struct{}) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("inotify_init1: %w", err)
	}
	for _, file := range [...]string{"memory.events", "cgroup.events"} {
		if _, err := unix.InotifyAddWatch(fd, path.Join(d.Path, file), unix.IN_MODIFY); err != nil {
			unix.Close(fd)
			return fmt.Errorf("watch %s: %w", path.Join(d.Path, file), err)
		}
	}
	last := g.OOMKills()
	go func() {
		defer unix.Close(fd)
		defer close(out)
		buf := make([]byte, 4096)
		for {
			n, err := unix.Read(fd, buf)
			if err == unix.EINTR {
				continue
			}
			if err != nil || n < unix.SizeofInotifyEvent {
				return
			}
			if kills := g.OOMKills(); kills > last {
				last = kills
				out <- struct{}{}
			}
			events, err := d.Read("cgroup.events")
			if err != nil || strings.Contains(events, "populated 0") || ignored(buf[:n]) {
				return
			}
		}
	}()
	return nil
}

// ignored reports whether a watched file is gone.
func ignored(events []byte) bool {
	for len(events) >= unix.SizeofInotifyEvent {
		if binary.NativeEndian.Uint32(events[4:])&unix.IN_IGNORED != 0 {
			return true
		}
		events = events[min(len(events), unix.SizeofInotifyEvent+int(binary.NativeEndian.Uint32(events[12:]))):]
	}
	return false
}
