package launcher

import (
	"errors"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

// tinySandbox is a sandbox in miniature: a launcher that makes pid 1, which
// makes the command by vfork, waits for it and reports.
func tinySandbox(arch string) Program {
	all := num(^uint64(0))
	pid, command, fd := plan.Var(11), plan.Var(12), plan.Var(13)
	info := &plan.Data{Section: plan.ResidentRW, Size: 128, Align: 8}
	poll := &plan.Data{Section: plan.ResidentRW, Size: 8, Align: 4}
	mask := &plan.Data{Section: plan.ResidentRO, Size: 8, Align: 8}
	status := &plan.Data{Section: plan.ResidentRW, Size: 4, Align: 4}
	rules := &plan.Data{Size: 24, Align: 8}
	with := func(o plan.Op, f func(*plan.Op)) plan.Op { f(&o); return o }
	to := func(v plan.Var) func(*plan.Op) { return func(o *plan.Op) { o.Dst = v } }
	ops := []plan.Op{
		with(op(plan.SysClone, num(unix.CLONE_NEWPID|unix.CLONE_PARENT), num(0), num(0), num(0), num(0)), to(pid)),
		with(op(plan.Branch, plan.Slot(pid), all, num(0), num(plan.CondEqual)), func(o *plan.Op) { o.OnOK, o.OnErr = 2, plan.Following }),
		exit(num(0)),
		// pid 1
		with(op(plan.SysPrctl, num(unix.PR_SET_NO_NEW_PRIVS), num(1)), func(o *plan.Op) { o.Mark = 2 }),
		with(op(plan.SysSignalfd4, plan.Int(-1), plan.Ref(mask), num(8), num(0)), to(fd)),
		op(plan.Store, plan.Ref(poll), plan.Slot(fd), num(4)),
		op(plan.Store, plan.RefAt(poll, 4), num(unix.POLLIN), num(2)),
		with(op(plan.SysClone, num(unix.CLONE_VM|unix.CLONE_VFORK), num(0), num(0), num(0), num(0)), to(command)),
		with(op(plan.Branch, plan.Slot(command), all, num(0), num(plan.CondEqual)), func(o *plan.Op) { o.OnOK, o.OnErr = 3, 4 }),
		// the command
		with(op(plan.SysLandlockCreateRuleset, plan.Ref(rules), num(24), num(0)), func(o *plan.Op) { o.Mark = 3 }),
		op(plan.SysLandlockRestrictSelf, plan.Slot(r), num(0)),
		op(plan.SysSeccomp, num(1), num(0), plan.Ref(rules)),
		with(op(plan.SysExecve, ref("/opt/tool\x00"), plan.Slot(plan.VarArgv), plan.Slot(plan.VarEnvp)), func(o *plan.Op) { o.OnErr = plan.Following }),
		op(plan.SysExecve, ref("/bin/tool\x00"), plan.Slot(plan.VarArgv), plan.Slot(plan.VarEnvp)),
		// pid 1 waits
		with(op(plan.SysMunmap, plan.RegionArg(plan.SetupROAddress), plan.RegionArg(plan.SetupROLength)), func(o *plan.Op) { o.Mark = 4 }),
		with(op(plan.SysPpoll, plan.Ref(poll), num(1), num(0), num(0)), func(o *plan.Op) { o.Mark = 5 }),
		op(plan.SysRead, plan.Slot(fd), plan.Ref(info), num(128)),
		with(op(plan.SysWait4, plan.Int(-1), plan.Ref(status), num(0), num(0)), func(o *plan.Op) { o.Mark, o.Errno, o.OnErrno = 6, uint16(unix.ECHILD), 5 }),
		with(op(plan.Branch, plan.Slot(r), all, plan.Slot(command), num(plan.CondEqual)), func(o *plan.Op) { o.OnErr = 6 }),
		op(plan.Load, plan.RefAt(status, 1), num(1)),
		exit(plan.Slot(r)),
	}
	for i := len(ops) - 7; i < len(ops); i++ {
		ops[i].Resident = true
	}
	return Program{GOARCH: arch, Ops: append(ops, dump()...), OnFatal: fatal, Vars: 20}
}

func TestSimulateSandbox(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		im, err := AssembleFor(tinySandbox(arch))
		if err != nil {
			t.Fatal(err)
		}
		k := &FakeKernel{ExitStatus: 7, Executable: func(path string) bool { return path == "/bin/tool" }}
		first, err := Simulate(im.ELF, k, SimulateOptions{Args: []string{"tool"}})
		if err != nil || first.Status != 0 {
			t.Fatal(err, first.Status)
		}
		execs := 0
		var ends []int
		for i, e := range k.Trace {
			if e.Call == plan.SysExitGroup {
				ends = append(ends, int(e.Args[0]))
			}
			if e.Call != plan.SysExecve {
				continue
			}
			execs++
			// What every plan of Cloche must keep: the order before exec.
			want := []plan.Call{plan.SysPrctl, plan.SysLandlockRestrictSelf, plan.SysSeccomp}
			for _, b := range k.Before(i) {
				if len(want) > 0 && b.Call == want[0] {
					want = want[1:]
				}
			}
			if len(want) > 0 {
				t.Errorf("%s: exec without %s before it", arch, want[0].Name())
			}
			if wantPath := [...]string{"/opt/tool", "/bin/tool"}[execs-1]; e.Strings[0] != wantPath {
				t.Errorf("executed %q, want %q", e.Strings[0], wantPath)
			}
		}
		if execs != 2 || !slices.Equal(ends, []int{7, 0}) {
			t.Errorf("%s: %d execs, exits %v", arch, execs, ends)
		}
	}
}

func TestSimulationErrors(t *testing.T) {
	loop := op(plan.SysGetpid)
	loop.Mark, loop.OnOK = 2, 2
	poll := &plan.Data{Section: plan.SetupRW, Size: 8, Align: 4}
	for name, test := range map[string]struct {
		op   plan.Op
		want error
	}{
		"for ever":       {loop, ErrSteps},
		"bad address":    {op(plan.Load, num(8), num(8)), &FaultError{Addr: 8, Len: 8}},
		"read-only":      {op(plan.Store, ref("x"), num(0), num(1)), new(FaultError)},
		"waits for ever": {op(plan.SysPpoll, plan.Ref(poll), num(0), num(0), num(0)), nil},
	} {
		im := assembled(t, dump(test.op))
		_, err := Simulate(im.ELF, &FakeKernel{}, SimulateOptions{MaxSteps: 1000})
		var s *SimulationError
		if !errors.As(err, &s) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var fault *FaultError
		if _, isFault := test.want.(*FaultError); isFault != errors.As(err, &fault) {
			t.Errorf("%s: %v", name, err)
		}
		if test.want == ErrSteps && !errors.Is(err, ErrSteps) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFakeAnswers holds the fake to what plans rely on.
func TestFakeAnswers(t *testing.T) {
	p := Program{GOARCH: runtime.GOARCH, OnFatal: fatal, Vars: 30}
	st := &plan.Data{Section: plan.SetupRW, Size: 256, Align: 8}
	buf := &plan.Data{Section: plan.SetupRW, Size: 16}
	opened := op(plan.SysOpenat, plan.Int(-100), ref("/etc\x00"), num(0), num(0))
	opened.Dst = 12
	p.Ops = dump(
		opened,
		op(plan.SysStatx, plan.Slot(12), ref("passwd\x00"), num(0), num(0), plan.Ref(st)),
		op(plan.Load, plan.RefAt(st, 40), num(8)),
		op(plan.Branch, plan.Slot(r), num(^uint64(0)), num(1234), num(plan.CondEqual)),
		op(plan.SysOpenat, plan.Slot(12), ref("passwd\x00"), num(0), num(0)),
		op(plan.SysRead, plan.Slot(r), plan.Ref(buf), num(16)),
		op(plan.SysWrite, num(1), plan.Ref(buf), plan.Slot(r)),
		op(plan.SysMkdirat, plan.Int(-100), ref("/x\x00"), num(0o755)),
	)
	im, err := AssembleFor(p)
	if err != nil {
		t.Fatal(err)
	}
	k := &FakeKernel{
		Stat: func(path string) (FakeStat, int64) {
			if path != "/etc/passwd" {
				return FakeStat{}, -int64(syscall.ENOENT)
			}
			return FakeStat{Mode: unix.S_IFREG, Size: 1234}, 0
		},
		Content: func(path string) []byte { return []byte(path) },
		Answer: func(_ *Process, c plan.Call, _ [6]uint64) (int64, bool) {
			return -int64(syscall.EACCES), c == plan.SysMkdirat
		},
	}
	end, err := Simulate(im.ELF, k, SimulateOptions{})
	if err != nil || string(k.Written(1)) != "/etc/passwd" {
		t.Errorf("%q, %v", k.Written(1), err)
	}
	if failed := im.Ops[end.Slot(plan.VarFailedOp)]; end.Status != 100 || failed != 7 || end.Slot(plan.VarFailedErrno) != uint64(syscall.EACCES) {
		t.Errorf("exit %d after operation %d", end.Status, failed)
	}
}
