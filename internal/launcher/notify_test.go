package launcher

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

// TestSimulateNotify: the filter with a listener is loaded before the command's
// own; pid 1 sends the listener, and only then stops sharing descriptors.
func TestSimulateNotify(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		in := profileInput(t, "default", arch)
		in.ControlFD, in.Notify = 4, &plan.Notify{Filter: in.Filter}
		pl, err := plan.Compile(in)
		if err != nil {
			t.Fatal(err)
		}
		im, err := AssembleFor(Program{GOARCH: arch, Ops: pl.Ops, OnFatal: pl.OnFatal, Vars: len(pl.VarNames)})
		if err != nil {
			t.Fatal(err)
		}
		k := &FakeKernel{Stat: statOf(in.Facts)}
		if _, err := Simulate(im.ELF, k, SimulateOptions{Args: []string{"/usr/bin/tool"}}); err != nil {
			t.Fatal(err)
		}
		const listener = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER
		var order []string
		for _, e := range k.Trace {
			switch {
			case e.Call == plan.SysClone && e.Args[0]&unix.CLONE_FILES != 0 && e.Args[0]&unix.CLONE_VM == 0:
				order = append(order, "fork")
			case e.Call == plan.SysSeccomp && e.Args[1] == listener:
				order = append(order, "listener")
			case e.Call == plan.SysSeccomp:
				order = append(order, "filter")
			case e.Call == plan.SysExecve:
				order = append(order, "exec")
			case e.Call == plan.SysSendmsg:
				order = append(order, "send")
			case e.Call == plan.SysUnshare && e.Args[0] == unix.CLONE_FILES:
				order = append(order, "unshare")
			}
		}
		// The first fork is of the network's maker, the last filter pid 1's own.
		want := []string{"fork", "fork", "listener", "filter", "exec", "send", "unshare", "filter"}
		if len(order) != len(want) {
			t.Fatalf("%s: %v, want %v (%s)", arch, order, want, failure(k, pl, im))
		}
		for i := range want {
			if order[i] != want[i] {
				t.Errorf("%s: %v, want %v", arch, order, want)
				break
			}
		}
	}
}
