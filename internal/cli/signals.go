package cli

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/cloche-sandbox/cloche/sandbox"
)

// forwarder passes the signals that Cloche gets on to the command: all but SIGKILL
// and SIGSTOP, which nobody can catch, and SIGCHLD, which tells of children and
// not of a wish.
type forwarder struct {
	raw      *os.File // of catchRaw
	terminal bool     // the command has one of its own
	signals  chan os.Signal
	done     chan struct{}
}

// catchSignals begins before the command runs: what comes meanwhile is kept.
func catchSignals(terminal bool) (*forwarder, error) {
	raw, err := catchRaw(terminal)
	if err != nil {
		return nil, err
	}
	return &forwarder{raw: raw, terminal: terminal, signals: make(chan os.Signal, 64), done: make(chan struct{})}, nil
}

// to passes signals on until stop.
func (f *forwarder) to(cmd *sandbox.Cmd) {
	go func() {
		buf := make([]byte, 64)
		for {
			n, err := f.raw.Read(buf)
			for _, b := range buf[:max(n, 0)] {
				f.pass(cmd, syscall.Signal(b))
			}
			if err != nil {
				return
			}
		}
	}()
	go func() {
		// Of a SIGPIPE that a write of its own brings the runtime would die; the
		// terminal asks for SIGCONT now and then, which takes it from rawHandler.
		var own []os.Signal
		for _, s := range [...]syscall.Signal{syscall.SIGPIPE, syscall.SIGCONT} {
			if !ignoredByCaller(s) {
				own = append(own, s)
			}
		}
		if len(own) > 0 { // none would mean all
			signal.Notify(f.signals, own...)
		}
		for {
			select {
			case s := <-f.signals:
				n, _ := s.(syscall.Signal)
				f.pass(cmd, n)
			case <-f.done:
				return
			}
		}
	}()
}

// pass passes one signal on. Without a terminal of its own the command can't tell
// the caller's shell that it stopped, so Cloche stops with it.
func (f *forwarder) pass(cmd *sandbox.Cmd, s syscall.Signal) {
	select {
	case <-f.done:
		return
	default:
	}
	_ = cmd.Signal(s) // the command may have ended just now
	if s == syscall.SIGTSTP && !f.terminal {
		_ = syscall.Kill(syscall.Getpid(), syscall.SIGSTOP)
	}
}

func (f *forwarder) stop() { close(f.done) }

// giveUp is for a command that never ran: what came meanwhile was meant for it,
// and is for Cloche now.
func (f *forwarder) giveUp() {
	buf := make([]byte, 64)
	_ = f.raw.SetReadDeadline(time.Now().Add(time.Millisecond))
	n, _ := f.raw.Read(buf)
	for _, b := range buf[:max(n, 0)] {
		raise(syscall.Signal(b))
	}
}
