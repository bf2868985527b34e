package cli

import (
	"os"
	"os/signal"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/sandbox"
)

// forwarder passes the signals that Cloche gets on to the command: all but
//   - SIGKILL and SIGSTOP, which nobody can catch;
//   - SIGCHLD, which tells of children and not of a wish;
//   - SIGTTIN and SIGTTOU, by which the kernel stops a job in the background;
//   - SIGURG, SIGPROF and 32 to 34, which the Go runtime keeps for itself or
//     leaves to C libraries.
//
// Where Cloche executes the sandbox in its own place it is the launcher image
// that passes them on, without these exceptions but the first two lines.
type forwarder struct {
	signals  chan os.Signal
	done     chan struct{}
	terminal bool // the command has one of its own
}

// The signals that end a program that does not expect them, of which a person or a
// shell sends the first ones. Each is a round trip to a thread of the runtime's when
// it is asked for, so the others are asked for once the command runs.
var (
	firstSignals = [...]os.Signal{
		unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGTSTP, unix.SIGCONT,
	}
	laterSignals = [...]os.Signal{
		unix.SIGVTALRM, unix.SIGIO, unix.SIGPWR, unix.SIGXCPU, unix.SIGXFSZ, unix.SIGPIPE, unix.SIGSTKFLT,
		// Sent by somebody; the faults of Cloche's own stay the runtime's.
		unix.SIGILL, unix.SIGTRAP, unix.SIGABRT, unix.SIGBUS, unix.SIGFPE, unix.SIGSEGV, unix.SIGSYS,
	}
)

// firstRealTime is the first real-time signal that programs may use.
const firstRealTime, lastSignal = 35, 64

// catchSignals begins before the command runs: what comes meanwhile is kept.
func catchSignals(terminal bool) *forwarder {
	f := &forwarder{signals: make(chan os.Signal, 64), done: make(chan struct{}), terminal: terminal}
	f.notify(firstSignals[:]...)
	if terminal {
		f.later() // whatever ends Cloche, it has a terminal to put in order first
	}
	return f
}

func (f *forwarder) later() {
	f.notify(laterSignals[:]...)
	for s := syscall.Signal(firstRealTime); s <= lastSignal; s++ {
		f.notify(s)
	}
}

// notify asks for signals, but for those that the caller wants ignored, nohup(1)
// for one: so does the command then. (The runtime keeps that of SIGHUP, SIGINT and
// SIGTSTP alone; of others it has replaced the disposition before any code of ours
// runs.)
func (f *forwarder) notify(list ...os.Signal) {
	for _, s := range list {
		if !signal.Ignored(s) && (s != unix.SIGTSTP || !ignoredNow(unix.SIGTSTP)) {
			signal.Notify(f.signals, s)
		}
	}
}

// ignoredNow asks the kernel, for a signal that the runtime has left alone and
// does not know about.
func ignoredNow(s syscall.Signal) bool {
	const ignore = 1         // SIG_IGN
	var disposition struct { // the kernel's struct sigaction, sigaction(2)
		handler               uintptr
		flags, restorer, mask uint64
	}
	_, _, e := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), 0, uintptr(unsafe.Pointer(&disposition)), 8, 0, 0)
	return e == 0 && disposition.handler == ignore
}

// to passes signals on until stop. Without a terminal of its own the command
// can't tell the caller's shell that it stopped, so Cloche stops with it.
func (f *forwarder) to(cmd *sandbox.Cmd) {
	if !f.terminal {
		go func() {
			f.later()
			f.notify(unix.SIGWINCH) // of a terminal package sandbox follows the size
		}()
	}
	go func() {
		for {
			select {
			case s := <-f.signals:
				n, _ := s.(syscall.Signal)
				_ = cmd.Signal(n) // the command may have ended just now
				if n == unix.SIGTSTP && !f.terminal {
					_ = unix.Kill(unix.Getpid(), unix.SIGSTOP)
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
			_ = unix.Kill(unix.Getpid(), n)
		default:
			return
		}
	}
}
