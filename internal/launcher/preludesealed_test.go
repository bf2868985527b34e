package launcher

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

// TestPreludeSealed: in front of the program it does nothing but decide, and execute
// itself from a memory file that nobody can write to. Where it can't, it leaves.
func TestPreludeSealed(t *testing.T) {
	run := func(fails plan.Call) (*Process, *FakeKernel, *Image) {
		_, im, h := preludeImage(t, "amd64", pidsV1)
		h.behind = true
		if !fails.IsPseudo() {
			h.answer[fails] = -int64(unix.EACCES)
		}
		k := h.kernel()
		first, err := Simulate(im.ELF, k, SimulateOptions{Args: preludeArgs, Env: preludeEnv()})
		if err != nil {
			t.Fatal(err)
		}
		return first, k, im
	}
	first, k, im := run(plan.Enter)
	if first.Exec != "/memfd:cloche" {
		t.Fatalf("it executed %q, entered %#x", first.Exec, first.Entry)
	}
	written, sealed := false, false
	for _, e := range k.Trace {
		switch e.Call {
		case plan.SysWrite:
			written = string(e.Data) == string(im.ELF)
		case plan.SysFcntl:
			sealed = sealed || written && e.Args[1] == unix.F_ADD_SEALS && e.Args[2] == unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE
		case plan.SysExecveat:
			if !sealed {
				t.Error("executed without a seal")
			}
		case plan.SysClone, plan.SysMkdirat, plan.SysPipe2, plan.SysSetgroups, plan.SysRtSigaction:
			t.Errorf("%s in front of the program", e.Call.Name())
		}
	}
	for _, fails := range []plan.Call{plan.SysDup3, plan.SysMemfdCreate, plan.SysWrite, plan.SysExecveat} {
		first, k, _ := run(fails)
		if first.Entry != preludeEntry {
			t.Errorf("without %s it did not leave: status %d, executed %q", fails.Name(), first.Status, first.Exec)
		}
		for fd, f := range k.proc(first).files {
			t.Errorf("without %s descriptor %d of %s is left open", fails.Name(), fd, f.path)
		}
	}
}
