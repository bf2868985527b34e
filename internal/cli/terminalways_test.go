package cli_test

import (
	"fmt"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/named"
)

// sessions are the ways in which a command in a sandbox has the caller's terminal. Each begins
// with a command of its own that is called name, prints "running" and stays.
var sessions = []struct {
	verb  string
	begin func(t *testing.T, y *tty, name string) *exec.Cmd
}{
	{"run", func(t *testing.T, y *tty, name string) *exec.Cmd {
		return y.start(append([]string{"--name", name, "-it", "--"}, stays...)...)
	}},
	{"exec", func(t *testing.T, y *tty, name string) *exec.Cmd {
		background(t, name, "--", "sleep", "1000")
		return y.begin(cloche(append([]string{"exec", "-it", name, "--"}, stays...)...))
	}},
	{"attach", func(t *testing.T, y *tty, name string) *exec.Cmd {
		background(t, name, "-t", "--", "sh", "-c", `while :; do read line; eval "$line"; done`)
		cmd := y.begin(cloche("attach", name))
		y.typed("echo run''ning\n")
		return cmd
	}},
}

var stays = []string{"sh", "-c", "echo run''ning; while :; do read line; done"}

// TestTerminalAfterwards: whatever ends a session but SIGKILL of Cloche itself, the caller's terminal is what it was.
func TestTerminalAfterwards(t *testing.T) { asRootAndUser(t, terminalAfterwards) }

func terminalAfterwards(t *testing.T) {
	requireSandbox(t)
	t.Setenv(named.DirVariable, t.TempDir()+"/sandboxes")
	n := 0
	for _, s := range sessions {
		each := func(what string, code int, end func(t *testing.T, name string, cmd *exec.Cmd)) {
			n++
			name := s.verb + "-" + strconv.Itoa(n)
			t.Run(s.verb+" "+what, func(t *testing.T) {
				y := newTTY(t)
				cmd := s.begin(t, y, name)
				y.shown("running")
				y.raw()
				end(t, name, cmd)
				y.ends(cmd, code)
			})
		}
		// One of those that shells send, of the runtime's own, and of the rarer ones.
		signals := []syscall.Signal{syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGSEGV, 64}
		if s.verb == "run" {
			signals = nil // TestTerminalIsRestored
		}
		for _, sig := range signals {
			each(fmt.Sprint(int(sig)), 128+int(sig), func(t *testing.T, _ string, cmd *exec.Cmd) {
				if err := cmd.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
			})
		}
		each("sandbox killed", 137, func(t *testing.T, name string, _ *exec.Cmd) { ok(t, "kill", "-s", "KILL", "--all", name) })
		if s.verb != "attach" { // where it depends on what is removed first
			each("sandbox removed", 137, func(t *testing.T, name string, _ *exec.Cmd) { ok(t, "rm", "--force", name) })
		}
		if s.verb != "run" {
			code := 137
			if s.verb == "attach" {
				code = 125 // nobody is left to say how it ended
			}
			each("owner killed", code, func(t *testing.T, name string, _ *exec.Cmd) {
				box, err := named.Find(name)
				if err != nil {
					t.Fatal(err)
				}
				if err := unix.Kill(box.Owner.Pid, unix.SIGKILL); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

// TestAttachStops: who is attached stops as any other job does, gives the terminal back meanwhile, and goes on.
func TestAttachStops(t *testing.T) {
	requireSandbox(t)
	t.Setenv(named.DirVariable, t.TempDir()+"/sandboxes")
	background(t, "box", "-t", "--", "sh", "-c", "while :; do read line; echo g''ot $line; done")
	y := newTTY(t)
	cmd := y.begin(cloche("attach", "box"))
	for _, word := range []string{"one", "two"} {
		y.typed(word + "\n")
		y.shown("got " + word)
		y.raw()
		if err := cmd.Process.Signal(unix.SIGTSTP); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "cloche to be stopped", func() bool { return stateOf(cmd.Process.Pid) == "T" })
		y.restored()
		if err := cmd.Process.Signal(unix.SIGCONT); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "cloche to take the terminal back", func() bool { return y.termios().Lflag&unix.ICANON == 0 })
	}
	y.typed("three\n")
	y.shown("got three")
	y.typed("\x10\x11")
	y.ends(cmd, 0)
}
