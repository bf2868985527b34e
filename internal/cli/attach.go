package cli

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"

	"github.com/containerd/console"
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/named"
)

// Attach is `cloche attach`.
type Attach struct {
	Keys string // that leave the sandbox
}

// Run connects the caller's terminal to that of a sandbox in the background.
func (x *Attach) Run(args []string) error {
	if len(args) != 1 {
		return errors.New("attach: name one sandbox: cloche attach NAME")
	}
	keys, err := detachKeys(x.Keys)
	if err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	s, err := named.Find(args[0])
	if err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	if _, err := s.InitProcess(); err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	e, err := openRecord(s.Name)
	if err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	defer e.Close()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	err = unix.Connect(fd, &unix.SockaddrUnix{Name: "/proc/self/fd/" + strconv.Itoa(e.DirFD()) + "/" + attachSocket})
	if err == unix.ENOENT || err == unix.ECONNREFUSED {
		return fmt.Errorf("attach: %s has no terminal to attach to: that is what `cloche run --detach -t` makes; `cloche logs -f %s` follows its output, `cloche exec -it %s -- sh` runs a shell beside it", s.Name, s.Name, s.Name)
	}
	if err != nil {
		return fmt.Errorf("attach: %w", os.NewSyscallError("connect", err))
	}
	detached, err := connectTerminal(fd, keys)
	if err != nil || detached {
		return err
	}
	code, err := awaitEnd(s)
	if err == nil && code != 0 {
		err = &exitError{code: code}
	}
	return err
}

// connectTerminal passes keystrokes and output on until the sandbox ends, or the keys are typed.
func connectTerminal(fd int, keys []byte) (detached bool, err error) {
	size, raw, reset := func(uint16) {}, func() error { return nil }, func() {}
	if isTerminal(os.Stdin) {
		own, err := console.ConsoleFromFile(os.Stdin)
		if err != nil {
			return false, err
		}
		raw = func() error {
			if err := own.SetRaw(); err != nil {
				return err
			}
			if m, err := unix.IoctlGetTermios(0, unix.TCGETS); err == nil {
				m.Oflag &^= unix.OPOST // what is printed was processed inside
				_ = unix.IoctlSetTermios(0, unix.TCSETS, m)
			}
			return nil
		}
		reset = func() { _ = own.Reset() }
		size = func(more uint16) {
			if w, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ); err == nil {
				b := binary.LittleEndian.AppendUint16([]byte{sizeMessage}, w.Row)
				_ = unix.Send(fd, binary.LittleEndian.AppendUint16(b, w.Col+more), unix.MSG_NOSIGNAL)
			}
		}
	}
	// Whatever ends it or stops it, it has a terminal to put in order first.
	f := &forwarder{signals: make(chan os.Signal, 64)}
	f.notify(firstSignals[:]...)
	f.later()
	f.notify(unix.SIGWINCH)
	defer signal.Stop(f.signals)
	if err := raw(); err != nil {
		return false, err
	}
	defer reset()
	wake, wakeEnd, err := os.Pipe() // a signal ends poll(2) by it
	if err != nil {
		return false, err
	}
	defer wake.Close()
	defer wakeEnd.Close()
	// A program that fills the screen draws it when the size is another one, which it may not be.
	redraw := func() {
		size(1)
		size(0)
	}
	ended := make(chan os.Signal, 1)
	redraw()
	go func() {
		for s := range f.signals {
			switch s {
			case unix.SIGWINCH:
				size(0)
				continue
			case unix.SIGCONT:
				_ = raw()
				redraw()
				continue
			case unix.SIGTSTP:
				reset()
				_ = unix.Kill(unix.Getpid(), unix.SIGSTOP)
				continue
			}
			ended <- s
			_, _ = wakeEnd.Write([]byte{0})
		}
	}()
	filter := keyFilter{keys: keys}
	buf := make([]byte, 17<<10)
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: 0, Events: unix.POLLIN}, {Fd: int32(wake.Fd()), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); err == unix.EINTR {
			continue
		} else if err != nil {
			return false, os.NewSyscallError("poll", err)
		}
		if fds[0].Revents != 0 {
			n, err := unix.Read(fd, buf)
			if err != nil || n <= 0 {
				return false, nil // the sandbox has ended
			}
			if _, err := os.Stdout.Write(buf[:n]); err != nil {
				return true, nil
			}
		}
		if fds[2].Revents != 0 {
			s := (<-ended).(unix.Signal)
			return true, &exitError{code: 128 + int(s)}
		}
		if fds[1].Revents != 0 {
			n, err := unix.Read(0, buf[:4000])
			if err == unix.EINTR {
				continue
			}
			if err != nil || n <= 0 {
				fds[1].Fd = -1 // no more input
				continue
			}
			pass, leave := filter.take(buf[:n])
			if len(pass) > 0 {
				if err := unix.Send(fd, append([]byte{keysMessage}, pass...), unix.MSG_NOSIGNAL); err != nil {
					return false, nil
				}
			}
			if leave {
				return true, nil
			}
		}
	}
}

// keyFilter finds the keys that leave. A part of them that is typed is held back until it is
// known what follows.
type keyFilter struct {
	keys []byte
	held int // how many of them were typed
}

func (f *keyFilter) take(typed []byte) (pass []byte, leave bool) {
	if len(f.keys) == 0 {
		return bytes.Clone(typed), false
	}
	for _, c := range typed {
		if c != f.keys[f.held] {
			pass = append(pass, f.keys[:f.held]...)
			f.held = 0
			if c != f.keys[0] {
				pass = append(pass, c)
				continue
			}
		}
		if f.held++; f.held == len(f.keys) {
			return pass, true
		}
	}
	return pass, false
}

// detachKeys reads "ctrl-p,ctrl-q".
func detachKeys(text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	var keys []byte
	for key := range strings.SplitSeq(text, ",") {
		c, ctrl := strings.CutPrefix(key, "ctrl-")
		switch {
		case len(c) != 1:
		case !ctrl && c[0] > ' ' && c[0] < 0x7f:
			keys = append(keys, c[0])
			continue
		case ctrl && (c[0] >= 'a' && c[0] <= 'z' || strings.ContainsAny(c, `@[\]^_`)):
			keys = append(keys, c[0]&0x1f)
			continue
		}
		return nil, fmt.Errorf("--detach-keys %q: %q is no key; write them as in ctrl-p,ctrl-q", clip(text), clip(key))
	}
	return keys, nil
}
