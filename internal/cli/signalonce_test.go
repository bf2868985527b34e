package cli_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cloche-sandbox/cloche/internal/named"
	"github.com/cloche-sandbox/cloche/internal/needs"
)

// catcherSource prints the number of each signal that it gets, also of those that nobody catches
// and of the C library's own.
const catcherSource = `
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void) {
	uint64_t all = ~0ull;
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, &all, 0, 8);
	puts("0");
	for (;;) {
		fflush(stdout);
		long n = syscall(SYS_rt_sigtimedwait, &all, 0, 0, 8);
		if (n > 0)
			printf("%ld\n", n);
	}
}
`

func buildCatcher(t *testing.T) string {
	t.Helper()
	needs.Programs(t, "gcc")
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/catcher.c", []byte(catcherSource), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("gcc", "-o", dir+"/catcher", dir+"/catcher.c").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir + "/catcher"
}

// catcher is a cloche whose command is the program.
type catcher struct {
	t      *testing.T
	cmd    *exec.Cmd
	mu     sync.Mutex
	caught []int
	more   chan struct{} // has one in it when there is more in caught
	ended  chan struct{} // when nobody holds its stdout any more
}

func catch(t *testing.T, args ...string) *catcher {
	t.Helper()
	c := &catcher{t: t, cmd: cloche(args...), more: make(chan struct{}, 1), ended: make(chan struct{})}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.cmd.Stdout, c.cmd.Stderr = w, os.Stderr
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() { _ = c.cmd.Process.Kill(); _ = c.cmd.Wait() })
	go func() {
		defer close(c.ended)
		defer r.Close()
		for lines := bufio.NewScanner(r); lines.Scan(); {
			n, _ := strconv.Atoi(lines.Text())
			c.mu.Lock()
			c.caught = append(c.caught, n)
			c.mu.Unlock()
			select {
			case c.more <- struct{}{}:
			default: // it has not been looked at yet
			}
		}
	}()
	c.gets(0)
	return c
}

// count is how often the command has got a signal.
func (c *catcher) count(n int) (times int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.caught {
		if m == n {
			times++
		}
	}
	return times
}

func (c *catcher) gets(n int) {
	c.t.Helper()
	c.getsTimes(n, 1)
}

// getsTimes waits until the command has got a signal so many times.
func (c *catcher) getsTimes(n, times int) {
	c.t.Helper()
	for late := time.After(longPatience); c.count(n) < times; {
		select {
		case <-c.more:
		case <-late:
			c.t.Fatalf("waited in vain for signal %d", n)
		}
	}
}

func (c *catcher) send(n int) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(syscall.Signal(n)); err != nil {
		c.t.Fatalf("signal %d: %v", n, err)
	}
}

// once waits for its end and checks that the command got each of these signals once, SIGCONT so
// many times, and no other.
func (c *catcher) once(want []int, continued int) {
	c.t.Helper()
	select {
	case <-c.ended:
	case <-time.After(longPatience):
		c.t.Fatal("the command does not end")
	}
	_ = c.cmd.Wait()
	for n := 1; n <= 64; n++ {
		expected := 0
		switch {
		case n == int(syscall.SIGCONT):
			expected = continued
		case slices.Contains(want, n):
			expected = 1
		}
		if got := c.count(n); got != expected {
			c.t.Errorf("signal %d reached the command %d times, want %d", n, got, expected)
		}
	}
}

// TestKillOnce: each signal there is goes from `cloche kill` to the command once.
func TestKillOnce(t *testing.T) {
	requireSandbox(t)
	t.Setenv(named.DirVariable, t.TempDir()+"/sandboxes")
	program := buildCatcher(t)
	c := catch(t, "run", "--name", "box", "--read", filepath.Dir(program), "--", program)
	names := map[int]string{1: "HUP", 2: "SIGINT", 15: "term", 34: "RTMIN", 37: "SIGRTMIN+3", 62: "rtmax-2", 64: "RTMAX"}
	var all []int
	for n := 1; n <= 64; n++ {
		if n == int(syscall.SIGKILL) || n == int(syscall.SIGSTOP) {
			continue
		}
		name := names[n]
		if name == "" {
			name = strconv.Itoa(n)
		}
		ok(t, "kill", "-s", name, "box")
		c.gets(n) // SIGCONT and those that stop take each other back
		all = append(all, n)
	}

	// Nobody can catch SIGSTOP: the command stops, and its supervisor does not.
	box, err := named.Find("box")
	if err != nil {
		t.Fatal(err)
	}
	command, err := box.Command()
	if err != nil {
		t.Fatal(err)
	}
	ok(t, "kill", "-s", "STOP", "box")
	eventually(t, "the command to stop", func() bool { return stateOf(command.Pid) == "T" })
	if state := stateOf(c.cmd.Process.Pid); state == "T" {
		t.Error("cloche run stands still too")
	}
	ok(t, "kill", "-s", "KILL", "box")
	c.once(all, 1)
	if code := c.cmd.ProcessState.ExitCode(); code != 137 {
		t.Errorf("exit status %d, want 137", code)
	}
}

// TestPassedOnOnce: each signal that Cloche passes on reaches the command once, and its exceptions are those of docs/commands.md.
func TestPassedOnOnce(t *testing.T) { asRootAndUser(t, passedOnOnce) }

func passedOnOnce(t *testing.T) {
	requireSandbox(t)
	t.Setenv(named.DirVariable, t.TempDir()+"/sandboxes")
	program := buildCatcher(t)
	dir := filepath.Dir(program)
	background(t, "other", "--read", dir, "--", "sleep", "1000")
	for _, way := range []struct {
		name string
		args []string
		in   bool // place
	}{
		{"run in place", []string{"run", "--read", dir, "--", program}, true},
		{"run", []string{"run", "--name", "box", "--read", dir, "--", program}, false},
		{"exec", []string{"exec", "other", "--", program}, false},
	} {
		t.Run(way.name, func(t *testing.T) {
			kept := []int{int(syscall.SIGURG), int(syscall.SIGPROF), 33}
			stops := []int{int(syscall.SIGTTIN), int(syscall.SIGTTOU)}
			fatal := []int{32, 34}
			if way.in {
				kept, fatal, stops = nil, nil, nil
			}
			c := catch(t, way.args...)
			if !way.in {
				// The rarer ones are asked for when the command runs already.
				eventually(t, "cloche to ask for all signals", func() bool {
					status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
					return err == nil && catches(string(status), 64) && catches(string(status), int(syscall.SIGWINCH))
				})
			}
			var want []int
			for n := 1; n <= 64; n++ {
				switch {
				case n == int(syscall.SIGKILL), n == int(syscall.SIGSTOP), n == int(syscall.SIGCHLD), n == int(syscall.SIGCONT):
				case ignoredHere(t)&(1<<(n-1)) != 0, slices.Contains(fatal, n):
				case n == int(syscall.SIGTSTP), slices.Contains(stops, n):
				case slices.Contains(kept, n):
					c.send(n)
				default:
					c.send(n)
					c.gets(n)
					want = append(want, n)
				}
			}
			// Those that stop Cloche itself. SIGTTIN and SIGTTOU are not passed on where it stays.
			want = append(want, int(syscall.SIGTSTP))
			c.send(int(syscall.SIGTSTP))
			c.gets(int(syscall.SIGTSTP))
			eventually(t, "cloche to be stopped", func() bool { return stateOf(c.cmd.Process.Pid) == "T" })
			c.send(int(syscall.SIGCONT))
			c.gets(int(syscall.SIGCONT))
			continued := 1
			for _, n := range stops {
				c.send(n)
				c.send(int(syscall.SIGCONT))
				continued++
				c.getsTimes(int(syscall.SIGCONT), continued)
			}
			// SIGKILL ends the command with Cloche.
			c.send(int(syscall.SIGKILL))
			c.once(want, continued)

			for _, n := range fatal {
				if ignoredHere(t)&(1<<(n-1)) != 0 {
					continue // make(1) ignores 32 and 33, and what it starts inherits that
				}
				c := catch(t, way.args...)
				c.send(n)
				c.once(nil, 0)
				if ws, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !ws.Signaled() || int(ws.Signal()) != n {
					t.Errorf("signal %d: %v", n, c.cmd.ProcessState)
				}
			}
		})
	}

	// SIGSTOP stops cloche alone.
	c := catch(t, "run", "--name", "box", "--read", dir, "--", program)
	c.send(int(syscall.SIGSTOP))
	eventually(t, "cloche to be stopped", func() bool { return stateOf(c.cmd.Process.Pid) == "T" })
	ok(t, "kill", "-s", "USR1", "box")
	c.gets(int(syscall.SIGUSR1))
	c.send(int(syscall.SIGCONT))
	c.gets(int(syscall.SIGCONT))
	ok(t, "kill", "-s", "KILL", "box")
	c.once([]int{int(syscall.SIGUSR1)}, 1)
}

// catches reads SigCgt of proc_pid_status(5).
func catches(status string, n int) bool {
	_, after, _ := strings.Cut(status, "\nSigCgt:")
	line, _, _ := strings.Cut(after, "\n")
	mask, _ := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
	return mask&(1<<(n-1)) != 0
}
