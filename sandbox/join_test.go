package sandbox

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cloche-sandbox/cloche/policy"
)

// held starts a sandbox whose command waits until the test ends.
func held(t *testing.T, p *policy.Policy, script string) *Cmd {
	t.Helper()
	cmd := Command(context.Background(), p, "sh", "-c", script+"\necho ready; read x")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Kill()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q %v", line, err)
	}
	return cmd
}

func target(t *testing.T, cmd *Cmd) *Target {
	t.Helper()
	to, err := cmd.Target()
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// TestJoin: what joins sees the same files and processes, and is confined by the same.
func TestJoin(t *testing.T) {
	p, _ := policy.Builtin("default")
	cmd := held(t, p, "echo here > /tmp/file; sleep 100 &")
	to := target(t, cmd)
	join := func(args ...string) string {
		t.Helper()
		c := Join(context.Background(), to, args[0], args[1:]...)
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v: %s", args, err, out)
		}
		return string(out)
	}
	if got := join("cat", "/tmp/file"); got != "here\n" {
		t.Errorf("the file of the sandbox: %q", got)
	}
	if got := join("sh", "-c", "cat /proc/1/comm; readlink /proc/self/root; ls /proc | grep -c '^[0-9]'"); !strings.HasPrefix(got, "cloche\n/\n") {
		t.Errorf("pid 1 inside: %q", got)
	}
	const fields = "grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp|Seccomp_filters):' /proc/self/status; for n in user mnt pid net ipc uts cgroup; do readlink /proc/self/ns/$n; done; cat /proc/self/cgroup; pwd; ulimit -a; umask"
	own := held(t, p, "{ "+fields+"; } > /tmp/own")
	first, err := Join(context.Background(), target(t, own), "cat", "/tmp/own").Output()
	if err != nil {
		t.Fatal(err)
	}
	second, err := Join(context.Background(), target(t, own), "sh", "-c", fields).Output()
	if err != nil {
		t.Fatal(err)
	}
	if string(first) != string(second) {
		t.Errorf("the command and what joins differ:\n%s---\n%s", first, second)
	}
}

// TestJoinEnds: the exit status, signals, the end of the sandbox, and of the context.
func TestJoinEnds(t *testing.T) {
	p, _ := policy.Builtin("default")
	cmd := held(t, p, ":")
	to := target(t, cmd)
	var ee *ExitError
	if err := Join(context.Background(), to, "sh", "-c", "exit 7").Run(); !errors.As(err, &ee) || ee.ExitCode != 7 {
		t.Errorf("exit 7: %v", err)
	}
	if err := Join(context.Background(), to, "sh", "-c", "kill -TERM $$").Run(); !errors.As(err, &ee) || ee.Signal != syscall.SIGTERM {
		t.Errorf("SIGTERM: %v", err)
	}
	if err := Join(context.Background(), to, "/nothing").Run(); err == nil || !strings.Contains(err.Error(), "no such command inside") {
		t.Errorf("a command that is not there: %v", err)
	}
	c := Join(context.Background(), to, "sleep", "100")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := c.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); !errors.As(err, &ee) || ee.Signal != syscall.SIGUSR1 {
		t.Errorf("SIGUSR1: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c = Join(ctx, to, "sh", "-c", "echo $$ > /tmp/pid; exec sleep 100")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	cancel()
	if err := c.Wait(); !errors.As(err, &ee) || ee.Reason != Canceled {
		t.Errorf("canceled: %v", err)
	}
	if out, err := Join(context.Background(), to, "sh", "-c", "kill -0 $(cat /tmp/pid) 2>&1; echo $?").Output(); err != nil || strings.HasSuffix(string(out), "0\n") {
		t.Errorf("a canceled command lives on: %q %v", out, err)
	}

	// The sandbox ends: what joined ends with it.
	c = Join(context.Background(), to, "sleep", "100")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); !errors.As(err, &ee) || ee.Signal != syscall.SIGKILL {
		t.Errorf("after the sandbox's end: %v", err)
	}
	_ = cmd.Wait()
	if err := Join(context.Background(), to, "true").Run(); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("into one that has ended: %v", err)
	}
}

// TestJoinProcess joins by what /proc tells of a process alone.
func TestJoinProcess(t *testing.T) {
	p, _ := policy.Builtin("default")
	cmd := held(t, p, "echo here > /tmp/file")
	to, err := OfProcess(target(t, cmd).PID)
	if err != nil {
		t.Fatal(err)
	}
	if len(to.Notes) != 1 || to.Policy.Seccomp != "docker" {
		t.Errorf("the filter is replaced: %q %q", to.Policy.Seccomp, to.Notes)
	}
	out, err := Join(context.Background(), to, "sh", "-c", "cat /tmp/file; grep CapEff /proc/self/status; id -u").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !strings.HasPrefix(string(out), "here\nCapEff:\t0000000000000000\n") {
		t.Errorf("%s", out)
	}
	if _, err := OfProcess(1 << 22); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("no such process: %v", err)
	}
}
