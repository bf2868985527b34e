package oci

import (
	"errors"
	"os"
	"os/signal"
	"syscall"

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
	signals := make(chan os.Signal, 64)
	if !o.Detach {
		signal.Notify(signals)
	}
	if err := m.begin(id); err != nil {
		return -1, err
	}
	if err := m.run(); err != nil {
		if term != nil {
			term.restore()
		}
		return -1, errors.Join(err, m.undo())
	}
	c := m.container
	pid := c.Pid
	if err := c.poststart(); err != nil {
		reap(pid)
		return -1, errors.Join(err, m.undo())
	}
	m.release()
	if o.Detach {
		return 0, nil
	}
	status = forward(pid, signals, term)
	if term != nil {
		term.restore()
	}
	if o.Keep {
		return status, nil
	}
	return status, Delete(g, id, true)
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
func forward(pid int, signals chan os.Signal, term *terminal) int {
	for {
		// Before a wait, so that none is missed: SIGCHLD is among the signals.
		for {
			var ws unix.WaitStatus
			n, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
			if err == unix.EINTR {
				continue
			}
			if err != nil || n <= 0 {
				break
			}
			if n == pid {
				return exitStatus(ws)
			}
		}
		s, ok := (<-signals).(syscall.Signal)
		switch {
		case !ok || s == unix.SIGCHLD || s == unix.SIGURG: // of the Go runtime's own
		case s == unix.SIGWINCH:
			if term != nil {
				term.resize()
			}
		default:
			_ = unix.Kill(pid, s)
		}
	}
}
