package sandbox

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/console"
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/supervise"
	"github.com/cloche-sandbox/cloche/policy"
)

// terminal connects the caller's terminal to the sandbox's own. The command
// never holds the caller's: what it can do to a terminal (TIOCSTI, modes, a
// foreground group) it does to one that ends with it.
type terminal struct {
	cmd     *Cmd
	outside console.Console // the caller's
	out     *os.File        // where what the command prints goes
	master  *os.File

	mu    sync.Mutex
	raw   bool
	stop  [2]int // pipe that ends the copy from the caller
	winch chan os.Signal
	done  sync.WaitGroup

	printing sync.Mutex // held from reading what the command printed to the end of its passing on
}

// isTerminal reports whether f is a terminal, termios(3).
func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	if !ok || file == nil {
		return false
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}

// terminalStreams decides which of the command's streams get a pseudo-terminal:
// those that are terminals now. A redirected one stays what it is.
func (c *Cmd) terminalStreams() (streams [3]bool) {
	mode := c.Policy.Terminal
	if mode == policy.TerminalNever || mode == "" || mode == policy.TerminalAuto && !isTerminal(c.Stdin) {
		return streams
	}
	streams = [3]bool{isTerminal(c.Stdin), isTerminal(c.Stdout), isTerminal(c.Stderr)}
	if mode == policy.TerminalAlways {
		streams = [3]bool{true, c.Stdout == nil || streams[1], c.Stderr == nil || streams[2]}
	}
	return streams
}

// newTerminal makes the caller's side of it, where there is one.
func (c *Cmd) newTerminal() (t *terminal, streams [3]bool, err error) {
	streams = c.terminalStreams()
	if streams == [3]bool{} {
		return nil, streams, nil
	}
	t = &terminal{cmd: c, stop: [2]int{-1, -1}}
	for _, w := range []any{c.Stdout, c.Stderr, c.Stdin} {
		if isTerminal(w) {
			t.out = w.(*os.File)
			break
		}
	}
	if isTerminal(c.Stdin) {
		if t.outside, err = console.ConsoleFromFile(c.Stdin.(*os.File)); err != nil {
			return nil, streams, err
		}
	}
	if err := unix.Pipe2(t.stop[:], unix.O_CLOEXEC); err != nil {
		return nil, streams, os.NewSyscallError("pipe2", err)
	}
	return t, streams, nil
}

// connect is called with the master before the command runs.
func (t *terminal) connect(master *os.File) {
	t.master = master
	if t.outside != nil {
		t.copyModes()
		t.resize()
		t.setRaw()
		t.winch = make(chan os.Signal, 1)
		signal.Notify(t.winch, syscall.SIGWINCH)
		go func() {
			for range t.winch {
				t.resize()
			}
		}()
		go t.copyIn(int(t.cmd.Stdin.(*os.File).Fd()))
	}
}

// attend starts passing output on, once there is a process to count it for.
func (t *terminal) attend(p *supervise.Process) {
	if t.master != nil {
		t.done.Go(func() { t.copyOut(p) })
	}
}

// copyModes gives the new terminal the modes of the caller's.
func (t *terminal) copyModes() {
	if m, err := unix.IoctlGetTermios(int(t.outside.Fd()), unix.TCGETS); err == nil {
		_ = unix.IoctlSetTermios(int(t.master.Fd()), unix.TCSETS, m)
	}
	_ = unix.SetNonblock(int(t.master.Fd()), true) // Fd made it blocking
}

func (t *terminal) resize() {
	if ws, err := unix.IoctlGetWinsize(int(t.outside.Fd()), unix.TIOCGWINSZ); err == nil {
		conn, err := t.master.SyscallConn()
		if err == nil {
			_ = conn.Control(func(fd uintptr) { _ = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, ws) })
		}
	}
}

func (t *terminal) setRaw() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.raw || t.outside.SetRaw() != nil {
		return
	}
	t.raw = true
	// The console package leaves OPOST on. What is printed was processed by the
	// terminal inside already, or is meant to come out as it is.
	fd := int(t.outside.Fd())
	if m, err := unix.IoctlGetTermios(fd, unix.TCGETS); err == nil {
		m.Oflag &^= unix.OPOST
		_ = unix.IoctlSetTermios(fd, unix.TCSETS, m)
	}
}

func (t *terminal) restore() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.raw {
		_ = t.outside.Reset()
		t.raw = false
	}
}

// copyIn passes keystrokes on. It waits in poll(2) and not in read(2), so that
// when the sandbox ends no keystroke is taken that was meant for the shell.
func (t *terminal) copyIn(in int) {
	buf := make([]byte, 4096)
	for {
		fds := []unix.PollFd{{Fd: int32(in), Events: unix.POLLIN}, {Fd: int32(t.stop[0]), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err == unix.EINTR {
			continue
		} else if err != nil || fds[1].Revents != 0 {
			return
		}
		n, err := unix.Read(in, buf)
		if err == unix.EINTR || err == unix.EAGAIN {
			continue
		}
		if err != nil || n <= 0 {
			return
		}
		if _, err := t.master.Write(buf[:n]); err != nil {
			return
		}
	}
}

// copyOut passes on what the command prints, to the last byte: the master
// answers EIO only when the terminal is closed inside and its buffer is empty.
func (t *terminal) copyOut(p *supervise.Process) {
	conn, err := t.master.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, 32<<10)
	for ended := false; !ended; {
		err := conn.Read(func(fd uintptr) (done bool) {
			t.printing.Lock()
			defer t.printing.Unlock()
			n, err := unix.Read(int(fd), buf)
			if n > 0 && p.CountOutput(n) && t.out != nil {
				if _, werr := t.out.Write(buf[:n]); werr != nil {
					ended = true
				}
			}
			if err != nil && err != unix.EINTR && err != unix.EAGAIN || err == nil && n == 0 {
				ended = true
			}
			return err != unix.EAGAIN
		})
		if err != nil {
			return
		}
	}
}

// drain waits until all that the command has printed is passed on. Where others inside print
// on and on, or the caller's terminal takes nothing, it gives up.
func (t *terminal) drain() {
	conn, err := t.master.SyscallConn()
	if err != nil {
		return
	}
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if !t.printing.TryLock() {
			continue
		}
		n := 0
		err = conn.Control(func(fd uintptr) { n, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0) })
		t.printing.Unlock()
		if err != nil || n == 0 {
			return
		}
	}
}

// stopped is Ctrl-Z: the command is stopped, so the caller's job stops too, with
// its terminal as it was. When the shell resumes the job, so is the command.
func (t *terminal) stopped(p *supervise.Process, _ syscall.Signal) {
	if t.outside == nil {
		return
	}
	t.drain() // an editor has put the screen back before it stopped
	t.restore()
	// The stop reaches this thread some time after kill(2) has returned: what
	// follows waits for the resumption itself.
	resumed := make(chan os.Signal, 1)
	signal.Notify(resumed, syscall.SIGCONT)
	if syscall.Kill(0, syscall.SIGSTOP) == nil {
		<-resumed
	}
	signal.Stop(resumed)
	t.setRaw()
	t.resize()
	_ = p.Signal(syscall.SIGCONT)
}

// close puts the caller's terminal back as it was, whatever happened.
func (t *terminal) close() {
	if t.master != nil {
		t.done.Wait()
		t.master.Close()
	}
	if t.winch != nil {
		signal.Stop(t.winch)
		close(t.winch)
	}
	t.restore()
	for _, fd := range t.stop {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
