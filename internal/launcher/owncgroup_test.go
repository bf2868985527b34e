package launcher

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

// TestOwnCgroupRemoved: whichever call of a standalone launcher fails after it
// made its cgroup, the directory is removed and nothing but its own child killed.
func TestOwnCgroupRemoved(t *testing.T) {
	in := profileInput(t, "default", "amd64")
	in.Policy.Limits.Parent, in.Policy.Limits.Memory = "/sys/fs/cgroup/jobs", 64<<20
	in.Standalone = &plan.Standalone{Command: []string{"tool"}}
	pl, err := plan.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	im, err := AssembleFor(Program{GOARCH: "amd64", Ops: pl.Ops, OnFatal: pl.OnFatal, Vars: len(pl.VarNames)})
	if err != nil {
		t.Fatal(err)
	}
	run := func(failing int) *FakeKernel { // the operation that fails; -1: none
		made, failed := false, false
		k := &FakeKernel{Executable: func(path string) bool { return path == "/usr/bin/tool" }, Stat: statOf(in.Facts)}
		k.Answer = func(p *Process, c plan.Call, args [6]uint64) (int64, bool) {
			made = made || c == plan.SysMkdirat && p.Parent == nil
			if p.Parent == nil && made && p.Op() == failing && c != plan.SysUnlinkat && !failed {
				failed = true // once: the launcher's loop tries again
				return -int64(unix.EIO), true
			}
			return 0, false
		}
		if _, err := Simulate(im.ELF, k, SimulateOptions{Args: []string{"x"}, Env: []string{"PATH=/usr/bin"}}); err != nil {
			t.Fatal(err)
		}
		return k
	}
	whole := run(-1).Trace
	tried := 0
	for _, e := range whole {
		if e.Process.Parent != nil || e.Call == plan.SysExitGroup {
			continue
		}
		k := run(e.Op)
		made, removed := "", ""
		for _, e := range k.Trace {
			switch {
			case e.Process.Parent == nil && e.Call == plan.SysMkdirat && e.Result == 0:
				made = e.Strings[1]
			case e.Process.Parent == nil && e.Call == plan.SysUnlinkat && made != "":
				removed = e.Strings[1]
			case e.Call == plan.SysKill && int32(e.Args[0]) <= 0:
				t.Errorf("kill(%d) of a failing launcher", int32(e.Args[0]))
			}
		}
		if made == "" {
			continue
		}
		tried++
		if removed != made {
			t.Errorf("operation %d (%s) failed: made %q, removed %q", e.Op, e.Call.Name(), made, removed)
		}
	}
	if tried < 10 {
		t.Errorf("%d calls were tried", tried)
	}
}
