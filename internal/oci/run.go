package oci

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Run makes a container and starts it. In the foreground it stays until the
// container's process has ended, and returns how: its exit code, or 128 and the
// signal.
func Run(g *Global, id string, o *RunOptions) (status int, err error) {
	if !o.Detach && !o.NoSubreaper {
		// What the container leaves behind comes to this process, and not to an
		// init that may know nothing of it.
		_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	}
	m := &maker{g: g, o: &o.CreateOptions, detach: o.Detach}
	var term *terminal
	if !o.Detach && o.ConsoleSocket == "" {
		term = new(terminal)
		m.onMaster = term.take
	}
	if err := m.begin(id); err != nil {
		return -1, err
	}
	// Between create and start there is something to do for these alone.
	m.waits = len(m.container.StartContainer) > 0
	if err := m.run(); err != nil {
		if term != nil {
			term.restore()
		}
		return -1, errors.Join(err, m.undo())
	}
	c := m.container
	pid := c.Pid
	begun := c.poststart
	if m.waits {
		begun = c.start
	}
	if err := begun(); err != nil {
		_ = c.end()
		reap(pid)
		if term != nil {
			term.restore()
		}
		return -1, errors.Join(err, m.undo())
	}
	if o.Detach {
		m.release()
		return 0, nil
	}
	m.letDevices()
	c.unlock()
	status = forward(pid, term)
	if term != nil {
		term.restore()
	}
	if o.Keep {
		m.group.Close()
		return status, nil
	}
	return status, m.remove()
}

// remove takes a container away whose process has been waited for.
func (m *maker) remove() error {
	c := m.container
	defer m.group.Close()
	fd, err := lockDir(c.dir(), unix.LOCK_EX)
	if errors.Is(err, errNotExist) {
		return nil // somebody has deleted it meanwhile
	}
	if err != nil {
		return err
	}
	c.lock = fd
	defer c.unlock()
	c.Pid = 0
	return c.destroy(m.group)
}

func reap(pid int) unix.WaitStatus {
	var ws unix.WaitStatus
	for {
		if _, err := unix.Wait4(pid, &ws, 0, nil); err != unix.EINTR {
			return ws
		}
	}
}

func exitStatus(ws unix.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// forward passes signals on to a process until it ends, and reaps what comes to
// this process meanwhile.
func forward(pid int, term *terminal) int {
	relayTo(pid)
	if term != nil && term.master != nil {
		term.followSize()
	}
	for {
		var ws unix.WaitStatus
		switch n, err := unix.Wait4(-1, &ws, 0, nil); {
		case n == pid:
			return exitStatus(ws)
		case err != nil && err != unix.EINTR:
			return -1 // somebody else has waited for it
		}
	}
}
