package oci

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/oci/cgroups"
)

// What engines read when they parse an error.
var (
	errNotExist   = errors.New("container does not exist")
	errExists     = errors.New("container with given ID already exists")
	errNotRunning = errors.New("container not running")
	errInvalidID  = errors.New("invalid container ID format")
)

const (
	stateFile   = "state.json"
	configFile  = "config.json"
	startFIFO   = "start"
	reportFIFO  = "report"
	hooksSocket = "hooks"
	maxID       = 1024
	maxState    = 4 << 20
)

// checkID lets nothing pass that could name another directory.
func checkID(id string) error {
	if id == "" || id == "." || id == ".." || len(id) > maxID {
		return errInvalidID
	}
	for _, c := range []byte(id) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '+', c == '-', c == '.':
		default:
			return errInvalidID
		}
	}
	return nil
}

func (c *Container) dir() string { return filepath.Join(c.root, c.ID) }

// lockDir opens a container's directory and waits for its lock.
func lockDir(dir string, how int) (fd int, err error) {
	for {
		fd, err = unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			if err == unix.ENOENT {
				return -1, errNotExist
			}
			return -1, &os.PathError{Op: "open", Path: dir, Err: err}
		}
		for err = unix.Flock(fd, how); err == unix.EINTR; {
			err = unix.Flock(fd, how)
		}
		if err != nil {
			unix.Close(fd)
			return -1, err
		}
		// Whoever had the lock may have removed the directory, and made it again.
		var own, now unix.Stat_t
		if err := unix.Fstat(fd, &own); err != nil {
			unix.Close(fd)
			return -1, err
		}
		err = unix.Lstat(dir, &now)
		if err == nil && own.Ino == now.Ino && own.Dev == now.Dev {
			return fd, nil
		}
		unix.Close(fd)
		if err != nil {
			return -1, errNotExist
		}
	}
}

func (c *Container) unlock() {
	if c.lock >= 0 {
		unix.Close(c.lock)
	}
	c.lock = -1
}

// load reads what is kept about a container.
func load(g *Global, id string) (*Container, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	c := &Container{root: g.Root, ID: id, lock: -1}
	text, err := readRegular(filepath.Join(c.dir(), stateFile), maxState)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, errNotExist
	}
	if err != nil {
		return nil, err
	}
	if err := decode(text, c); err != nil {
		return nil, fmt.Errorf("%s: %w; it was not written by this program, or was damaged", filepath.Join(c.dir(), stateFile), err)
	}
	if c.ID != id {
		return nil, fmt.Errorf("%s: it is about the container %q", filepath.Join(g.Root, id, stateFile), c.ID)
	}
	return c, nil
}

// loadLocked is load by somebody who is going to change it.
func loadLocked(g *Global, id string) (*Container, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	fd, err := lockDir(filepath.Join(g.Root, id), unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	c, err := load(g, id)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	c.lock = fd
	return c, nil
}

// save writes state.json so that a reader finds the old or the new one.
func (c *Container) save() error {
	text, err := encode(*c)
	if err != nil {
		return err
	}
	return writeFile(c.dir(), stateFile, text)
}

// writeFile replaces a file as a whole.
func writeFile(dir, name string, text []byte) error {
	tmp := filepath.Join(dir, "."+name)
	if err := writeNew(tmp, text); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, name))
}

// list is all containers, by id. A directory in which nothing is kept is none.
func list(g *Global) ([]*Container, error) {
	entries, err := os.ReadDir(g.Root)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []*Container
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		c, err := load(g, e.Name())
		switch {
		case errors.Is(err, errNotExist) || errors.Is(err, errInvalidID):
		case err != nil: // one that is damaged hides no others
			warnf("load container %s: %v", e.Name(), err)
		default:
			all = append(all, c)
		}
	}
	return all, nil
}

func (c *Container) cgroup() *cgroups.Group { return cgroups.Load(c.Cgroup) }

// spec is the config.json as it was when the container was made.
func (c *Container) spec() (*config, error) {
	name := filepath.Join(c.dir(), configFile)
	text, err := readRegular(name, maxConfig)
	if err != nil {
		return nil, err
	}
	return parseConfig(name, text)
}

// processStat is the state and the start time of a process; ok is false when there is none.
func processStat(pid int) (state byte, start uint64, ok bool) {
	text, err := readFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0, false
	}
	// The name in parentheses can hold anything, spaces and parentheses too.
	_, rest, found := strings.Cut(text[strings.LastIndexByte(text, ')')+1:], " ")
	fields := strings.Fields(rest)
	if !found || len(fields) < 20 {
		return 0, 0, false
	}
	start, err = strconv.ParseUint(fields[19], 10, 64)
	return fields[0][0], start, err == nil
}

// alive reports whether the container's process is there, and no other by its pid.
func (c *Container) alive() bool {
	if c.Pid <= 0 {
		return false
	}
	state, start, ok := processStat(c.Pid)
	return ok && start == c.StartTime && state != 'Z' && state != 'X'
}

// Status looks how the container is.
func (c *Container) Status() Status {
	switch {
	case !c.Made && (c.Pid == 0 || c.alive()) && c.beingMade():
		return Creating
	case !c.alive():
		return Stopped
	}
	g := c.cgroup()
	defer g.Close()
	if frozen, err := g.Frozen(); err == nil && frozen {
		return Paused
	}
	if c.Started {
		return Running
	}
	return Created
}

// beingMade reports whether somebody holds the lock of a container that is not made.
func (c *Container) beingMade() bool {
	if c.lock >= 0 {
		return false
	}
	fd, err := lockDir(c.dir(), unix.LOCK_SH|unix.LOCK_NB)
	if err == nil {
		unix.Close(fd)
	}
	return err == unix.EWOULDBLOCK
}

// state is what hooks read.
func (c *Container) state(s Status, pid int) specs.State {
	if s == Paused {
		s = Running // the specification knows no other
	}
	return specs.State{Version: c.OCIVersion, ID: c.ID, Status: specs.ContainerState(s), Pid: pid, Bundle: c.Bundle, Annotations: c.Annotations}
}

// StateOf is what `state` prints.
func StateOf(g *Global, id string) (*State, error) {
	c, err := load(g, id)
	if err != nil {
		return nil, err
	}
	return c.report(), nil
}

func (c *Container) report() *State {
	status := c.Status()
	s := &State{State: c.state(status, c.Pid), Rootfs: c.Rootfs, Created: c.Created, Owner: "#" + strconv.Itoa(c.OwnerUID)}
	s.Status = specs.ContainerState(status)
	if status == Stopped {
		s.Pid = 0
	}
	if u, err := user.LookupId(strconv.Itoa(c.OwnerUID)); err == nil {
		s.Owner = u.Username
	}
	return s
}
