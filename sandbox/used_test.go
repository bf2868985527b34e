package sandbox_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/sandbox"

	"github.com/cloche-sandbox/cloche/internal/needs"
)

// busy takes 64 MiB in a grandchild of pid 1 and calculates for ever.
const busy = `/usr/bin/python3 -c '
x = bytearray(64 << 20)
print("ready", flush=True)
while True: pass' & wait`

// TestUsedWhenKilled: nobody waits for the processes of a sandbox that is
// killed as a whole, and no cgroup counts.
func TestUsedWhenKilled(t *testing.T) {
	needs.Programs(t, "python3")
	uncounted := func() *policy.Policy {
		p := defaults(t)
		p.Limits = policy.Limits{}
		return p
	}
	atLeast := func(t *testing.T, r *sandbox.Result, reason sandbox.Reason) {
		t.Helper()
		cpu := r.UserTime + r.SystemTime
		if r.Reason != reason || r.UserTime < 10*time.Millisecond || cpu > 2*r.WallTime || r.PeakMemory < 64<<20 || r.PeakMemory > 1<<30 {
			t.Errorf("%+v", r)
		}
	}
	t.Run("wall time", func(t *testing.T) {
		t.Parallel()
		c := command(t, with(t, uncounted(), "wall-time", "2s"), "sh", "-c", busy)
		c.Run()
		atLeast(t, c.Result(), sandbox.WallTime)
	})
	t.Run("context", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		c := sandbox.Command(ctx, uncounted(), "sh", "-c", busy)
		c.Run()
		atLeast(t, c.Result(), sandbox.Canceled)
	})
	t.Run("no init", func(t *testing.T) {
		t.Parallel()
		c := command(t, with(t, uncounted(), "wall-time", "2s", "no-init", ""), "sh", "-c", busy)
		c.Run()
		atLeast(t, c.Result(), sandbox.WallTime)
	})
	unknown := func(t *testing.T, r *sandbox.Result) {
		t.Helper()
		if r.UserTime != -1 || r.SystemTime != -1 || r.PeakMemory != -1 {
			t.Errorf("%+v, want -1 for what can't be known", r)
		}
	}
	t.Run("Kill", func(t *testing.T) {
		c := command(t, uncounted(), "sh", "-c", busy)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, make([]byte, 5)); err != nil {
			t.Error(err)
		}
		c.Kill()
		c.Wait()
		unknown(t, c.Result())
	})
	t.Run("output", func(t *testing.T) {
		c := command(t, with(t, uncounted(), "max-output", "10K"), "yes")
		c.Stdout = io.Discard
		c.Run()
		unknown(t, c.Result())
	})
	t.Run("exited", func(t *testing.T) {
		c := command(t, uncounted(), "/usr/bin/python3", "-c", "x = bytearray(64 << 20); sum(range(5_000_000))")
		if err := c.Run(); err != nil {
			t.Fatal(err)
		}
		atLeast(t, c.Result(), sandbox.Exited)
	})
}
