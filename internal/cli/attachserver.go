package cli

import (
	"encoding/binary"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A sandbox in the background that has a terminal has a program beside it, which holds the
// master. Whoever attaches connects to a socket in the record's directory, which is its
// owner's alone. A message from there is keystrokes or the size of the window; one to there is
// what was printed.

const (
	attachSocket = "attach"

	keysMessage = 'k' // the rest are keystrokes
	sizeMessage = 's' // rows and columns, two bytes each
)

type terminalServer struct {
	socket int
	path   string
	mu     sync.Mutex
	peers  map[int]bool
	master *os.File
	done   chan struct{}
}

// serveTerminal begins to listen; who connects before there is a terminal waits.
func serveTerminal(name string) (*terminalServer, error) {
	e, err := openRecord(name)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	if err := e.Delete(attachSocket); err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	// A socket's path is short; the directory's may be long.
	address := &unix.SockaddrUnix{Name: "/proc/self/fd/" + strconv.Itoa(e.DirFD()) + "/" + attachSocket}
	if err := unix.Bind(fd, address); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	if err := unix.Listen(fd, 8); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("listen", err)
	}
	return &terminalServer{socket: fd, path: e.Path(attachSocket), peers: map[int]bool{}, done: make(chan struct{})}, nil
}

// serve is called with the master before the command runs.
func (s *terminalServer) serve(master *os.File) {
	s.master = master
	_ = setWindow(master, 24, 80) // until somebody attaches
	go s.print()
	go func() {
		for {
			fd, _, err := unix.Accept4(s.socket, unix.SOCK_CLOEXEC)
			if err == unix.EINTR || err == unix.ECONNABORTED {
				continue
			}
			if err != nil {
				return
			}
			// One that does not read must not keep the command from printing.
			_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: 1})
			s.mu.Lock()
			s.peers[fd] = true
			s.mu.Unlock()
			go s.listen(fd)
		}
	}()
}

// print passes on what the command prints: to the log, and to all that are attached.
func (s *terminalServer) print() {
	defer close(s.done)
	buf := make([]byte, 16<<10)
	for {
		n, err := s.master.Read(buf)
		if n > 0 {
			_, _ = os.Stdout.Write(buf[:n])
			s.mu.Lock()
			for fd := range s.peers {
				if unix.Send(fd, buf[:n], unix.MSG_NOSIGNAL) != nil {
					_ = unix.Shutdown(fd, unix.SHUT_RDWR) // its reader closes it
				}
			}
			s.mu.Unlock()
		}
		if err != nil {
			return
		}
	}
}

// listen takes what one that is attached sends.
func (s *terminalServer) listen(fd int) {
	buf := make([]byte, 4096)
	for {
		n, err := unix.Read(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			break
		}
		switch {
		case buf[0] == keysMessage:
			_, _ = s.master.Write(buf[1:n])
		case buf[0] == sizeMessage && n == 5:
			_ = setWindow(s.master, binary.LittleEndian.Uint16(buf[1:]), binary.LittleEndian.Uint16(buf[3:]))
		}
	}
	s.mu.Lock()
	delete(s.peers, fd)
	s.mu.Unlock()
	unix.Close(fd)
}

// close is the end of the sandbox: who is attached sees it.
func (s *terminalServer) close() {
	if s.master != nil {
		select {
		case <-s.done:
		case <-time.After(time.Second):
		}
		s.master.Close()
	}
	_ = unix.Unlink(s.path)
	s.mu.Lock()
	defer s.mu.Unlock()
	for fd := range s.peers {
		_ = unix.Shutdown(fd, unix.SHUT_RDWR)
	}
	_ = unix.Shutdown(s.socket, unix.SHUT_RDWR)
}

func setWindow(master *os.File, rows, cols uint16) error {
	conn, err := master.SyscallConn()
	if err != nil {
		return err
	}
	return conn.Control(func(fd uintptr) {
		_ = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	})
}
