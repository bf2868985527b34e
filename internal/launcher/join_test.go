package launcher

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

// TestSimulateJoin holds what must be true of a command that joins before it runs.
func TestSimulateJoin(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		in := profileInput(t, "default", arch)
		first, err := plan.Compile(in)
		if err != nil {
			t.Fatal(err)
		}
		pl, err := plan.CompileJoin(&plan.Join{
			Policy: in.Policy, Facts: in.Facts, Filter: in.Filter, InitFilter: in.InitFilter, Landlock: first.Landlock,
			Namespaces: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWCGROUP,
			StatusFD:   20, ControlFD: -1, PidFD: 21, RootFD: 22, EntryFDs: []int{23}, CgroupFD: -1,
		})
		if err != nil {
			t.Fatal(err)
		}
		im, err := AssembleFor(Program{GOARCH: arch, Ops: pl.Ops, OnFatal: pl.OnFatal, Vars: len(pl.VarNames)})
		if err != nil {
			t.Fatal(err)
		}
		k := &FakeKernel{ExitStatus: 3, Executable: func(path string) bool { return path == "/usr/bin/tool" }}
		watcher, err := Simulate(im.ELF, k, SimulateOptions{Args: []string{"tool"}, Env: []string{"PATH=/usr/bin"}})
		if err != nil {
			t.Fatal(err)
		}
		if watcher.Status != 3 {
			t.Errorf("%s: the watcher ended with %d: %s", arch, watcher.Status, failure(k, pl, im))
		}
		// Undumpable before anything inside could look, its cgroup before its namespace.
		order := []plan.Call{
			plan.SysPrctl, plan.SysSetns, plan.SysChroot, plan.SysSetsid, plan.SysClone, plan.SysWrite, plan.SysSetns, plan.SysChdir,
			plan.SysCapset, plan.SysPrctl, plan.SysCloseRange, plan.SysLandlockRestrictSelf, plan.SysSeccomp, plan.SysExecve,
		}
		at := 0
		for _, e := range k.Trace {
			if at < len(order) && e.Call == order[at] {
				if at == 0 && e.Args[0] != unix.PR_SET_DUMPABLE {
					t.Errorf("%s: the first prctl is %d", arch, e.Args[0])
				}
				at++
			}
		}
		if at < len(order) {
			t.Errorf("%s: no %s in its place", arch, order[at].Name())
		}
	}
}
