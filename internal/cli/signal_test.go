package cli_test

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ways are the two in which a command runs: with Cloche gone, and beside it.
var ways = []struct {
	name  string
	flags []string
}{
	{"in place", nil},
	{"supervised", []string{"--wall-time", "1m"}},
}

// A signal that Cloche gets is the command's.
func TestSignalsReachTheCommand(t *testing.T) { asRootAndUser(t, signalsReachTheCommand) }

func signalsReachTheCommand(t *testing.T) {
	requireSandbox(t)
	for _, way := range ways {
		for _, s := range []struct {
			name   string
			signal syscall.Signal
		}{{"HUP", syscall.SIGHUP}, {"INT", syscall.SIGINT}, {"QUIT", syscall.SIGQUIT}, {"TERM", syscall.SIGTERM}, {"USR1", syscall.SIGUSR1}} {
			t.Run(way.name+" "+s.name, func(t *testing.T) {
				cmd, out := startReady(t, way.flags, `trap 'echo got `+s.name+`; exit 7' `+s.name)
				if err := cmd.Process.Signal(s.signal); err != nil {
					t.Fatal(err)
				}
				rest, _ := io.ReadAll(out)
				err := cmd.Wait()
				var ee *exec.ExitError
				if !errors.As(err, &ee) || ee.ExitCode() != 7 || !strings.Contains(string(rest), "got "+s.name) {
					t.Errorf("%v, printed %q", err, rest)
				}
			})
		}
	}
}

// A stopped Cloche is a stopped command, and both go on together.
func TestStopAndContinue(t *testing.T) { asRootAndUser(t, stopAndContinue) }

func stopAndContinue(t *testing.T) {
	requireSandbox(t)
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			cmd, out := startReady(t, way.flags, `trap 'echo on; exit 3' USR1`)
			if err := cmd.Process.Signal(syscall.SIGTSTP); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "cloche to be stopped", func() bool { return stateOf(cmd.Process.Pid) == "T" })
			for _, s := range []syscall.Signal{syscall.SIGCONT, syscall.SIGUSR1} {
				if err := cmd.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
			}
			rest, _ := io.ReadAll(out)
			var ee *exec.ExitError
			if err := cmd.Wait(); !errors.As(err, &ee) || ee.ExitCode() != 3 {
				t.Errorf("%v, printed %q", err, rest)
			}
		})
	}
}

// SIGKILL gives Cloche no time for anything: the sandbox ends all the same.
func TestKilledClocheLeavesNothing(t *testing.T) { asRootAndUser(t, killedClocheLeavesNothing) }

func killedClocheLeavesNothing(t *testing.T) {
	requireSandbox(t)
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			mark := "cloche-test-" + filepath.Base(t.TempDir()) + strings.ReplaceAll(way.name, " ", "-")
			cmd, out := startReady(t, way.flags, `sh -c 'while :; do sleep 0.05; done' `+mark+` &`)
			if n := running(mark); n == 0 {
				t.Fatal("the command does not run")
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			_, _ = io.ReadAll(out) // ends when the last process that holds it does
			waitFor(t, "its processes to be gone", func() bool { return len(marked(mark)) == 0 })
			cleanedByTheNext(t, way.flags, cmd.Process.Pid)
		})
	}
}

// The moment may be any of the set-up.
func TestKilledAtAnyMoment(t *testing.T) { asRootAndUser(t, killedAtAnyMoment) }

func killedAtAnyMoment(t *testing.T) {
	requireSandbox(t)
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			mark := "cloche-test-" + filepath.Base(t.TempDir()) + strings.ReplaceAll(way.name, " ", "-")
			var killed []int
			for i := range 16 {
				cmd := cloche(append(append([]string{"run"}, way.flags...), "--", "sh", "-c", "while :; do sleep 0.05; done", mark)...)
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Duration(i) * 500 * time.Microsecond)
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
				killed = append(killed, cmd.Process.Pid)
			}
			waitFor(t, "their processes to be gone", func() bool { return len(marked(mark)) == 0 })
			cleanedByTheNext(t, way.flags, killed...)
		})
	}
}

// cleanedByTheNext runs a sandbox, and looks for cgroups that killed ones left. A group
// whose last process is still dying is left for the run after.
func cleanedByTheNext(t *testing.T, flags []string, pids ...int) {
	t.Helper()
	waitFor(t, "the next run to take the cgroups of killed ones away", func() bool {
		if out, err := cloche(append(append([]string{"run"}, flags...), "--", "true")...).CombinedOutput(); err != nil {
			t.Fatalf("the next run: %v: %s", err, out)
		}
		return !slices.ContainsFunc(pids, func(pid int) bool { return len(groupsOf(pid)) > 0 })
	})
}

// groupsOf lists the cgroups that a process has made.
func groupsOf(pid int) (all []string) {
	for _, depth := range []string{"", "*/", "*/*/", "*/*/*/"} {
		groups, _ := filepath.Glob("/sys/fs/cgroup/" + depth + "cloche-" + strconv.Itoa(pid) + "-*")
		all = append(all, groups...)
	}
	return all
}

// startReady starts a shell in a sandbox that has carried out set-up, and waits.
func startReady(t *testing.T, flags []string, setup string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	cmd := cloche(append(append([]string{"run"}, flags...), "--", "sh", "-c", setup+"\necho ready; while :; do sleep 0.05; done")...)
	r, w, err := os.Pipe() // not StdoutPipe: Wait would close it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	cmd.Stdout, cmd.Stderr = w, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	out := bufio.NewReader(r)
	if line, err := out.ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	return cmd, out
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("waited in vain for %s", what)
}

// stateOf is the letter of a process's state, proc_pid_stat(5).
func stateOf(pid int) string {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	_, after, _ := strings.Cut(string(data), ") ")
	return after[:min(1, len(after))]
}

// running counts the processes that have mark among their arguments, but for
// Cloche's own: itself, and what it set up.
func running(mark string) int {
	n := 0
	for _, arguments := range marked(mark) {
		if !strings.Contains(arguments, "cloche\x00run") {
			n++
		}
	}
	return n
}

// marked are the arguments of the processes that have mark among them.
func marked(mark string) (all []string) {
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range names {
		if data, err := os.ReadFile(f); err == nil && strings.Contains(string(data), mark) {
			all = append(all, string(data))
		}
	}
	return all
}
