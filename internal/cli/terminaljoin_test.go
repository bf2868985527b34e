package cli_test

import (
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/named"
	"github.com/cloche-sandbox/cloche/internal/needs"
)

// TestExecTerminal drives a shell that joins a sandbox, in a terminal of its own.
func TestExecTerminal(t *testing.T) { asRootAndUser(t, execTerminal) }

func execTerminal(t *testing.T) {
	requireSandbox(t)
	t.Setenv(named.DirVariable, t.TempDir()+"/sandboxes")
	if out, err := cloche("run", "--name", "box", "--detach", "--", "sleep", "1000").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := cloche("rm", "--force", "box").CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	for _, shell := range shells {
		t.Run(shell.name, func(t *testing.T) {
			if _, err := exec.LookPath(shell.args[0]); err != nil {
				needs.Skip(t, "needs "+shell.args[0])
			}
			y := newTTY(t)
			cmd := y.begin(cloche(append([]string{"exec", "-it", "--env", "PS1=" + prompt, "box", "--"}, shell.args...)...))
			y.shown(prompt)
			y.raw()
			y.typed("set -m; tty; stty size; cat /proc/1/comm\n")
			y.shown("/dev/pts/0\r\n")
			y.shown("21 77\r\n")
			y.shown("cloche\r\n")
			y.typed("sh -c 'echo run''ning; exec sleep 1000'\n")
			y.shown("running")
			y.typed("\x03")
			y.shown(prompt)
			y.typed("echo code=$?\n")
			y.shown("code=130")
			y.typed("sh -c 'echo run''ning; read line; echo g''ot=$line'\n")
			y.shown("running")
			y.typed("\x1a")
			y.shown("Stopped")
			y.shown(prompt)
			y.typed("fg\n")
			y.shown("read line")
			y.typed("a line\n")
			y.shown("got=a line")
			y.shown(prompt)
			y.typed("sh -c 'echo run''ning; exec sleep 1000'\n")
			y.shown("running")
			y.typed("\x1c") // Ctrl-\
			y.shown("Quit")
			y.resize(33, 101)
			y.typed("until [ \"$(stty size)\" = '33 101' ]; do :; done; echo re''sized\n")
			y.shown("resized")
			y.typed("exit 7\n")
			y.ends(cmd, 7)
		})
	}

	// Without a shell inside to take care of it, the caller's job stops.
	y := newTTY(t)
	cmd := y.begin(cloche("exec", "-it", "box", "--", "sh", "-c", "echo run''ning; read line; echo g''ot=$line; exit 3"))
	y.shown("running")
	y.typed("\x1a")
	waitFor(t, "cloche to be stopped", func() bool { return stateOf(cmd.Process.Pid) == "T" })
	y.restored()
	// A stopped exec keeps nobody from using the sandbox.
	if out, err := cloche("exec", "box", "--", "true").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if err := cmd.Process.Signal(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "cloche to take the terminal back", func() bool { return y.termios().Lflag&unix.ICANON == 0 })
	y.typed("a line\n")
	y.shown("got=a line")
	y.ends(cmd, 3)
}

// TestStoppedExec: a sandbox ends while what joined it has a supervisor that is stopped.
func TestStoppedExec(t *testing.T) { asRootAndUser(t, stoppedExec) }

func stoppedExec(t *testing.T) {
	requireSandbox(t)
	t.Setenv(named.DirVariable, t.TempDir()+"/sandboxes")
	if out, err := cloche("run", "--name", "box", "--detach", "--", "sleep", "1000").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := cloche("exec", "box", "--", "sh", "-c", "echo running; exec sleep 1000")
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the command that joins", func() bool {
		b, err := cloche("ps", "--format", "{{.Processes}}").CombinedOutput()
		return err == nil && strings.TrimSpace(string(b)) >= "3"
	})
	if err := cmd.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if out, err := cloche("stop", "--time", "1s", "box").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := cloche("ps", "--format", "{{.State}}").CombinedOutput(); string(out) != "ended\n" {
		t.Errorf("%v: %q", err, out)
	}
	if err := cmd.Process.Signal(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 137 {
		t.Errorf("%v, want exit status 137", err)
	}
}
