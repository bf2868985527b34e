package supervise

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// outputMeter counts what the command writes to stdout and stderr together and
// ends it at the limit. It is a pipe in between, only where a limit asks for it.
type outputMeter struct {
	limit  int64
	count  atomic.Int64
	over   func()
	copies sync.WaitGroup
	child  []*os.File // the ends that the command gets
}

// pipe puts a meter before dst, which may be closed afterwards, and returns what
// the command writes to.
func (m *outputMeter) pipe(dst *os.File) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	var own io.WriteCloser
	if dst != nil {
		fd, err := unix.FcntlInt(dst.Fd(), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			r.Close()
			w.Close()
			return nil, os.NewSyscallError("fcntl", err)
		}
		own = os.NewFile(uintptr(fd), dst.Name())
	}
	m.child = append(m.child, w)
	m.copies.Go(func() {
		defer r.Close()
		if own != nil {
			defer own.Close()
			m.copy(own, r)
		} else {
			m.copy(nil, r)
		}
	})
	return w, nil
}

// copy passes on at most what is left of the limit.
func (m *outputMeter) copy(dst io.Writer, src io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			total := m.count.Add(int64(n))
			pass := int64(n)
			if total > m.limit {
				pass = max(0, pass-(total-m.limit))
			}
			if dst != nil && pass > 0 {
				if _, werr := dst.Write(buf[:pass]); werr != nil {
					return // the reader is gone: the command gets SIGPIPE, as without a meter
				}
			}
			if total > m.limit {
				m.over()
				return
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				m.over()
			}
			return
		}
	}
}

// started closes the command's ends on this side.
func (m *outputMeter) started() {
	for _, f := range m.child {
		f.Close()
	}
	m.child = nil
}

// total is the number of bytes written, when all of it has been read.
func (m *outputMeter) total() int64 {
	m.copies.Wait()
	return min(m.count.Load(), m.limit)
}
