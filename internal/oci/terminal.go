package oci

import (
	"io"
	"os"
	"os/signal"

	"github.com/containerd/console"
	"golang.org/x/sys/unix"
)

// terminal connects the container's terminal with the one that this process was
// started on, where it was on one.
type terminal struct {
	master *os.File
	own    console.Console // nil: standard input is no terminal
	done   chan struct{}
}

// take begins to pass what is typed and shown.
func (t *terminal) take(master *os.File) error {
	t.master, t.done = master, make(chan struct{})
	// Non-blocking, so that a read of it ends when the file is closed.
	if err := unix.SetNonblock(int(master.Fd()), true); err != nil {
		return err
	}
	t.master = os.NewFile(uintptr(dupFD(int(master.Fd()))), "terminal")
	master.Close()
	if c, err := console.ConsoleFromFile(os.Stdin); err == nil {
		t.own = c
		t.resize()
		if err := c.SetRaw(); err != nil {
			return err
		}
	}
	// Whoever read what is shown may be gone: that ends the showing, and not this program.
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
	go func() {
		defer close(t.done)
		_, _ = io.Copy(os.Stdout, t.master)
	}()
	go func() { _, _ = io.Copy(t.master, os.Stdin) }()
	return nil
}

func dupFD(fd int) int {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fd
	}
	return n
}

// resize gives the container's terminal the size of the caller's.
func (t *terminal) resize() {
	if t.master == nil || t.own == nil {
		return
	}
	if w, err := unix.IoctlGetWinsize(int(os.Stdin.Fd()), unix.TIOCGWINSZ); err == nil {
		_ = unix.IoctlSetWinsize(int(t.master.Fd()), unix.TIOCSWINSZ, w)
	}
}

// followSize gives the container's terminal the size of the caller's whenever that changes.
func (t *terminal) followSize() {
	changes := make(chan os.Signal, 1)
	signal.Notify(changes, unix.SIGWINCH)
	go func() {
		for range changes {
			t.resize()
		}
	}()
}

// restore shows what is still to be shown, and gives the caller his terminal back.
func (t *terminal) restore() {
	if t.master != nil {
		<-t.done // its other end is closed
		t.master.Close()
	}
	if t.own != nil {
		_ = t.own.Reset()
	}
}
