package cli

import (
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What a terminal understands, console_codes(4).
const (
	altScreen  = "\x1b[?1049h\x1b[?25l" // a screen of its own, without a cursor
	backScreen = "\x1b[?25h\x1b[?1049l"
	homeCursor = "\x1b[H"
	clearLine  = "\x1b[K"
	clearBelow = "\x1b[J"
)

const topHelp = "q quit  c cpu  m memory  p pids  i io  n name  r reverse"

// screen is the caller's terminal while a table is on it.
type screen struct {
	in, out int
	before  *unix.Termios
}

// enter takes the terminal: keys come one by one and unseen. Ctrl-C and Ctrl-Z stay signals.
func (s *screen) enter() error {
	t, err := unix.IoctlGetTermios(s.in, unix.TCGETS)
	if err != nil {
		return err
	}
	s.before = t
	raw := *t
	raw.Lflag &^= unix.ICANON | unix.ECHO
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(s.in, unix.TCSETS, &raw); err != nil {
		return err
	}
	return s.write(altScreen)
}

// leave gives the terminal back as it was.
func (s *screen) leave() {
	_ = s.write(backScreen)
	_ = unix.IoctlSetTermios(s.in, unix.TCSETS, s.before)
}

func (s *screen) write(text string) error {
	_, err := unix.Write(s.out, []byte(text))
	return err
}

func (s *screen) size() size {
	ws, err := unix.IoctlGetWinsize(s.out, unix.TIOCGWINSZ)
	if err != nil || ws.Col == 0 || ws.Row == 0 {
		return size{80, 24}
	}
	return size{int(ws.Col), int(ws.Row)}
}

// draw puts a page on the screen, without a moment in which it is empty.
func (s *screen) draw(page []byte) error {
	text := []byte(homeCursor)
	for _, c := range page {
		if c == '\n' {
			text = append(text, clearLine...)
			text = append(text, '\r')
		}
		text = append(text, c)
	}
	text = append(text, topHelp+clearLine+clearBelow...)
	_, err := unix.Write(s.out, text)
	return err
}

// live shows the table until q or Ctrl-C.
func (t *Top) live(w *watch) error {
	if !isTerminal(os.Stdin) || !isTerminal(os.Stdout) {
		return errors.New("top: stdin and stdout have to be a terminal; for one table write --once, for a script --once --json")
	}
	if err := w.look(); err != nil { // what is wrong is said on the caller's screen
		return err
	}
	s := &screen{in: int(os.Stdin.Fd()), out: int(os.Stdout.Fd())}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGTSTP, unix.SIGCONT, unix.SIGWINCH)
	defer signal.Stop(signals)
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	keys := make(chan byte)
	go readKeys(s.in, keys)
	ticker := time.NewTicker(t.Interval)
	defer ticker.Stop()
	reverse := false
	for {
		t.sort(w.list, reverse)
		if err := s.draw(t.page(w.list, s.size())); err != nil {
			return err
		}
		select {
		case <-ticker.C:
			if err := w.look(); err != nil {
				return err
			}
		case k, open := <-keys:
			if !open || k == 'q' {
				return nil
			}
			if k == 'r' {
				reverse = !reverse
			}
			for _, key := range SortKeys {
				if key[0] == k {
					t.Sort = key
				}
			}
		case sig := <-signals:
			switch sig {
			case unix.SIGWINCH, unix.SIGCONT:
			case unix.SIGTSTP:
				s.leave()
				_ = unix.Kill(unix.Getpid(), unix.SIGSTOP)
				for sig != unix.SIGCONT { // this thread is not yet stopped
					sig = <-signals
				}
				if err := s.enter(); err != nil {
					return err
				}
			default:
				s.leave()
				return &exitError{code: 128 + int(sig.(syscall.Signal))}
			}
		}
	}
}

// readKeys sends what is typed, until there is no more.
func readKeys(fd int, keys chan<- byte) {
	defer close(keys)
	var b [1]byte
	for {
		n, err := unix.Read(fd, b[:])
		switch {
		case err == unix.EINTR || err == unix.EAGAIN:
		case err != nil || n == 0:
			return
		default:
			keys <- b[0]
		}
	}
}
