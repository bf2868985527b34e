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

// TestSimulateJoinImage: an image of a sandbox's record joins it when all is as it was, and
// has the program do it when anything is otherwise, or fails.
func TestSimulateJoinImage(t *testing.T) {
	const tasks, thawed = "/sys/fs/cgroup/pids/own/tasks", "/sys/fs/cgroup/freezer/own/freezer.state"
	type machine struct {
		content map[string]string
		inode   map[string]uint64
		fails   plan.Call
	}
	for name, test := range map[string]struct {
		change func(*machine)
		exit   int
		again  bool
	}{
		"as it was":              {func(*machine) {}, 0, false},
		"the command fails":      {func(*machine) {}, 3, false},
		"another boot":           {func(m *machine) { m.content["/proc/sys/kernel/random/boot_id"] = "bood\n" }, 0, true},
		"another process":        {func(m *machine) { m.inode[""]++ }, 0, true},
		"another cloche":         {func(m *machine) { m.inode["/proc/self/exe"]++ }, 0, true},
		"another time namespace": {func(m *machine) { m.inode["/proc/1234/ns/time"]++ }, 0, true},
		"another cgroup":         {func(m *machine) { m.content["/proc/1234/cgroup"] = "1:pids:/owm\n" }, 0, true},
		"a longer cgroup":        {func(m *machine) { m.content["/proc/1234/cgroup"] = "1:pids:/own\n2:x:/\n" }, 0, true},
		"the caller's cgroup":    {func(m *machine) { m.content["/proc/self/cgroup"] = "1:pids:/own\n" }, 0, true},
		"paused":                 {func(m *machine) { m.content[thawed] = "FROZEN\n" }, 0, true},
		"another tasks file":     {func(m *machine) { m.inode[tasks]++ }, 0, true},
		"it has ended":           {func(m *machine) { m.fails = plan.SysPidfdOpen }, 0, true},
		"it ends":                {func(m *machine) { m.fails = plan.SysSetns }, 0, true},
		"no process":             {func(m *machine) { m.fails = plan.SysClone }, 0, true},
		"no filter":              {func(m *machine) { m.fails = plan.SysSeccomp }, 0, true},
		"no command":             {func(m *machine) { m.fails = plan.SysExecve }, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			in := profileInput(t, "default", "amd64")
			first, err := plan.Compile(in)
			if err != nil {
				t.Fatal(err)
			}
			pl, err := plan.CompileJoin(&plan.Join{
				Policy: in.Policy, Facts: in.Facts, Filter: in.Filter, InitFilter: in.InitFilter, Landlock: first.Landlock,
				Namespaces: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWCGROUP,
				Image: &plan.JoinImage{
					PID: 1234, Process: plan.Inode{Ino: 10}, Program: plan.Inode{Ino: 11}, Boot: "boot\n", Env: []string{"PATH=/usr/bin"},
					Shared: [][2]string{{"time", "time"}}, Cgroups: "1:pids:/own\n", OwnCgroups: "1:pids:/\n",
					Entries: []plan.JoinFile{{Path: tasks, Inode: plan.Inode{Ino: 12}}}, Thawed: []plan.JoinText{{Path: thawed, Text: "THAWED\n"}},
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			im, err := AssembleFor(Program{GOARCH: "amd64", Ops: pl.Ops, OnFatal: pl.OnFatal, Vars: len(pl.VarNames)})
			if err != nil {
				t.Fatal(err)
			}
			m := &machine{
				content: map[string]string{"/proc/sys/kernel/random/boot_id": "boot\n", "/proc/1234/cgroup": "1:pids:/own\n", "/proc/self/cgroup": "1:pids:/\n", thawed: "THAWED\n"},
				inode:   map[string]uint64{"": 10, "/proc/self/exe": 11, tasks: 12, "/proc/self/ns/time": 13, "/proc/1234/ns/time": 13},
				fails:   plan.Enter,
			}
			test.change(m)
			k := &FakeKernel{
				ExitStatus: test.exit,
				Executable: func(path string) bool { return path == "/usr/bin/tool" || path == "/proc/self/exe" },
				Content:    func(path string) []byte { return []byte(m.content[path]) },
				Stat:       func(path string) (FakeStat, int64) { return FakeStat{Ino: m.inode[path]}, 0 },
			}
			env := ""
			k.Answer = func(p *Process, c plan.Call, a [6]uint64) (int64, bool) {
				if c == plan.SysExecve {
					at, _ := p.Mem.load(a[2], 8)
					env, _ = p.Mem.String(at)
				}
				switch {
				case c == m.fails:
					return -int64(unix.ESRCH), true
				case c == plan.SysFcntl && a[1] == unix.F_SETFD && a[0] == plan.PreludeExeFD: // the prelude has opened it
					k.proc(p).files[plan.PreludeExeFD] = fakeFile{path: "/proc/self/exe"}
				case c == plan.SysRead:
					if f := k.proc(p).files[int32(a[0])]; f.pipe != nil && len(*f.pipe) == 0 {
						return -int64(unix.EAGAIN), true
					}
				}
				return 0, false
			}
			launcher, err := Simulate(im.ELF, k, SimulateOptions{Args: []string{"cloche", "exec", "web", "--", "tool"}, Env: []string{"CALLERS=1"}})
			if err != nil {
				t.Fatal(err)
			}
			ran := false
			for i, e := range k.Trace {
				if e.Call != plan.SysExecve || e.Strings[0] != "/usr/bin/tool" || e.Result != 0 {
					continue
				}
				ran = true
				at, order := 0, []plan.Call{
					plan.SysClone, plan.SysPrctl, plan.SysSetns, plan.SysChroot, plan.SysSetsid, plan.SysClone, plan.SysWrite, plan.SysSetns, plan.SysChdir,
					plan.SysCapset, plan.SysPrctl, plan.SysCloseRange, plan.SysLandlockRestrictSelf, plan.SysSeccomp,
				}
				for _, b := range k.Before(i) {
					if at < len(order) && b.Call == order[at] {
						at++
					}
				}
				if at < len(order) {
					t.Errorf("no %s in its place", order[at].Name())
				}
				if env != "PATH=/usr/bin" {
					t.Errorf("its environment is %q", env)
				}
			}
			if again := launcher.Exec == "/proc/self/exe"; again != test.again || ran == again || !again && launcher.Status != test.exit {
				t.Errorf("again %v, ran %v, status %d: %s", again, ran, launcher.Status, failure(k, pl, im))
			}
		})
	}
}
