package oci

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Signals are passed on by a handler of a dozen instructions, and not by package
// os/signal: that has a thread of its own, to which each of the 59 signals is made
// known by a switch there and back, which takes longer than the set-up of a
// container.
//
// relayPending has a bit for each signal that came while relayTarget was -1; who
// clears a bit sends the signal, so it is sent once.
var (
	relayTarget  int32 = -1 // pidfd of whom signals are for
	relayPending uint64
)

// relayHandlers are the handler that passes a signal on, and that for those which may also
// be a fault of this program's own, which the Go runtime's handler has to hear of.
func relayHandlers(runtimes uintptr) (all, faults uintptr)

// sigaction is the kernel's.
type sigaction struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

func (s *sigaction) swap(sig unix.Signal, old *sigaction) {
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(s)), uintptr(unsafe.Pointer(old)), unsafe.Sizeof(s.mask), 0, 0)
}

// relay keeps all signals that can be passed on for a process that is not known yet.
func relay() {
	var own sigaction
	(*sigaction)(nil).swap(unix.SIGURG, &own) // which the runtime always handles
	all, faults := relayHandlers(own.handler)
	for s := unix.Signal(1); s <= 64; s++ {
		switch s {
		case unix.SIGCHLD, unix.SIGURG, unix.SIGPROF, unix.SIGKILL, unix.SIGSTOP, unix.SIGWINCH, 32, 33, 34: // the Go runtime's own, and libc's
			continue
		case unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL, unix.SIGTRAP, unix.SIGSYS:
			own.handler = faults
		default:
			own.handler = all
		}
		own.swap(s, nil)
	}
}

// relayTo has those that came, and those that come, sent to a process, and to no later
// one of its number.
func relayTo(pid int) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return // it is gone
	}
	atomic.StoreInt32(&relayTarget, int32(fd))
	for bits := atomic.SwapUint64(&relayPending, 0); bits != 0; bits &= bits - 1 {
		sig := unix.Signal(1)
		for bits>>(sig-1)&1 == 0 {
			sig++
		}
		_ = unix.PidfdSendSignal(fd, sig, nil, 0)
	}
}
