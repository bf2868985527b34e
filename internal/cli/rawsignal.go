package cli

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Cloche catches signals by a handler of its own. os/signal would cost a start 2 ms
// (each signal is a round trip to a thread that it starts first), and the runtime
// gives no program some of what is sent: it asks goroutines to yield with SIGURG,
// measures with SIGPROF, leaves 32 to 34 to C libraries, and dies of a SIGSEGV and
// its like that came by sigqueue(3). rawHandler looks at who sent what: what comes
// from outside is written to rawPipe, and what the kernel or the runtime itself
// sent goes to rawNext where there is one.

const maxSignal = 64

// For rawHandler, which may run at any moment on any thread.
//
//lint:file-ignore U1000 the assembler files use the rest
var (
	rawPID  uint32                 // of this process
	rawPipe uint32                 // descriptor
	rawNext [maxSignal + 1]uintptr // the runtime's handlers, of the signals that it needs
)

// rawHandler is a handler for sigaction(2). It is not to be called from Go.
func rawHandler()

// rawHandlerAddress is where rawHandler begins.
func rawHandlerAddress() uintptr

// watchSigaction stands where a C library's sigaction(3) would: the runtime calls
// it. See inherited.
func watchSigaction()

// inheritedIgnored has bit n-1 set when signal n was ignored when the program began.
// The runtime replaces the dispositions of most signals before any other code
// of the program runs, and tells of SIGHUP and SIGINT alone (signal.Ignored); so
// watchSigaction writes down what it finds there. It leaves SIGTSTP, SIGCONT,
// SIGTTIN and SIGTTOU as they are, and does not look.
var inheritedIgnored uint64

// kernelAction is the kernel's struct sigaction, sigaction(2).
type kernelAction struct {
	handler  uintptr
	flags    uint64
	restorer uintptr
	mask     uint64
}

const sigIgn = 1 // SIG_IGN

func sigaction(s syscall.Signal, act, old *kernelAction) error {
	_, _, e := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(act)), uintptr(unsafe.Pointer(old)), 8, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

// ignoredByCaller reports whether the caller wants s ignored. A program that is
// executed keeps that, and so has the command to: nohup(1) is made of it.
func ignoredByCaller(s syscall.Signal) bool {
	// Who ignores SIGCHLD can't wait for anybody.
	return s != unix.SIGCHLD && inheritedIgnored&(1<<(s-1)) != 0
}

// keepIgnored ignores again what the caller had ignored, so that the command
// inherits it.
func keepIgnored() {
	if inheritedIgnored == 0 {
		return
	}
	for s := syscall.Signal(1); s <= maxSignal; s++ {
		if inheritedIgnored&(1<<(s-1)) != 0 && ignoredByCaller(s) {
			signal.Ignore(s)
			// The runtime keeps its hands on a few.
			_ = sigaction(s, &kernelAction{handler: sigIgn}, nil)
		}
	}
}

// catchRaw puts rawHandler in place. What it catches is read from the result, a
// byte for each signal. resized says that the runtime needs the kernel's SIGWINCH.
func catchRaw(resized bool) (*os.File, error) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, fmt.Errorf("catching signals: %w", os.NewSyscallError("pipe2", err))
	}
	rawPID, rawPipe = uint32(os.Getpid()), uint32(pipe[1]) // which stays open
	var act kernelAction
	_ = sigaction(unix.SIGURG, nil, &act) // the runtime's, for its flags and its restorer
	act.handler = rawHandlerAddress()
	for s := syscall.Signal(1); s <= maxSignal; s++ {
		var old kernelAction
		switch s {
		case unix.SIGKILL, unix.SIGSTOP, unix.SIGCHLD:
			continue
		case unix.SIGILL, unix.SIGTRAP, unix.SIGABRT, unix.SIGBUS, unix.SIGFPE, unix.SIGSEGV, unix.SIGSTKFLT, unix.SIGSYS, unix.SIGURG, 33:
			_ = sigaction(s, nil, &old)
			rawNext[s] = old.handler
		case unix.SIGWINCH:
			if resized {
				_ = sigaction(s, nil, &old)
				rawNext[s] = old.handler
			}
		}
		if rawNext[s] == sigIgn {
			rawNext[s] = 0
		}
		_ = sigaction(s, &act, &old)
		if old.handler == sigIgn {
			_ = sigaction(s, &old, nil) // as the caller wants it, see keepIgnored
		}
	}
	return os.NewFile(uintptr(pipe[0]), "signals"), nil
}

// raise does to this process what s does by default.
func raise(s syscall.Signal) {
	_ = sigaction(s, &kernelAction{}, nil)
	_ = syscall.Kill(syscall.Getpid(), s)
}
