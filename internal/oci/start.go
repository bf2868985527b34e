package oci

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

// Start lets the process of a container that waits execute.
func Start(g *Global, id string) error {
	c, err := loadLocked(g, id)
	if err != nil {
		return err
	}
	defer c.unlock()
	switch status := c.Status(); status {
	case Created:
	case Stopped:
		return errors.New("cannot start a container that has stopped")
	case Running, Paused:
		return errors.New("cannot start an already running container")
	default:
		return fmt.Errorf("cannot start a container in the %s state", status)
	}
	return c.start()
}

// start is Start by the holder of the lock.
func (c *Container) start() error {
	// Each has one end open in the container's process: without it, it is gone.
	report, err := unix.Open(filepath.Join(c.dir(), reportFIFO), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: reportFIFO, Err: err}
	}
	defer unix.Close(report)
	start, err := unix.Open(filepath.Join(c.dir(), startFIFO), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err == unix.ENXIO {
		return errors.New("cannot start a container that has stopped")
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: startFIFO, Err: err}
	}
	defer unix.Close(start)
	if len(c.StartContainer) > 0 {
		if err := c.runStartContainer(start); err != nil {
			return errors.Join(err, c.end())
		}
	}
	c.Started = true
	if err := c.save(); err != nil {
		return err
	}
	if _, err := unix.Write(start, []byte{plan.StartNow}); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	if err := c.executed(report); err != nil {
		return err
	}
	for _, name := range [...]string{startFIFO, reportFIFO, hooksSocket} {
		_ = os.Remove(filepath.Join(c.dir(), name))
	}
	return c.poststart()
}

// makeFIFO makes one in the container's directory, fifo(7), open in a way that
// waits for nobody and never comes to its end.
func (c *Container) makeFIFO(name string) (int, error) {
	p := filepath.Join(c.dir(), name)
	if err := unix.Mkfifo(p, 0o600); err != nil {
		return -1, &os.PathError{Op: "mkfifo", Path: p, Err: err}
	}
	fd, err := unix.Open(p, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: p, Err: err}
	}
	return fd, nil
}

// executed waits until the process has executed its command, or could not.
func (c *Container) executed(report int) error {
	if err := unix.SetNonblock(report, false); err != nil {
		return err
	}
	ready := false
	var buf [plan.RecordSize]byte
	for {
		n, err := readFull(report, buf[:])
		if err == io.EOF {
			break
		}
		if err != nil || n < len(buf) {
			return fmt.Errorf("start: the container's process reported half a word: %v", err)
		}
		le := binary.LittleEndian
		switch plan.RecordKind(le.Uint32(buf[:])) {
		case plan.RecordReady:
			ready = true
		case plan.RecordFailed:
			return c.lateFailure(le.Uint32(buf[4:]), syscall.Errno(le.Uint32(buf[8:])))
		}
	}
	if !ready {
		return errors.New("the container's process was killed before it could execute its command")
	}
	return nil
}

func readFull(fd int, b []byte) (n int, err error) {
	for n < len(b) {
		m, err := unix.Read(fd, b[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return n, err
		}
		if m == 0 {
			return n, io.EOF
		}
		n += m
	}
	return n, nil
}

// lateFailure is what an operation between start and the exec failed of.
func (c *Container) lateFailure(op uint32, errno syscall.Errno) error {
	switch op {
	case c.ExecOp:
		return execError(c.Command, errno)
	case c.FilterOp:
		return refusal("linux.seccomp", "loading the filter: %w", errno)
	}
	return refusal("process.capabilities", "the capabilities of the process: %w", errno)
}

// poststart runs the hooks of that name. The container runs already: where one
// fails it is ended, as the specification has it since 1.2.
func (c *Container) poststart() error {
	if err := runHooks("poststart", c.Poststart, c.state(Running, c.Pid)); err != nil {
		return errors.Join(err, c.end())
	}
	return nil
}

// end kills all of a container.
func (c *Container) end() error {
	g := c.cgroup()
	defer g.Close()
	err := c.signal(unix.SIGKILL)
	if errors.Is(err, errNotRunning) {
		err = nil
	}
	if len(c.Cgroup.Dirs) > 0 {
		err = errors.Join(err, g.Signal(unix.SIGKILL))
	}
	return err
}
