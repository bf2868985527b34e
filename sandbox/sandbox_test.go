package sandbox_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/sandbox"

	"github.com/cloche-sandbox/cloche/internal/needs"
)

func TestOutput(t *testing.T) {
	if got := output(t, defaults(t), "sh", "-c", "echo $$; pwd; echo $HOME; hostname"); !strings.HasSuffix(got, "/tmp\ncloche\n") {
		t.Errorf("got %q", got)
	}
}

func TestStreams(t *testing.T) {
	c := sandbox.Command(context.Background(), defaults(t), "sh", "-c", "cat; echo oops >&2; cat <&3")
	var out, errOut bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader("hello\n"), &out, &errOut
	extra, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer extra.Close()
	io.WriteString(extra, "third\n")
	extra.Seek(0, 0)
	c.ExtraFiles = []*os.File{extra}
	if err := c.Run(); err != nil {
		t.Fatal(err, errOut.String())
	}
	if out.String() != "hello\nthird\n" || errOut.String() != "oops\n" {
		t.Errorf("stdout %q, stderr %q", out.String(), errOut.String())
	}
}

func TestPipes(t *testing.T) {
	c := sandbox.Command(context.Background(), defaults(t), "tr", "a-z", "A-Z")
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	io.WriteString(in, "quiet")
	in.Close()
	got, err := io.ReadAll(out)
	if err != nil || string(got) != "QUIET" {
		t.Errorf("got %q, %v", got, err)
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}

// TestEnds holds the ways a command can end: reason, exit code, signal.
func TestEnds(t *testing.T) {
	for _, test := range []struct {
		script string
		reason sandbox.Reason
		code   int
	}{
		{"exit 0", sandbox.Exited, 0},
		{"exit 3", sandbox.Exited, 3},
		{"kill -TERM $$", sandbox.Signaled, 128 + 15},
		{"kill -KILL $$", sandbox.Signaled, 128 + 9},
		{"kill -KILL 1; exit 4", sandbox.Exited, 4},    // pid 1 is deaf to what is inside
		{"kill -TERM 1; exit 5", sandbox.Exited, 5},    // and passes nothing of it on
		{"sleep 1000 & exit 6", sandbox.Exited, 6},     // what stays behind ends with it
		{"(sleep 1000 &) ; exit 7", sandbox.Exited, 7}, // orphans too
	} {
		c := sandbox.Command(context.Background(), defaults(t), "sh", "-c", test.script)
		err := c.Run()
		r := c.Result()
		if r == nil {
			t.Fatalf("%s: %v", test.script, err)
		}
		if r.Reason != test.reason || r.ExitCode != test.code {
			t.Errorf("%s: %s %d (%v), want %s %d", test.script, r.Reason, r.ExitCode, err, test.reason, test.code)
		}
		if (err == nil) != (test.code == 0) {
			t.Errorf("%s: error %v", test.script, err)
		}
	}
}

func TestNotFound(t *testing.T) {
	for name, errno := range map[string]error{"no-such-command": syscall.ENOENT, "/etc": syscall.EACCES, "/etc/passwd": syscall.EACCES} {
		err := sandbox.Command(context.Background(), defaults(t), name).Run()
		if !errors.Is(err, errno) {
			t.Errorf("%s: %v, want %v", name, err, errno)
		}
	}
}

func TestSignal(t *testing.T) {
	c := sandbox.Command(context.Background(), defaults(t), "sh", "-c", "trap 'exit 9' USR1; echo ready; while :; do sleep 0.01; done")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	io.ReadFull(out, make([]byte, 6))
	if err := c.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	c.Wait()
	if r := c.Result(); r.ExitCode != 9 {
		t.Errorf("%+v", r)
	}
	if err := c.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal after the end: %v", err)
	}
}

func TestContextEndsAll(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := sandbox.Command(ctx, defaults(t), "sh", "-c", "sleep 1000 & echo it runs; sleep 1000")
	c.Stdout = writerFunc(func(p []byte) (int, error) {
		cancel()
		return len(p), nil
	})
	start := time.Now()
	err := c.Run()
	if r := c.Result(); r == nil || r.Reason != sandbox.Canceled || time.Since(start) > 30*time.Second {
		t.Errorf("%+v, %v, after %v", r, err, time.Since(start))
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestWallTime(t *testing.T) {
	c := sandbox.Command(context.Background(), with(t, defaults(t), "wall-time", "1s"), "sleep", "1000")
	c.Run()
	if r := c.Result(); r.Reason != sandbox.WallTime || r.Limit != "time.wall" {
		t.Errorf("%+v", r)
	}
}

func TestOutputLimit(t *testing.T) {
	c := sandbox.Command(context.Background(), with(t, defaults(t), "max-output", "10K"), "yes")
	var out bytes.Buffer
	c.Stdout = &out
	c.Run()
	if r := c.Result(); r.Reason != sandbox.Output || out.Len() != 10<<10 || r.OutputBytes != 10<<10 {
		t.Errorf("%+v, %d bytes", r, out.Len())
	}
}

func TestCPUTime(t *testing.T) {
	p := limited(t, defaults(t), "cpu-time", "200ms")
	c := sandbox.Command(context.Background(), p, "sh", "-c", "while :; do :; done & while :; do :; done")
	c.Run()
	r := c.Result()
	if r.Reason != sandbox.CPUTime || r.UserTime+r.SystemTime < 150*time.Millisecond || r.UserTime+r.SystemTime > 10*time.Second {
		t.Errorf("%v: user %v, system %v", r, r.UserTime, r.SystemTime)
	}
}

func TestMemoryLimit(t *testing.T) {
	needs.Programs(t, "python3")
	p := limited(t, defaults(t), "memory", "64M")
	c := sandbox.Command(context.Background(), p, "/usr/bin/python3", "-c", "x = bytearray(500 << 20)")
	c.Run()
	r := c.Result()
	if r.Reason != sandbox.Memory || r.OOMKills < 1 || r.PeakMemory > 70<<20 {
		t.Errorf("%+v", r)
	}
}

func TestPidsLimit(t *testing.T) {
	p := limited(t, defaults(t), "pids", "5")
	c := sandbox.Command(context.Background(), p, "sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait")
	out, _ := c.CombinedOutput()
	if !strings.Contains(string(out), "fork") && !strings.Contains(string(out), "Resource") {
		t.Errorf("eight children under a limit of five: %q", out)
	}
}

func TestFilterKill(t *testing.T) {
	c := sandbox.Command(context.Background(), with(t, defaults(t), "seccomp", "strict"), "sh", "-c", "true & wait")
	c.Run()
	if r := c.Result(); r.Reason != sandbox.Syscall || r.ExitCode != 128+int(syscall.SIGSYS) {
		t.Errorf("%+v", r)
	}
}

func TestErrorsTeach(t *testing.T) {
	p := with(t, defaults(t), "read", "/no/such/place")
	err := sandbox.Command(context.Background(), p, "true").Run()
	if err == nil || !strings.Contains(err.Error(), "/no/such/place does not exist") || !strings.Contains(err.Error(), "--read /no/such/place") {
		t.Errorf("%v", err)
	}
	if err := sandbox.Command(context.Background(), nil, "true").Run(); err == nil {
		t.Error("no policy is no error")
	}
	if err := sandbox.Command(context.Background(), defaults(t), "").Run(); err == nil {
		t.Error("no command is no error")
	}
}

// TestPolicyChanged: what is kept of earlier sandboxes is never taken for
// another's, also when the caller changes the policy in place.
func TestPolicyChanged(t *testing.T) {
	p := defaults(t)
	dir := t.TempDir()
	hidden := filepath.Join(dir, "hidden")
	if err := os.WriteFile(hidden, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	run := func() string {
		c := sandbox.Command(context.Background(), p, "sh", "-c", "hostname; cat hidden 2>/dev/null || echo nothing")
		c.Dir = dir
		out, err := c.Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	for range 2 {
		if got := run(); got != "cloche\nx" {
			t.Fatalf("%q", got)
		}
	}
	p.Hostname = "other"
	p.Mounts = append(p.Mounts, policy.Mount{Kind: policy.Hide, Path: hidden})
	for range 2 {
		if got := run(); got != "other\nnothing\n" {
			t.Fatalf("after a change: %q", got)
		}
	}
	// What was there when the image was made is gone.
	p.Mounts = p.Mounts[:len(p.Mounts)-1]
	if err := os.Remove(hidden); err != nil {
		t.Fatal(err)
	}
	p.Mounts = append(p.Mounts, policy.Mount{Kind: policy.Hide, Path: hidden, Optional: true})
	if got := run(); got != "other\nnothing\n" {
		t.Fatalf("without the file: %q", got)
	}
}
