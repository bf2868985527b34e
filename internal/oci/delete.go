package oci

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/oci/cgroups"
)

// patience is how long delete waits for what it has killed.
const patience = 10 * time.Second

// Delete takes away what is left of a container. With force one that runs is killed,
// and one that is being made is stopped in the middle.
func Delete(g *Global, id string, force bool) error {
	if err := checkID(id); err != nil {
		return err
	}
	c := &Container{root: g.Root, ID: id, lock: -1}
	fd, err := c.takeOver(force)
	if err != nil {
		if force && errors.Is(err, errNotExist) {
			return nil
		}
		return err
	}
	loaded, err := load(g, id)
	if errors.Is(err, errNotExist) {
		// Whoever made the directory came no further.
		defer unix.Close(fd)
		return os.RemoveAll(c.dir())
	}
	if err != nil {
		if !force {
			unix.Close(fd)
			return err
		}
		// What is kept is damaged: there is nothing else to be found by it.
		defer unix.Close(fd)
		return errors.Join(fmt.Errorf("%w: its directory is removed, a process or cgroup of it may be left", err), os.RemoveAll(c.dir()))
	}
	c = loaded
	c.lock = fd
	defer c.unlock()
	if c.Made {
		switch status := c.Status(); {
		case status == Stopped:
		case status == Created || force:
			// One that only waits for start is no loss: as runc has it.
		default:
			return fmt.Errorf("cannot delete container %s that is not stopped: %s", id, status)
		}
	}
	group, err := c.halfMade()
	if err != nil && c.Made {
		return err
	}
	if group != nil {
		defer group.Close()
	}
	return c.destroy(group)
}

// takeOver waits for the lock. One who makes the container and does not let go is
// made to by the end of what he makes.
func (c *Container) takeOver(force bool) (int, error) {
	if !force {
		return lockDir(c.dir(), unix.LOCK_EX)
	}
	deadline := time.Now().Add(patience)
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		fd, err := lockDir(c.dir(), unix.LOCK_EX|unix.LOCK_NB)
		if err != unix.EWOULDBLOCK {
			return fd, err
		}
		if time.Now().After(deadline) {
			return -1, fmt.Errorf("the container %s is being worked on by another command, which does not end", c.ID)
		}
		if now, err := load(&Global{Root: c.root}, c.ID); err == nil && !now.Made {
			if group, err := now.halfMade(); err == nil {
				_ = group.Signal(unix.SIGKILL)
				group.Close()
			}
		}
		time.Sleep(wait)
	}
}

// halfMade is the cgroup of a container that nobody has finished: what it was
// going to be, from the configuration.
func (c *Container) halfMade() (*cgroups.Group, error) {
	if len(c.Cgroup.Dirs) > 0 || c.Cgroup.Unit != "" {
		return c.cgroup(), nil
	}
	cfg, err := c.spec()
	if err != nil {
		return nil, err
	}
	if cfg.Linux == nil {
		cfg.Linux = &linuxConfig{}
	}
	cg := c.cgroupConfig(cfg)
	cg.Resources, cg.OwnerUID = nil, nil
	return cgroups.Find(cg)
}

// destroy kills and removes all of a container. group may be nil.
func (c *Container) destroy(group *cgroups.Group) error {
	var errs []error
	err := c.signal(unix.SIGKILL)
	gone := group != nil && errors.Is(err, errNotRunning) && group.DestroyEmpty()
	if err != nil && !errors.Is(err, errNotRunning) {
		errs = append(errs, err)
	}
	if group != nil && !gone && len(group.State().Dirs) > 0 {
		if err := group.Signal(unix.SIGKILL); err != nil {
			errs = append(errs, err)
		}
	}
	if c.Pid > 0 {
		if err := c.waitGone(int(patience / time.Millisecond)); err != nil {
			return errors.Join(append(errs, err)...)
		}
	}
	if group != nil && !gone {
		if err := group.Destroy(); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...) // the directory stays, to be tried again
	}
	// The state first: without it the rest is a leftover.
	for _, name := range [...]string{stateFile, configFile} {
		if err := unix.Unlink(filepath.Join(c.dir(), name)); err != nil && err != unix.ENOENT {
			return &os.PathError{Op: "remove", Path: filepath.Join(c.dir(), name), Err: err}
		}
	}
	if c.Made {
		c.runPoststop()
	}
	if unix.Rmdir(c.dir()) == nil {
		return nil
	}
	return os.RemoveAll(c.dir())
}
