package supervise

import (
	"encoding/binary"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"

	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/policy"
)

// TestAwaitOrder: pid 1 and the launcher write to one pipe, in either order. What
// Start knows when it returns must not depend on it.
func TestAwaitOrder(t *testing.T) {
	pid := record{kind: plan.RecordPID}
	failed := record{plan.RecordFailed, 0, uint32(syscall.EPERM)}
	for _, c := range []struct {
		name    string
		records []record // pid's number is filled in
		fails   bool
	}{
		{"started", []record{{kind: plan.RecordReady}, {kind: plan.RecordStarted}}, false},
		{"exited", []record{{kind: plan.RecordReady}, {kind: plan.RecordExited}}, false},
		{"failed", []record{failed}, true},
		{"failed twice", []record{failed, {plan.RecordFailed, 0, uint32(syscall.EIO)}}, true},
		{"id maps", []record{{kind: plan.RecordIDMaps}}, true},
	} {
		for at := range len(c.records) + 1 {
			child := exec.Command("sleep", "100")
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			if c.fails && c.name != "id maps" {
				_ = child.Process.Kill() // as pid 1 ends itself
			}
			pid.a = uint32(child.Process.Pid)
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			for _, rec := range slices.Insert(slices.Clone(c.records), at, pid) {
				var b [plan.RecordSize]byte
				binary.LittleEndian.PutUint32(b[:], uint32(rec.kind))
				binary.LittleEndian.PutUint32(b[4:], rec.a)
				binary.LittleEndian.PutUint32(b[8:], rec.b)
				if _, err := w.Write(b[:]); err != nil {
					t.Fatal(err)
				}
			}
			if c.fails {
				w.Close()
			}
			po := &policy.Policy{Init: true}
			if c.name == "id maps" {
				po.User.UID = 1 << 31 // which newuidmap refuses, if it is there at all
			}
			p := &Process{spec: &Spec{Policy: po}, plan: &plan.Plan{}, index: []int{-1}, status: r, stop: func() {}}
			err = p.await()
			if (err != nil) != c.fails {
				t.Errorf("%s, pid at %d: %v", c.name, at, err)
			}
			if p.PID() != child.Process.Pid {
				t.Errorf("%s, pid at %d: pid %d, not %d", c.name, at, p.PID(), child.Process.Pid)
			}
			if f := p.failure; c.fails && c.name != "id maps" && f.Failure.Errno != syscall.EPERM {
				t.Errorf("%s, pid at %d: the first failure is not the one that is told: %v", c.name, at, f)
			}
			reaped := syscall.Kill(child.Process.Pid, 0) == syscall.ESRCH
			if reaped != c.fails {
				t.Errorf("%s, pid at %d: reaped: %v", c.name, at, reaped)
			}
			if !reaped {
				_ = child.Process.Kill()
				_ = child.Wait()
			}
			r.Close()
			w.Close()
		}
	}
}
