package seccomp

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// User notification, seccomp_unotify(2): where a filter answers UserNotify, the
// kernel stops the thread and asks the filter's listener what the call returns.
// Linux 5.0; what came later says so.

// ErrGone is an answer to a notification that waits no more: its thread was
// killed, or a signal ended the call before it was answered.
var ErrGone = errors.New("seccomp: the notification is gone: its thread was killed, or a signal interrupted the call; there is nothing to answer")

// Notification is a call that waits for its answer.
//
// Only Data can be relied on. What its arguments point to is the memory of a
// program, which its other threads change while you look: never look behind a
// pointer and then let the kernel carry the call out (Response.Continue), or the
// call that you saw is not the one that is made.
type Notification struct {
	ID uint64 // no other notification of the listener has the same
	// PID is the id of the thread in the pid namespace of the process that received the
	// notification, 0 when it has none there. It may belong to somebody else as
	// soon as the thread is gone: look at Valid after each thing that was found by it.
	PID  int
	Data Data
}

// Response is the answer to a notification: what the call returns, or, with an
// errno, the error that it fails with.
type Response struct {
	Value int64
	Errno unix.Errno
	// Continue has the kernel carry the call out as if the filter had allowed it
	// (Linux 5.5). It is right where the registers alone decide, see Notification.
	Continue bool
}

// Descriptor says what descriptor a stopped process gets.
type Descriptor struct {
	FD          int  // the supervisor's own, which it keeps
	CloseOnExec bool // of the process's
	// Replace has it take the number Number, as dup2(2) does; else the process gets
	// the lowest that is free.
	Replace bool
	Number  int
	// Answer makes the number what the call returns, in the same step (Linux 5.14).
	// Without it a thread that is killed in between leaves the descriptor behind.
	Answer bool
}

// Listener answers the notifications of a filter. When the last process that
// has it is gone, calls that would notify fail with ENOSYS; those that wait do, too.
//
// Its methods may be called by several goroutines. Notifications may be answered
// in any order.
type Listener struct {
	file *os.File
	raw  syscall.RawConn
	wake *os.File // an eventfd that ends Receive
	end  syscall.RawConn
	once sync.Once

	receiving sync.Mutex
	buf       []byte // struct seccomp_notif, of the kernel's size
	answers   int    // size of struct seccomp_notif_resp
}

// NewListener takes a listener's descriptor over. It is what seccomp(2) returned
// for SECCOMP_FILTER_FLAG_NEW_LISTENER, or came by SCM_RIGHTS (unix(7)) from the process
// that loaded the filter.
func NewListener(fd int) (*Listener, error) {
	file := os.NewFile(uintptr(fd), "seccomp listener")
	if file == nil {
		return nil, fmt.Errorf("seccomp: %d is no descriptor", fd)
	}
	l, err := newListener(file)
	if err != nil {
		file.Close()
		return nil, err
	}
	return l, nil
}

func newListener(file *os.File) (*Listener, error) {
	notif, resp, e := notifSizes()
	if e != 0 {
		return nil, fmt.Errorf("seccomp: SECCOMP_GET_NOTIF_SIZES: %w: this kernel has no user notification, or an outer filter denies it; it needs Linux 5.0", e)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("eventfd2", err)
	}
	l := &Listener{
		file: file, wake: os.NewFile(uintptr(wake), "eventfd"),
		buf:     make([]byte, max(int(notif), notifSize)),
		answers: max(int(resp), respSize),
	}
	if l.raw, err = l.file.SyscallConn(); err == nil {
		l.end, err = l.wake.SyscallConn()
	}
	if err != nil {
		l.wake.Close()
		return nil, err
	}
	// Of an id that was never given a listener says ENOENT; nothing else does.
	if arg := le64(0); !errors.Is(l.ioctl(ioctlIDValid, arg[:], 0), unix.ENOENT) {
		l.wake.Close()
		return nil, fmt.Errorf("seccomp: descriptor %d is no listener; one comes from seccomp(2) with SECCOMP_FILTER_FLAG_NEW_LISTENER", file.Fd())
	}
	// Whoever notifies sleeps until it is answered, so the two take turns: each may
	// wake the other on its own processor (Linux 6.6). An older kernel does without.
	_ = l.ioctl(ioctlSetFlags, nil, unix.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
	return l, nil
}

// LoadListener is Load for a filter with user notifications: it returns the
// listener for them. flags are those of Load; SECCOMP_FILTER_FLAG_NEW_LISTENER is
// added. A thread can have one filter with a listener only.
func LoadListener(prog []unix.SockFilter, flags uint) (*Listener, error) {
	fd, err := load(prog, flags|unix.SECCOMP_FILTER_FLAG_NEW_LISTENER)
	if err != nil {
		return nil, err
	}
	return NewListener(int(fd))
}

// Receive waits for the next notification. It returns io.EOF when no process is
// left that has the filter (Linux 5.9; an older kernel does not tell), and
// os.ErrClosed after Close, also one by another goroutine.
func (l *Listener) Receive() (*Notification, error) {
	l.receiving.Lock()
	defer l.receiving.Unlock()
	for {
		n, err := l.receive()
		if n != nil || err != nil {
			return n, err
		}
	}
}

// receive is a try: neither a notification nor an error means that there was
// one, and its thread was killed meanwhile.
func (l *Listener) receive() (n *Notification, err error) {
	// Waiting in poll(2) and not in the ioctl, as nothing but a signal ends that. What poll
	// found the ioctl finds without waiting, also when its thread is gone (ENOENT).
	ready, err := l.poll()
	switch {
	case err != nil:
		return nil, err
	case ready&unix.POLLIN == 0:
		return nil, io.EOF
	}
	clear(l.buf) // the kernel insists
	switch e := l.ioctl(unix.SECCOMP_IOCTL_NOTIF_RECV, l.buf, 0); e {
	case nil:
		return decodeNotification(l.buf), nil
	case unix.ENOENT, unix.EINTR:
		return nil, nil
	default:
		return nil, ioctlError("SECCOMP_IOCTL_NOTIF_RECV", e)
	}
}

// poll waits until there is something to receive, or nothing any more.
func (l *Listener) poll() (ready int16, err error) {
	var inner error
	err = l.raw.Control(func(fd uintptr) {
		inner = control(l.end, func(end uintptr) error {
			fds := [2]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(end), Events: unix.POLLIN}}
			for {
				_, err := unix.Poll(fds[:], -1)
				if err == unix.EINTR {
					continue
				}
				if err == nil && fds[1].Revents != 0 {
					err = os.ErrClosed
				}
				ready = fds[0].Revents
				return err
			}
		})
	})
	return ready, closedOr(err, inner)
}

// Valid reports whether a notification still waits. As long as it does, its
// thread lives and nobody else has its pid: what was read of /proc/PID before Valid
// said so was the thread's.
func (l *Listener) Valid(id uint64) bool {
	arg := le64(id)
	return l.ioctl(ioctlIDValid, arg[:], 0) == nil
}

// Respond answers a notification. ErrGone: nobody waits for the answer.
func (l *Listener) Respond(id uint64, r Response) error {
	buf := make([]byte, l.answers)
	encodeResponse(buf, id, r)
	return ioctlError("SECCOMP_IOCTL_NOTIF_SEND", l.ioctl(unix.SECCOMP_IOCTL_NOTIF_SEND, buf, 0))
}

// AddFD gives the process that a notification stopped a descriptor (Linux 5.9)
// and returns its number there. So a supervisor opens what the process wanted and the
// kernel never looks at the process's own path.
func (l *Listener) AddFD(id uint64, d Descriptor) (int, error) {
	buf := encodeDescriptor(id, d)
	number := 0
	err := control(l.raw, func(fd uintptr) error {
		n, e := notifyIoctl(fd, ioctlAddFD, buf[:], 0)
		number = int(n)
		return errnoOrNil(e)
	})
	if errors.Is(err, unix.EINVAL) && d.Answer {
		return 0, errors.New("seccomp: SECCOMP_IOCTL_NOTIF_ADDFD: EINVAL: a descriptor as the answer needs Linux 5.14; before, add it and answer with its number")
	}
	return number, ioctlError("SECCOMP_IOCTL_NOTIF_ADDFD", err)
}

// Close gives the listener up. A Receive that waits returns os.ErrClosed.
func (l *Listener) Close() error {
	err := os.ErrClosed
	l.once.Do(func() {
		_, _ = l.wake.Write([]byte{1, 0, 0, 0, 0, 0, 0, 0}) // a counter of eight bytes, eventfd(2)
		err = l.file.Close()
		_ = l.wake.Close()
	})
	return err
}

func (l *Listener) ioctl(request uintptr, arg []byte, value uintptr) error {
	return control(l.raw, func(fd uintptr) error {
		_, e := notifyIoctl(fd, request, arg, value)
		return errnoOrNil(e)
	})
}

// control runs f with a descriptor that stays open meanwhile, whoever closes it.
func control(c syscall.RawConn, f func(fd uintptr) error) error {
	var inner error
	err := c.Control(func(fd uintptr) { inner = f(fd) })
	return closedOr(err, inner)
}

// closedOr is the error of a call on a descriptor: that of the file, which is
// there when it was closed before, or of the call.
func closedOr(file, call error) error {
	if file != nil {
		return os.ErrClosed
	}
	return call
}

func errnoOrNil(e unix.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

func ioctlError(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOENT):
		return ErrGone
	case errors.Is(err, unix.EINPROGRESS):
		return fmt.Errorf("seccomp: %s: EINPROGRESS: the notification was answered already", name)
	case errors.Is(err, os.ErrClosed):
		return err
	}
	return fmt.Errorf("seccomp: %s: %w", name, err)
}
