package oci

import "errors"

var errNotPaused = errors.New("container not paused")

func runPause(i *invocation) (int, error) {
	c, err := loadLocked(&i.g, i.args[0])
	if err != nil {
		return exitError, err
	}
	defer c.unlock()
	switch c.Status() {
	case Running, Created:
		g := c.cgroup()
		defer g.Close()
		return 0, g.Freeze()
	case Paused:
		return exitError, errors.New("container paused")
	}
	return exitError, errNotRunning
}

func runResume(i *invocation) (int, error) {
	c, err := loadLocked(&i.g, i.args[0])
	if err != nil {
		return exitError, err
	}
	defer c.unlock()
	if c.Status() != Paused {
		return exitError, errNotPaused
	}
	g := c.cgroup()
	defer g.Close()
	return 0, g.Thaw()
}
