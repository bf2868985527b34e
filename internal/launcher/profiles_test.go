package launcher

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/policy"
)

// TestSimulateProfiles runs the image of every built-in profile in the
// simulator, for both architectures, as a supervised and as a standalone image,
// and holds what must be true of each sandbox before its command runs.
func TestSimulateProfiles(t *testing.T) {
	for _, name := range policy.Builtins() {
		for _, arch := range []string{"amd64", "arm64"} {
			for _, standalone := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/standalone=%v", name, arch, standalone), func(t *testing.T) {
					simulateProfile(t, name, arch, standalone)
				})
			}
		}
	}
}

// profileInput is what a plan of a built-in profile depends on, on a host where
// everything is there.
func profileInput(t *testing.T, name, arch string) plan.Input {
	t.Helper()
	p, _ := policy.Builtin(name)
	if err := policy.Expand(p, "/home/u", "/home/u/project"); err != nil {
		t.Fatal(err)
	}
	filter := []unix.SockFilter{{Code: unix.BPF_RET, K: unix.SECCOMP_RET_ALLOW}}
	in := plan.Input{
		Policy: p, Filter: filter, InitFilter: filter, StatusFD: 3, ControlFD: -1, CgroupFD: -1,
		Facts: host.Facts{GOARCH: arch, UID: 1000, GID: 1000, LandlockABI: 7, MountAPI: host.MountAPI{OpenTree: true, MoveMount: true, Fsopen: true, Fsmount: true, MountSetattr: true}, Openat2: true, CloseRange: true, RangeOnExec: true, Paths: map[string]host.PathFact{}},
	}
	if name == "open" || name == "none" {
		in.Filter = nil
	}
	look := func(paths []string) {
		for _, path := range paths {
			if _, ok := in.Facts.Paths[path]; !ok {
				in.Facts.Paths[path] = host.PathFact{Exists: true, Mode: unix.S_IFDIR | 0o755, Real: path, Ino: uint64(100 + len(in.Facts.Paths)), DevMajor: 8, DevMinor: 1}
			}
		}
	}
	look(plan.SourcePaths(p))
	targets, resolve := plan.TargetPaths(p, in.Facts)
	look(targets)
	look(resolve)
	return in
}

func simulateProfile(t *testing.T, name, arch string, standalone bool) {
	in := profileInput(t, name, arch)
	p := in.Policy
	if standalone {
		if plan.NeedsSupervisor(p) != nil || p.Limits.Memory > 0 {
			return // there is no such executable
		}
		in.Standalone = &plan.Standalone{Command: []string{"tool", "one"}}
	}
	pl, err := plan.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	im, err := AssembleFor(Program{GOARCH: arch, Ops: pl.Ops, OnFatal: pl.OnFatal, Vars: len(pl.VarNames)})
	if err != nil {
		t.Fatal(err)
	}
	k := &FakeKernel{
		ExitStatus: 3,
		Executable: func(path string) bool { return path == "/usr/bin/tool" },
		Stat:       statOf(in.Facts),
	}
	first, err := Simulate(im.ELF, k, SimulateOptions{Args: []string{"tool", "two"}, Env: []string{"PATH=/usr/local/bin:/usr/bin", "TERM=x", "SECRET=1"}})
	if err != nil {
		t.Fatal(err)
	}
	want := 0 // the launcher is gone once pid 1 is made
	if standalone {
		want = 3
	}
	if first.Status != want {
		t.Errorf("the image ended with %d, want %d: %s", first.Status, want, failure(k, pl, im))
	}
	executed := false
	for i, e := range k.Trace {
		if e.Call != plan.SysExecve || e.Strings[0] != "/usr/bin/tool" {
			continue
		}
		executed = true
		checkBefore(t, p, k.Before(i), in.Filter != nil)
	}
	if !executed {
		t.Errorf("the command was not executed: %s", failure(k, pl, im))
	}
}

// statOf answers as the host did when the plan was made.
func statOf(f host.Facts) func(string) (FakeStat, int64) {
	devices := map[string][2]uint32{"null": {1, 3}, "zero": {1, 5}, "full": {1, 7}, "random": {1, 8}, "urandom": {1, 9}, "tty": {5, 0}}
	return func(path string) (FakeStat, int64) {
		if d, ok := devices[strings.TrimPrefix(path, "/dev/")]; ok {
			return FakeStat{Mode: unix.S_IFCHR | 0o666, RdevMajor: d[0], RdevMinor: d[1]}, 0
		}
		if pf, ok := f.Paths[path]; ok {
			return FakeStat{Mode: uint16(pf.Mode), Ino: pf.Ino, DevMajor: pf.DevMajor, DevMin: pf.DevMinor}, 0
		}
		return FakeStat{Mode: unix.S_IFDIR | 0o755, Ino: 2}, 0
	}
}

// checkBefore holds the order of what a command's process, and those it was
// made by, called before the exec.
func checkBefore(t *testing.T, p *policy.Policy, before []Event, filter bool) {
	t.Helper()
	prctl := func(option uint64) func(Event) bool {
		return func(e Event) bool { return e.Call == plan.SysPrctl && e.Args[0] == option }
	}
	call := func(c plan.Call) func(Event) bool { return func(e Event) bool { return e.Call == c } }
	steps := []struct {
		name string
		is   func(Event) bool
		when bool
	}{
		{"namespaces", call(plan.SysClone), true},
		{"id map", func(e Event) bool { return e.Call == plan.SysWrite && string(e.Data) == "deny" }, p.Unshare.User},
		{"undumpable", prctl(unix.PR_SET_DUMPABLE), true},
		{"private mounts", call(plan.SysMount), p.Unshare.Mount},
		{"pivot_root", call(plan.SysPivotRoot), p.Unshare.Mount},
		{"old root gone", call(plan.SysUmount2), p.Unshare.Mount},
		{"session", call(plan.SysSetsid), true},
		{"bounding set", prctl(unix.PR_CAPBSET_DROP), true},
		{"securebits", prctl(unix.PR_SET_SECUREBITS), len(p.Capabilities) == 0},
		{"working directory", call(plan.SysChdir), true},
		{"ambient set", prctl(unix.PR_CAP_AMBIENT), true},
		{"capset", call(plan.SysCapset), true},
		{"no_new_privs", prctl(unix.PR_SET_NO_NEW_PRIVS), true},
		{"descriptors", call(plan.SysCloseRange), true},
		{"landlock", call(plan.SysLandlockRestrictSelf), p.Landlock != policy.LandlockOff},
		{"seccomp", call(plan.SysSeccomp), filter},
	}
	at := 0
	for _, s := range steps {
		if !s.when {
			continue
		}
		for at < len(before) && !s.is(before[at]) {
			at++
		}
		if at == len(before) {
			t.Errorf("before exec there is no %q in its place", s.name)
			return
		}
	}
	// After the filter only the searched exec itself.
	for _, e := range before[at+1:] {
		if filter && e.Call != plan.SysExecve {
			t.Errorf("%s between the filter and the exec", e.Call.Name())
		}
	}
}

// failure is what the image reported, for the reader of a failed test.
func failure(k *FakeKernel, pl *plan.Plan, im *Image) string {
	for _, e := range k.Trace {
		if e.Call == plan.SysWrite && len(e.Data) == plan.RecordSize && binary.LittleEndian.Uint32(e.Data) == uint32(plan.RecordFailed) {
			op := im.Ops[binary.LittleEndian.Uint32(e.Data[4:])]
			return pl.Explain(op, unix.Errno(binary.LittleEndian.Uint32(e.Data[8:]))).Error()
		}
	}
	var last []string // a standalone image says it in words
	for _, e := range k.Trace[max(0, len(k.Trace)-12):] {
		last = append(last, fmt.Sprintf("%s(%x)=%d %s", e.Call.Name(), e.Args, e.Result, e.Data))
	}
	return strings.Join(last, "\n")
}
