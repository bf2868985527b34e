package seccomp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
)

// Memory is that of a process which waits for the answer to a notification. To
// read it takes the right to trace the process, ptrace(2): that of a user over
// processes of the same ids that are dumpable, and of whoever made the user
// namespace around them.
//
// What is read may change at once. It can be what an answer is made of; it is no
// ground to let the call continue, see Notification.
type Memory struct {
	l    *Listener
	id   uint64
	file *os.File
}

// Memory opens the memory of a notification's process. Close it after the answer.
func (l *Listener) Memory(n *Notification) (*Memory, error) {
	if n.PID <= 0 {
		return nil, errors.New("seccomp: the notification's process has no pid here: the supervisor is in another pid namespace, which is neither the process's own nor around it")
	}
	f, err := os.Open("/proc/" + strconv.Itoa(n.PID) + "/mem")
	if !l.Valid(n.ID) {
		if err == nil {
			f.Close()
		}
		return nil, ErrGone // the pid may have been somebody else's
	}
	if err != nil {
		return nil, fmt.Errorf("seccomp: memory of thread %d: %w", n.PID, err)
	}
	return &Memory{l: l, id: n.ID, file: f}, nil
}

// ReadAt reads as io.ReaderAt does; off is an address. The error is ErrGone
// when the notification waits no more: what was read is then worth nothing.
func (m *Memory) ReadAt(b []byte, off int64) (int, error) {
	n, err := m.file.ReadAt(b, off)
	if !m.l.Valid(m.id) {
		return 0, ErrGone
	}
	if n < len(b) && err == nil {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// ReadString reads a string that ends with a NUL, such as a path, of at most
// max bytes without it.
func (m *Memory) ReadString(addr uint64, max int) (string, error) {
	const page = 4096 // no page size is smaller: a read within one succeeds whole or fails
	var s []byte
	for len(s) <= max {
		at := addr + uint64(len(s))
		chunk := make([]byte, min(page-int(at%page), max+1-len(s)))
		if _, err := m.ReadAt(chunk, int64(at)); err != nil {
			return "", fmt.Errorf("seccomp: string at %#x: %w", addr, err)
		}
		if end := bytes.IndexByte(chunk, 0); end >= 0 {
			return string(append(s, chunk[:end]...)), nil
		}
		s = append(s, chunk...)
	}
	return "", fmt.Errorf("seccomp: string at %#x: it is longer than %d bytes", addr, max)
}

// Close closes it.
func (m *Memory) Close() error { return m.file.Close() }
