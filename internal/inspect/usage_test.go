package inspect_test

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/cloche-sandbox/cloche/internal/inspect"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/sandbox"
)

// TestUsage: what a busy sandbox uses, from its own cgroup where it has one, else from its
// processes.
func TestUsage(t *testing.T) {
	p := builtin(t, "default")
	p.Limits = policy.Limits{}
	grouped := os.Geteuid() == 0
	if grouped {
		p.Limits = policy.Limits{Memory: 64 << 20, Pids: 50}
	}
	ctx, cancel := context.WithCancel(t.Context())
	const script = "x=$(head -c 5000000 /dev/zero | tr '\\0' x); while :; do :; done"
	cmd := sandbox.Command(ctx, p, "sh", "-c", script)
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
	})
	pid := child(t, os.Getpid(), "sh -c "+script)
	m, err := inspect.NewMeter()
	if err != nil {
		t.Fatal(err)
	}
	var first, u *inspect.Usage
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err := m.Look(); err != nil {
			t.Fatal(err)
		}
		if u, err = m.Usage(pid, 0); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = u
		}
		if u.CPU != nil && first.CPU != nil && *u.CPU-*first.CPU > int64(200*time.Millisecond) && u.Memory != nil && *u.Memory > 5e6 {
			break
		}
	}
	if u.CPU == nil || *u.CPU-*first.CPU <= int64(200*time.Millisecond) || u.Memory == nil || *u.Memory < 5e6 || *u.Memory > 200e6 || u.Pids == nil || *u.Pids < 2 || *u.Pids > 5 {
		t.Errorf("CPU %d, then %d; memory %d; pids %d", *first.CPU, *u.CPU, *u.Memory, *u.Pids)
	}
	if summed := slices.Contains(u.Summed, "memory_bytes"); summed == grouped {
		t.Errorf("memory is a sum: %v; it has a cgroup of its own: %v", summed, grouped)
	}
	if grouped && (u.MemoryMax == nil || *u.MemoryMax != 64<<20 || u.PidsMax == nil || *u.PidsMax != 51) {
		t.Errorf("limits: %v, %v", u.MemoryMax, u.PidsMax)
	}
}
