package oci

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Kill sends a signal to the process of a container, or to all of its processes.
func Kill(g *Global, id string, sig unix.Signal, all bool) error {
	c, err := load(g, id)
	if err != nil {
		return err
	}
	if all {
		group := c.cgroup()
		defer group.Close()
		// Also where its own process is gone: without a pid namespace others may be there.
		return group.Signal(sig)
	}
	if c.Status() == Stopped {
		// Without a pid namespace of its own what its process has left goes on.
		if sig == unix.SIGKILL && len(c.Cgroup.Dirs) > 0 {
			group := c.cgroup()
			defer group.Close()
			if pids, err := group.Processes(true); err == nil && len(pids) > 0 {
				return group.Signal(sig)
			}
		}
		return errNotRunning
	}
	err = c.signal(sig)
	if err == nil && sig == unix.SIGKILL {
		// A frozen process of v1 takes it when it is thawed.
		group := c.cgroup()
		defer group.Close()
		if frozen, ferr := group.Frozen(); ferr == nil && frozen {
			_ = group.Thaw()
		}
	}
	return err
}

// signal signals the container's process, held by a pidfd, so that it is no later
// one with its pid.
func (c *Container) signal(sig unix.Signal) error {
	if c.Pid <= 0 {
		return errNotRunning
	}
	fd, err := unix.PidfdOpen(c.Pid, 0)
	if err == unix.ESRCH {
		return errNotRunning
	}
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(fd)
	if !c.alive() {
		return errNotRunning
	}
	err = unix.PidfdSendSignal(fd, sig, nil, 0)
	if err == unix.ESRCH {
		return errNotRunning
	}
	if err != nil {
		return fmt.Errorf("unable to signal the container's process: %w", err)
	}
	return nil
}

// waitGone waits until the process is gone, at most so many milliseconds.
func (c *Container) waitGone(milliseconds int) error {
	fd, err := unix.PidfdOpen(c.Pid, 0)
	if err == unix.ESRCH {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(fd)
	if !c.alive() {
		return nil
	}
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, milliseconds)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("poll", err)
		}
		if n == 0 {
			return errors.New("container init still running")
		}
		return nil
	}
}
