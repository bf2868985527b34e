package cli

import (
	"os"
	"os/signal"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The Go runtime has a use of its own for some signals and gives no program what is
// sent of them: it asks goroutines to yield with SIGURG, measures with SIGPROF, and
// leaves 32 to 34 to C libraries. For SIGSEGV and its like it ends the program
// unless kill(2) sent them (sigqueue(3) is another matter), and os/signal does not
// tell whether the kernel sent SIGTTIN, which is job control, or a person.
// rawHandler stands before the runtime's handlers for these and looks at who sent
// what: what comes from outside is written to rawPipe, all else goes on to
// rawNext.
var rawSignals = [...]syscall.Signal{
	unix.SIGILL, unix.SIGTRAP, unix.SIGABRT, unix.SIGBUS, unix.SIGFPE, unix.SIGSEGV, unix.SIGSTKFLT, unix.SIGSYS,
	unix.SIGTTIN, unix.SIGTTOU, unix.SIGURG, unix.SIGPROF, 32, 33, 34,
}

const maxSignal = 64

// For rawHandler, which may run at any moment on any thread.
var (
	rawPID  uint32                 // of this process
	rawPipe uint32                 // descriptor
	rawNext [maxSignal + 1]uintptr // the runtime's handlers
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
// watchSigaction writes down what it finds there.
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
	if s == unix.SIGCHLD {
		return false // who ignores it can't wait for anybody
	}
	if inheritedIgnored&(1<<(s-1)) != 0 {
		return true
	}
	var now kernelAction
	return sigaction(s, nil, &now) == nil && now.handler == sigIgn
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
// byte for each signal.
func catchRaw() (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	// It is written to until the program ends, by who knows no os.File.
	fd, err := unix.FcntlInt(w.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	w.Close()
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	rawPID, rawPipe = uint32(os.Getpid()), uint32(fd)
	var model kernelAction // the runtime's, for its restorer
	if err := sigaction(unix.SIGURG, nil, &model); err != nil {
		return nil, err
	}
	for _, s := range rawSignals {
		if ignoredByCaller(s) {
			continue
		}
		var old kernelAction
		if err := sigaction(s, nil, &old); err != nil {
			continue
		}
		if old.handler > sigIgn {
			rawNext[s] = old.handler
		}
		act := kernelAction{handler: rawHandlerAddress(), flags: model.flags, restorer: model.restorer, mask: model.mask}
		_ = sigaction(s, &act, nil)
	}
	return r, nil
}

// raise does to this process what s does by default.
func raise(s syscall.Signal) {
	_ = sigaction(s, &kernelAction{}, nil)
	_ = syscall.Kill(syscall.Getpid(), s)
}
