package cli_test

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// startTop runs `cloche top` of this process as the leader of a session whose terminal this is.
func (y *tty) startTop(args ...string) *exec.Cmd {
	y.t.Helper()
	cmd := cloche(append([]string{"top", "--interval", "100ms"}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = y.slave, y.slave, y.slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	if err := cmd.Start(); err != nil {
		y.t.Fatal(err)
	}
	y.t.Cleanup(func() { _ = cmd.Process.Kill(); _, _ = cmd.Process.Wait() })
	return cmd
}

// TestTopLive types at the live table; however it ends, the terminal is what it was.
func TestTopLive(t *testing.T) {
	self := strconv.Itoa(os.Getpid())
	const keys, enter, leave = "q quit", "\x1b[?1049h", "\x1b[?1049l"
	t.Run("keys", func(t *testing.T) {
		y := newTTY(t)
		cmd := y.startTop(self)
		y.shown(enter)
		y.shown("by cpu")
		y.shown(self)
		y.shown(keys)
		y.typed("m")
		y.shown("by memory")
		y.typed("n")
		y.shown("by name")
		y.resize(5, 40) // a row for the head, one for the columns, one for the keys
		y.shown("\r\n" + keys)
		y.typed("q")
		y.shown(leave)
		y.ends(cmd, 0)
	})
	t.Run("Ctrl-C", func(t *testing.T) {
		y := newTTY(t)
		cmd := y.startTop(self)
		y.shown(keys)
		y.typed("\x03")
		y.shown(leave)
		y.ends(cmd, 128+int(unix.SIGINT))
	})
	t.Run("SIGTERM", func(t *testing.T) {
		y := newTTY(t)
		cmd := y.startTop(self)
		y.shown(keys)
		if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
		y.shown(leave)
		y.ends(cmd, 128+int(unix.SIGTERM))
	})
	t.Run("Ctrl-Z", func(t *testing.T) {
		y := newTTY(t)
		cmd := y.startTop(self)
		y.shown(keys)
		if err := cmd.Process.Signal(unix.SIGTSTP); err != nil { // by the key it would be an orphan's, and ignored
			t.Fatal(err)
		}
		waitFor(t, "cloche to be stopped", func() bool { return stateOf(cmd.Process.Pid) == "T" })
		y.shown(leave)
		y.restored()
		if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		y.shown(enter)
		y.shown(keys)
		y.typed("q")
		y.ends(cmd, 0)
	})
}
