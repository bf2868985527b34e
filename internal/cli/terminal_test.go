package cli_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/inspect"
	"github.com/cloche-sandbox/cloche/internal/needs"
)

// patience is how long a terminal may stay silent.
const patience = time.Minute

// tty is the caller's terminal, with a test in the place of the person: what is
// typed goes to master, and what is shown comes from there.
type tty struct {
	t      *testing.T
	master *os.File
	slave  *os.File
	seen   []byte // shown, and not yet waited for
	modes  unix.Termios
}

func newTTY(t *testing.T) *tty {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		needs.Skip(t, "needs /dev/ptmx: "+err.Error())
	}
	y := &tty{t: t, master: os.NewFile(uintptr(fd), "/dev/ptmx")}
	t.Cleanup(func() { y.master.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	// It stays open here, so that a reader of master never finds nobody.
	if y.slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		needs.Skip(t, "needs devpts on /dev/pts: "+err.Error())
	}
	t.Cleanup(func() { y.slave.Close() })
	y.resize(21, 77)
	y.modes = y.termios()
	return y
}

func (y *tty) termios() unix.Termios {
	y.t.Helper()
	m, err := unix.IoctlGetTermios(int(y.slave.Fd()), unix.TCGETS)
	if err != nil {
		y.t.Fatal(err)
	}
	return *m
}

func (y *tty) resize(rows, cols uint16) {
	y.t.Helper()
	conn, err := y.master.SyscallConn() // Fd would make it blocking
	if err != nil {
		y.t.Fatal(err)
	}
	if err := conn.Control(func(fd uintptr) {
		err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	}); err != nil || y.t.Failed() {
		y.t.Fatal(err)
	}
}

// start runs cloche as the leader of a session whose terminal this is.
func (y *tty) start(args ...string) *exec.Cmd {
	y.t.Helper()
	return y.begin(cloche(append([]string{"run"}, args...)...))
}

// begin starts a program so.
func (y *tty) begin(cmd *exec.Cmd) *exec.Cmd {
	y.t.Helper()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = y.slave, y.slave, y.slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	if err := cmd.Start(); err != nil {
		y.t.Fatal(err)
	}
	y.t.Cleanup(func() { _ = cmd.Process.Kill(); _, _ = cmd.Process.Wait() })
	return cmd
}

func (y *tty) typed(s string) {
	y.t.Helper()
	if err := y.master.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		y.t.Fatal(err)
	}
	if _, err := y.master.WriteString(s); err != nil {
		y.t.Fatal(err)
	}
}

// shown waits until s is on the screen, after all that was waited for before.
// What is typed is shown too, so the tests type what a command shall print with
// two quotes in it.
func (y *tty) shown(s string) {
	y.t.Helper()
	if err := y.master.SetReadDeadline(time.Now().Add(patience)); err != nil {
		y.t.Fatal(err)
	}
	buf := make([]byte, 4096)
	for {
		if _, rest, ok := strings.Cut(string(y.seen), s); ok {
			y.seen = []byte(rest)
			return
		}
		n, err := y.master.Read(buf)
		y.seen = append(y.seen, buf[:n]...)
		if err != nil {
			y.t.Fatalf("%q was not shown: %v; on the screen: %q", s, err, y.seen)
		}
	}
}

// ends waits for cloche and holds its exit status, and the modes of the
// terminal, against what they should be.
func (y *tty) ends(cmd *exec.Cmd, code int) {
	y.t.Helper()
	guard := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	guard.Stop()
	var ee *exec.ExitError
	got := 0
	if errors.As(err, &ee) {
		got = ee.ExitCode()
	}
	if got != code {
		y.t.Errorf("%v, want exit status %d", err, code)
	}
	y.restored()
}

func (y *tty) restored() {
	y.t.Helper()
	if d := cmp.Diff(y.modes, y.termios()); d != "" {
		y.t.Errorf("the terminal's modes are not what they were (-before +after):\n%s", d)
	}
}

// raw checks that keystrokes go to the inside as they are, and what is printed
// comes out as it is: a terminal that turned each newline into two characters
// again would break what draws on the screen.
func (y *tty) raw() {
	y.t.Helper()
	if m := y.termios(); m.Lflag&(unix.ICANON|unix.ISIG|unix.ECHO) != 0 || m.Oflag&unix.OPOST != 0 {
		y.t.Errorf("the caller's terminal is not raw: c_lflag %#x, c_oflag %#x", m.Lflag, m.Oflag)
	}
}

// shells are those that a person may have inside. The prompt is told to both.
var shells = []struct {
	name string
	args []string
}{
	{"bash", []string{"bash", "--norc", "--noprofile", "--noediting", "-i"}},
	{"sh", []string{"sh", "-i"}},
}

const prompt = "inside> "

// TestJobControl: in a shell inside, keys do what they do outside, and to the
// job that has the terminal alone.
func TestJobControl(t *testing.T) { asRootAndUser(t, jobControl) }

func jobControl(t *testing.T) {
	requireSandbox(t)
	for _, shell := range shells {
		t.Run(shell.name, func(t *testing.T) {
			if _, err := exec.LookPath(shell.args[0]); err != nil {
				needs.Skip(t, "needs "+shell.args[0])
			}
			y := newTTY(t)
			cmd := y.start(append([]string{"--env", "PS1=" + prompt, "--"}, shell.args...)...)
			y.shown(prompt)
			y.raw()
			y.typed("set -m; tty; stty size\n")
			y.shown("/dev/pts/0\r\n") // of the sandbox's own devpts
			y.shown("21 77\r\n")

			// Ctrl-C ends the job. The shell is there to tell.
			y.typed("sh -c 'echo run''ning; exec sleep 1000'\n")
			y.shown("running")
			y.typed("\x03")
			y.shown(prompt)
			y.typed("echo code=$?\n")
			y.shown("code=130")

			// Ctrl-Z stops the job; the shell goes on, and resumes it.
			y.typed("sh -c 'echo run''ning; read line; echo g''ot=$line'\n")
			y.shown("running")
			y.typed("\x1a")
			y.shown("Stopped")
			y.shown(prompt)
			y.typed("echo the shell go''es on\n")
			y.shown("the shell goes on")
			y.typed("fg\n")
			y.shown("read line") // the shell names the job
			y.typed("a line\n")
			y.shown("got=a line")
			y.shown(prompt)

			// A new size of the window is seen inside.
			y.resize(33, 101)
			y.typed("until [ \"$(stty size)\" = '33 101' ]; do :; done; echo re''sized\n")
			y.shown("resized")

			y.typed("exit 7\n")
			y.ends(cmd, 7)
		})
	}
}

// TestCtrlZStopsCloche: without a shell inside to take care of it, the caller's
// job stops, and has its terminal back until it goes on.
func TestCtrlZStopsCloche(t *testing.T) { asRootAndUser(t, ctrlZStopsCloche) }

func ctrlZStopsCloche(t *testing.T) {
	requireSandbox(t)
	y := newTTY(t)
	cmd := y.start("--", "sh", "-c", "echo run''ning; read line; echo g''ot=$line; exit 3")
	y.shown("running")
	y.raw()
	for range 2 { // once is no proof that it can be stopped again
		y.typed("\x1a")
		waitFor(t, "cloche to be stopped", func() bool { return stateOf(cmd.Process.Pid) == "T" })
		y.restored()
		if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "cloche to take the terminal back", func() bool { return y.termios().Lflag&unix.ICANON == 0 })
		// A SIGCONT on its way to the command takes back a SIGTSTP that comes before it.
		waitFor(t, "the command to go on", func() bool { return !stoppedBelow(cmd.Process.Pid) })
	}
	y.typed("a line\n")
	y.shown("got=a line")
	y.ends(cmd, 3)
}

// stoppedBelow reports whether a process that another one started is stopped.
func stoppedBelow(pid int) bool {
	return slices.ContainsFunc(inspect.Children(pid), func(child int) bool { return stateOf(child) == "T" || stoppedBelow(child) })
}

// TestTerminalIsRestored: whatever ends Cloche but SIGKILL, the caller's terminal
// is what it was.
func TestTerminalIsRestored(t *testing.T) { asRootAndUser(t, terminalIsRestored) }

func terminalIsRestored(t *testing.T) {
	requireSandbox(t)
	for _, s := range []syscall.Signal{
		syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGSEGV, syscall.SIGSYS, syscall.SIGPIPE,
		64,
	} {
		t.Run(fmt.Sprint(int(s)), func(t *testing.T) {
			y := newTTY(t)
			cmd := y.start("--rlimit", "core=0", "--", "sh", "-c", "echo run''ning; exec sleep 1000")
			y.shown("running")
			y.raw()
			if err := cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
			y.ends(cmd, 128+int(s))
		})
	}
	t.Run("time limit", func(t *testing.T) {
		y := newTTY(t)
		cmd := y.start("--wall-time", "1s", "--", "sleep", "1000")
		y.shown("cloche: the command was killed: it ran for 1s")
		y.ends(cmd, 137)
	})
	t.Run("no such command", func(t *testing.T) {
		y := newTTY(t)
		cmd := y.start("--", "no-such-command")
		y.shown("cloche: no-such-command: no such command")
		y.ends(cmd, 127)
	})
	t.Run("the command's own modes", func(t *testing.T) {
		y := newTTY(t)
		cmd := y.start("--", "sh", "-c", "stty -echo -icanon -opost && echo run''ning; read line")
		y.shown("running")
		y.typed("\n")
		y.ends(cmd, 0)
	})
}
