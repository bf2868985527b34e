package engines

import (
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/console"
)

// terminal is a command of a machine's with somebody at a terminal.
type terminal struct {
	t    testing.TB
	cmd  *exec.Cmd
	pty  console.Console
	mu   sync.Mutex
	seen strings.Builder
	done chan error
}

// onTerminal starts a command at a terminal of 100 columns and 30 rows.
func (m *machine) onTerminal(t testing.TB, argv ...string) *terminal {
	t.Helper()
	pty, path, err := console.NewPty()
	if err != nil {
		t.Fatal(err)
	}
	if err := pty.Resize(console.WinSize{Width: 100, Height: 30}); err != nil {
		t.Fatal(err)
	}
	slave, err := openTerminal(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), enough)
	x := &terminal{t: t, pty: pty, cmd: m.command(ctx, argv...), done: make(chan error, 1)}
	x.cmd.Stdin, x.cmd.Stdout, x.cmd.Stderr = slave, slave, slave
	x.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err = x.cmd.Start()
	slave.Close()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer cancel()
		_, _ = io.Copy(x, pty)
	}()
	go func() { x.done <- x.cmd.Wait() }()
	t.Cleanup(func() { _ = x.cmd.Process.Kill(); pty.Close() })
	return x
}

func (x *terminal) Write(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.seen.Write(p)
}

func (x *terminal) text() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.seen.String()
}

// types types a line, and waits until something is shown.
func (x *terminal) types(keys, until string) {
	x.t.Helper()
	if _, err := io.WriteString(x.pty, keys); err != nil {
		x.t.Fatal(err)
	}
	x.shows(until)
}

func (x *terminal) shows(what string) {
	x.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(x.text(), what); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			x.t.Fatalf("the terminal never showed %q, but:\n%s", what, x.text())
		}
	}
}

// ends waits for the command, and returns its exit code.
func (x *terminal) ends() int {
	x.t.Helper()
	select {
	case <-x.done:
	case <-time.After(20 * time.Second):
		x.t.Fatalf("the command at the terminal goes on:\n%s", x.text())
	}
	return x.cmd.ProcessState.ExitCode()
}

// session is what everyone does at a shell in a container: the terminal's size, a change of
// it, a job that Ctrl-C ends, an exit code.
func (x *terminal) session() {
	x.t.Helper()
	x.begins()
	if err := x.pty.Resize(console.WinSize{Width: 90, Height: 25}); err != nil {
		x.t.Fatal(err)
	}
	if err := syscall.Kill(x.cmd.Process.Pid, syscall.SIGWINCH); err != nil {
		x.t.Fatal(err)
	}
	x.types("until stty size | grep '^25 90'; do sleep 0.1; done; echo re''sized\n", "resized")
	x.leaves()
}

func (x *terminal) begins() {
	x.t.Helper()
	x.types("tty; echo be''gun\n", "begun")
	if !strings.Contains(x.text(), "/dev/pts/") && !strings.Contains(x.text(), "/dev/console") {
		x.t.Errorf("no terminal of the container's own:\n%s", x.text())
	}
	x.types("until stty size | grep '^30 100'; do sleep 0.1; done; echo si''zed\n", "sized")
}

func (x *terminal) leaves() {
	x.t.Helper()
	x.types("sleep 600; echo code $?\n", "sleep 600")
	time.Sleep(300 * time.Millisecond) // for the shell to have started it
	x.types("\x03", "^C")
	x.types("\necho a''live\n", "alive")
	x.types("exit 7\n", "exit 7")
	if code := x.ends(); code != 7 {
		x.t.Errorf("exit code %d of a shell that ended with 7:\n%s", code, x.text())
	}
}

// openTerminal opens a terminal without taking it as the tests' own.
func openTerminal(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|syscall.O_NOCTTY, 0)
}
