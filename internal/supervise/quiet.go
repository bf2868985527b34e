package supervise

import (
	"os"

	"golang.org/x/sys/unix"
)

// A caller that does nothing but wait for the end needs to know of no record before
// it, except for the pid to wait for. Each record that is read wakes this program, on a
// processor that the sandbox could use, and so do threads of Go that hand over to each other.
// So the thread of the caller itself forks, sleeps until the launcher is gone and then until pid 1
// is, and reads the records that lie in the pipe when all is over.

// statusPipe makes the pipe for the records.
func (p *Process) statusPipe() (r, w *os.File, err error) {
	if !p.quiet {
		return os.Pipe()
	}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, os.NewSyscallError("pipe2", err)
	}
	// They block, so the poller of the Go runtime has no part in it.
	return os.NewFile(uintptr(fds[0]), "status"), os.NewFile(uintptr(fds[1]), "status"), nil
}

// awaitPID reads records until pid 1 is known, which is at once: the launcher has ended.
func (p *Process) awaitPID() error {
	for p.init == 0 {
		r, err := readRecord(p.status)
		if err != nil {
			return p.diedEarly()
		}
		p.note(r)
	}
	return nil
}

// drain reads what is left when pid 1 has ended. Somebody who sleeps in the kernel may
// still hold the other end.
func (p *Process) drain() {
	if unix.SetNonblock(int(p.status.Fd()), true) != nil {
		return
	}
	for {
		r, err := readRecord(p.status)
		if err != nil {
			return
		}
		p.note(r)
	}
}

// awaitHangUp waits until pid 1 has closed its records, which it does when it begins
// to end, and reports whether there was something to wait for.
func (p *Process) awaitHangUp(pidfd int) bool {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}, {Fd: int32(p.status.Fd())}}
	if n, err := unix.Poll(fds, 0); n != 0 || err != nil {
		return false
	}
	_, _ = unix.Poll(fds, -1)
	return true
}
