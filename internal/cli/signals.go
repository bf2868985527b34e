package cli

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/cloche-sandbox/cloche/sandbox"
)

// forwarder passes the signals that Cloche gets on to the command. Those of the
// kernel's own reports of faults stay, and so do SIGCHLD, SIGPIPE and what the
// Go runtime uses (SIGURG, SIGPROF).
type forwarder struct {
	signals chan os.Signal
	done    chan struct{}
}

// catchSignals begins before the command runs: what comes meanwhile is kept.
func catchSignals() *forwarder {
	f := &forwarder{signals: make(chan os.Signal, 64), done: make(chan struct{})}
	forwarded := [...]os.Signal{
		syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2,
		syscall.SIGALRM, syscall.SIGVTALRM, syscall.SIGTSTP, syscall.SIGCONT, syscall.SIGIO, syscall.SIGPWR,
		syscall.SIGXCPU, syscall.SIGXFSZ,
	}
	signal.Notify(f.signals, forwarded[:]...)
	return f
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
			_ = syscall.Kill(syscall.Getpid(), n)
		default:
			return
		}
	}
}
