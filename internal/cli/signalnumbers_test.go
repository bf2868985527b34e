package cli_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Each signal there is, but for those that nobody can catch and SIGCHLD, is the
// command's; where Cloche stays beside it, but for those of Go's runtime too.
func TestEverySignalReachesTheCommand(t *testing.T) { asRootAndUser(t, everySignal) }

func everySignal(t *testing.T) {
	requireSandbox(t)
	for _, way := range ways {
		for s := syscall.Signal(1); s <= 64; s++ {
			if ignoredHere(t)&(1<<(s-1)) != 0 {
				continue // make(1) ignores 32 and 33, and what it starts inherits that
			}
			setup, want, goOn := "", 128+int(s), false
			if way.flags != nil && (s == syscall.SIGTTIN || s == syscall.SIGTTOU || s == syscall.SIGURG || s == syscall.SIGPROF || s >= 32 && s <= 34) {
				continue
			}
			switch s {
			case syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGCHLD:
				continue
			case syscall.SIGTSTP: // the caller's job stops too
				goOn = true
				fallthrough
			case syscall.SIGCONT, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGURG, syscall.SIGWINCH: // these end nothing
				setup, want = fmt.Sprintf("trap 'echo got it; exit 7' %d", int(s)), 7
			}
			t.Run(fmt.Sprintf("%s %d", way.name, int(s)), func(t *testing.T) {
				cmd, out := startReady(t, append([]string{"--rlimit", "core=0"}, way.flags...), setup)
				if way.flags != nil {
					time.Sleep(50 * time.Millisecond) // the rarer ones are asked for while the command runs
				}
				if err := cmd.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
				if way.flags != nil && !goOn {
					// On a busy machine that takes longer. A real-time signal that comes before is lost.
					ended := make(chan struct{})
					defer close(ended)
					go func() {
						for {
							select {
							case <-ended:
								return
							case <-time.After(50 * time.Millisecond):
								_ = cmd.Process.Signal(s) // of one that has just ended, an error
							}
						}
					}()
				}
				guard := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
				defer guard.Stop()
				if goOn {
					// A SIGCONT takes back a SIGTSTP that is still on its way.
					if line, err := out.ReadString('\n'); err != nil || line != "got it\n" {
						t.Fatalf("%q, %v", line, err)
					}
					waitFor(t, "cloche to be stopped", func() bool { return stateOf(cmd.Process.Pid) == "T" })
					if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
						t.Fatal(err)
					}
				}
				rest, _ := io.ReadAll(out)
				err := cmd.Wait()
				var ee *exec.ExitError
				if !errors.As(err, &ee) || ee.ExitCode() != want {
					t.Errorf("%v, want exit status %d; printed %q", err, want, rest)
				}
			})
		}
	}
}

// What the caller ignores is ignored by the command too: nohup(1) is made of that,
// and so are a shell's jobs in the background.
func TestIgnoredSignalsStayIgnored(t *testing.T) { asRootAndUser(t, ignoredSignals) }

func ignoredSignals(t *testing.T) {
	requireSandbox(t)
	// A shell executes this test, under the name that makes it cloche.
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "cloche")
	if err := os.Symlink(exe, link); err != nil {
		t.Fatal(err)
	}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			words := "exec \"$0\" \"$@\""
			run := append(append([]string{"run"}, way.flags...), "--", "sh", "-c", "for s in HUP INT TSTP TTIN TTOU; do kill -$s $$; done; echo on")
			cmd := exec.Command("sh", append([]string{"-c", "trap '' HUP INT TSTP TTIN TTOU; " + words, link}, run...)...)
			out, err := cmd.CombinedOutput()
			if err != nil || string(out) != "on\n" {
				t.Errorf("inside: %v, printed %q", err, out)
			}

			// Those that come from outside too.
			r := append(append([]string{"run"}, way.flags...), "--", "sh", "-c", "echo ready; sleep 0.4; echo on")
			cmd = exec.Command("sh", append([]string{"-c", "trap '' HUP INT; " + words, link}, r...)...)
			pipe, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ready := make([]byte, len("ready\n"))
			if _, err := io.ReadFull(pipe, ready); err != nil {
				t.Fatal(err)
			}
			for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT} {
				if err := cmd.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
			}
			rest, _ := io.ReadAll(pipe)
			if err := cmd.Wait(); err != nil || strings.TrimSpace(string(rest)) != "on" {
				t.Errorf("from outside: %v, printed %q", err, rest)
			}
		})
	}
	t.Run("not ignored", func(t *testing.T) {
		out, err := cloche("run", "--", "cat", "/proc/self/status").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if more := ignoredIn(t, out) &^ ignoredHere(t); more != 0 {
			t.Errorf("the command ignores what nobody asked it to: %#x", more)
		}
	})
}

// ignoredHere has bit n-1 set where the test itself was started with signal n ignored.
func ignoredHere(t *testing.T) uint64 {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	return ignoredIn(t, status)
}

// ignoredIn reads the field SigIgn of proc_pid_status(5).
func ignoredIn(t *testing.T, status []byte) uint64 {
	t.Helper()
	for line := range strings.Lines(string(status)) {
		if mask, ok := strings.CutPrefix(line, "SigIgn:"); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no SigIgn in /proc/self/status")
	return 0
}
