package cli

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/sandbox"
)

// forwarder passes the signals that Cloche gets on to the command: all but SIGKILL
// and SIGSTOP, which nobody can catch, and SIGCHLD, which tells of children and
// not of a wish.
type forwarder struct {
	signals chan os.Signal
	raw     *os.File // of catchRaw; nil: there is no more room for descriptors
	done    chan struct{}
}

// catchSignals begins before the command runs: what comes meanwhile is kept.
func catchSignals() *forwarder {
	f := &forwarder{signals: make(chan os.Signal, 64), done: make(chan struct{})}
	var notified []os.Signal
	for s := syscall.Signal(1); s <= maxSignal; s++ {
		switch {
		case s == unix.SIGKILL, s == unix.SIGSTOP, s == unix.SIGCHLD, isRaw(s):
		case ignoredByCaller(s): // and so by the command
		default:
			notified = append(notified, s)
		}
	}
	if len(notified) > 0 { // none would mean all
		signal.Notify(f.signals, notified...)
	}
	f.raw, _ = catchRaw()
	if f.raw != nil {
		go f.readRaw()
	}
	return f
}

func isRaw(s syscall.Signal) bool {
	for _, r := range rawSignals {
		if r == s {
			return true
		}
	}
	return false
}

func (f *forwarder) readRaw() {
	buf := make([]byte, 64)
	for {
		n, err := f.raw.Read(buf)
		for _, b := range buf[:max(n, 0)] {
			select {
			case f.signals <- syscall.Signal(b):
			case <-f.done:
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// to passes signals on until stop. Without a terminal of its own the command
// can't tell the caller's shell that it stopped, so Cloche stops with it.
func (f *forwarder) to(cmd *sandbox.Cmd, terminal bool) {
	go func() {
		for {
			select {
			case s := <-f.signals:
				n, _ := s.(syscall.Signal)
				_ = cmd.Signal(n) // the command may have ended just now
				if n == syscall.SIGTSTP && !terminal {
					_ = syscall.Kill(syscall.Getpid(), syscall.SIGSTOP)
				}
			case <-f.done:
				return
			}
		}
	}()
}

func (f *forwarder) stop() { close(f.done) }

// giveUp is for a command that never ran: what came meanwhile was meant for it,
// and is for Cloche now.
func (f *forwarder) giveUp() {
	signal.Stop(f.signals)
	for {
		select {
		case s := <-f.signals:
			n, _ := s.(syscall.Signal)
			raise(n)
		default:
			return
		}
	}
}
