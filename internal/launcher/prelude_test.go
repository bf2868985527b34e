package launcher

import (
	"encoding/binary"
	"hash/fnv"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/policy"
)

// preludeHost is the host that a prelude was made for, as a FakeKernel shows it.
type preludeHost struct {
	facts    host.Facts
	behind   bool // the program is: this is not the sealed memory file
	cwd      string
	answer   map[plan.Call]int64 // instead of what the host would say
	groups   string              // /proc/self/cgroup
	version  int                 // of the cgroup hierarchy
	writable string              // cgroup that the caller may make others in; "": wherever it asks
	open     map[int32]bool      // descriptors that the caller left
	blocked  byte                // signals
	cgroupns uint64
}

const (
	preludeEntry  = 0x401234
	preludeBeside = BaseBeside + 0x5678
)

// preludeImage is a prelude and its host, with some names missing there.
func preludeImage(t *testing.T, arch string, cgroup plan.Hierarchy) (*plan.Plan, *Image, *preludeHost) {
	t.Helper()
	p, _ := policy.Builtin("default")
	if err := policy.Expand(p, "", plan.WorkingDirectory); err != nil {
		t.Fatal(err)
	}
	in := profileInput(t, "default", arch)
	in.Policy = p
	delete(in.Facts.Paths, "/home/u/project")
	plan.PreludeFacts(&in.Facts)
	for path, f := range map[string]host.PathFact{
		"/bin": {Exists: true, Mode: unix.S_IFDIR | 0o755, Link: "usr/bin", Real: "/usr/bin"}, "/lib32": {Err: "ENOENT"}, "/etc/wireguard": {Err: "ENOENT"},
	} {
		in.Facts.Paths[path] = f
	}
	in.StatusFD = plan.PreludeStatusFD
	in.Standalone = &plan.Standalone{InPlace: &plan.InPlace{ReadFD: plan.PreludeReadFD, ExeFD: plan.PreludeExeFD, Prelude: &plan.Prelude{
		Entry: preludeEntry, Beside: preludeBeside, Hierarchy: cgroup,
	}}}
	pl, err := plan.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	im, err := AssembleFor(Program{GOARCH: arch, Ops: pl.Ops, OnFatal: pl.OnFatal, Vars: len(pl.VarNames)})
	if err != nil {
		t.Fatal(err)
	}
	return pl, im, &preludeHost{
		facts: in.Facts, cwd: "/home/u/project", answer: map[plan.Call]int64{},
		version: cgroup.Version, groups: "9:name=systemd:/x:pids:/other\n8:pids:/user/one\n0::/\n", open: map[int32]bool{},
		cgroupns: cgroup.Namespace,
	}
}

func (h *preludeHost) kernel() *FakeKernel {
	k := &FakeKernel{
		ExitStatus: 0,
		Executable: func(path string) bool {
			return path == "/usr/bin/tool" || path == "/proc/self/exe" || path == "/memfd:cloche"
		},
		Content: func(path string) []byte { return []byte(h.groups) },
		Stat: func(path string) (FakeStat, int64) {
			if f, ok := h.facts.Paths[path]; ok && !f.Exists {
				return FakeStat{}, -int64(unix.ENOENT)
			}
			if path == "." {
				path = h.cwd
			}
			st, errno := statOf(host.Facts{})(path)
			sum := fnv.New64()
			sum.Write([]byte(path))
			st.Ino = sum.Sum64()
			if path == "/proc/self/ns/cgroup" {
				st.Ino = h.cgroupns
			}
			return st, errno
		},
	}
	k.Answer = func(p *Process, c plan.Call, a [6]uint64) (int64, bool) {
		if r, ok := h.answer[c]; ok {
			return r, true
		}
		write := func(at uint64, b []byte) (int64, bool) { return int64(len(b)), p.Mem.Write(at, b) == nil }
		switch c {
		case plan.SysRead:
			if f := k.proc(p).files[int32(a[0])]; f.pipe != nil && len(*f.pipe) == 0 {
				return -int64(unix.EAGAIN), true
			}
		case plan.SysMadvise:
			if a[2] == 0 && a[0] == preludeEntry&^0xffff && !h.behind { // MADV_NORMAL
				return -int64(unix.ENOMEM), true
			}
		case plan.SysRtSigprocmask:
			if a[1] == 0 {
				_, ok := write(a[2], []byte{h.blocked})
				return 0, ok
			}
		case plan.SysOpenat:
			if path, _ := p.Mem.String(a[1]); path == "/home/u/project/link" {
				return k.proc(p).open(fakeFile{path: "/elsewhere/u"}), true
			}
		case plan.SysIoctl:
			return -int64(unix.ENOTTY), true
		case plan.SysFcntl:
			if a[1] == unix.F_SETFD && a[0] == plan.PreludeExeFD { // it was opened in front of the program
				k.proc(p).files[plan.PreludeExeFD] = fakeFile{path: "/proc/self/exe"}
			}
			if a[1] == unix.F_GETFD && a[0] > 2 && !h.open[int32(a[0])] {
				return -int64(unix.EBADF), true
			}
		case plan.SysLandlockCreateRuleset:
			if a[2] == unix.LANDLOCK_CREATE_RULESET_VERSION {
				return int64(h.facts.LandlockABI), true
			}
		case plan.SysReadlinkat:
			path, _ := p.Mem.String(a[1])
			return write(a[2], []byte(h.facts.Paths[path].Link))
		case plan.SysFaccessat:
			if h.writable != "" && k.proc(p).files[int32(a[0])].path != h.writable {
				return -int64(unix.EACCES), true
			}
		case plan.SysGetcwd:
			return write(a[0], append([]byte(h.cwd), 0))
		case plan.SysFstatfs:
			if strings.HasPrefix(k.proc(p).files[int32(a[0])].path, "/sys/fs/cgroup") {
				magic := binary.LittleEndian.AppendUint64(nil, unix.CGROUP_SUPER_MAGIC)
				if h.version == 2 {
					magic = binary.LittleEndian.AppendUint64(nil, unix.CGROUP2_SUPER_MAGIC)
				}
				_, ok := write(a[1], magic)
				return 0, ok
			}
		}
		return 0, false
	}
	return k
}

var (
	pidsV1  = plan.Hierarchy{Version: 1, Mount: "/sys/fs/cgroup/pids", Controllers: "pids", Namespace: 4026531835}
	cgroup2 = plan.Hierarchy{Version: 2, Mount: "/sys/fs/cgroup", Namespace: 4026531835}
)

var preludeArgs = []string{"cloche", "run", "--", "tool", "x"}

func preludeEnv() []string {
	return []string{"PATH=/bin", "HOME=/home/u", "PWD=/home/u/project", "TERM=x", "SECRET=1", "XDG_RUNTIME_DIR=/run/user/1000"}
}

// TestPrelude makes a whole sandbox in the simulator, of the caller's directory.
func TestPrelude(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		for _, args := range [][]string{preludeArgs, {"cloche", "run", "tool", "--", "-x"}} {
			pl, im, h := preludeImage(t, arch, pidsV1)
			k := h.kernel()
			first, err := Simulate(im.ELF, k, SimulateOptions{Args: args, Env: preludeEnv()})
			if err != nil {
				t.Fatal(err)
			}
			if first.Entry != 0 || first.Status != 0 {
				t.Fatalf("%s: entered %#x, status %d: %s", arch, first.Entry, first.Status, failure(k, pl, im))
			}
			asked := map[string]bool{}
			for i, e := range k.Trace {
				asked[e.Call.Name()+" "+strings.Join(e.Strings[:], "|")] = true
				if e.Call == plan.SysExecve && e.Strings[0] == "/usr/bin/tool" {
					checkBefore(t, pl.Policy, k.Before(i), true)
				}
			}
			for _, want := range []string{
				"openat2 |/home/u/project||||", "mkdirat |home||||", "mkdirat |home/u/project||||", "move_mount |||home/u/project||",
				"move_mount |||home/u/project||", "openat |/home/u/project||||", "chdir /home/u/project|||||", "openat2 |/sys/fs/cgroup/pids/user/one||||",
				"execve /usr/bin/tool|||||",
			} {
				if !asked[want] {
					t.Errorf("%s: it never called %q", arch, want)
				}
			}
		}
	}
}

// TestPreludeWithoutCgroup: a caller who may make no cgroup has no limit of processes,
// as the policy says where-available. On cgroup v2 that has to hold for every one
// above its own as well, else the program decides.
func TestPreludeWithoutCgroup(t *testing.T) {
	for _, test := range []struct {
		cgroup   plan.Hierarchy
		writable string
		leaves   bool
	}{
		{pidsV1, "none", false},
		{cgroup2, "none", false},
		{cgroup2, "/sys/fs/cgroup/user/one", true},
		{cgroup2, "/sys/fs/cgroup/user", true},
		{cgroup2, "/sys/fs/cgroup", true},
	} {
		pl, im, h := preludeImage(t, "amd64", test.cgroup)
		h.writable = test.writable
		h.groups, h.behind = "8:pids:/user/one\n0::/user/one\n", test.leaves
		k := h.kernel()
		first, err := Simulate(im.ELF, k, SimulateOptions{Args: preludeArgs, Env: preludeEnv()})
		if err != nil {
			t.Fatal(err)
		}
		if left := first.Entry == preludeEntry; left != test.leaves || first.Status != 0 {
			t.Errorf("%+v: left %v, status %d: %s", test, left, first.Status, failure(k, pl, im))
		}
		for _, e := range k.Trace {
			if e.Call == plan.SysMkdirat && strings.HasPrefix(e.Strings[1], "cloche-") {
				t.Errorf("%+v: it made %s", test, e.Strings[1])
			}
		}
	}
}

// TestPreludeHandsOver: where the set-up fails it becomes the program, which does it
// all again; where the command failed, the program explains that.
func TestPreludeHandsOver(t *testing.T) {
	for name, test := range map[string]struct {
		fails    plan.Call
		exit     int
		want     string
		executed bool
	}{
		"the launcher":        {plan.SysPipe2, 0, "0:100", false},
		"the namespaces":      {plan.SysClone, 0, "0:100", false},
		"the mounts":          {plan.SysFsmount, 0, "0:100", false},
		"Landlock":            {plan.SysLandlockRestrictSelf, 0, "0:100", false},
		"the command's start": {plan.SysExecve, 0, "0:100", false},
		"the command":         {plan.Enter, 3, "0:0:3:100", true},
	} {
		_, im, h := preludeImage(t, "amd64", pidsV1)
		k := h.kernel()
		k.ExitStatus = test.exit
		if !test.fails.IsPseudo() {
			h.answer[test.fails] = -int64(unix.EPERM)
		}
		first, err := Simulate(im.ELF, k, SimulateOptions{Args: preludeArgs, Env: preludeEnv()})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if first.Exec != "/proc/self/exe" {
			t.Errorf("%s: it executed %q and ended with %d", name, first.Exec, first.Status)
			continue
		}
		var env []string
		argv := ""
		for _, e := range k.Trace {
			if e.Call == plan.SysExecve && e.Result == 0 && !test.executed {
				t.Errorf("%s: %s was executed all the same", name, e.Strings[0])
			}
			if e.Call != plan.SysExecveat {
				continue
			}
			for at := e.Args[3]; ; at += 8 {
				p, _ := first.Mem.load(at, 8)
				if p == 0 {
					break
				}
				s, _ := first.Mem.String(p)
				env = append(env, s)
			}
			p, _ := first.Mem.load(e.Args[2]+8, 8)
			argv, _ = first.Mem.String(p)
		}
		if argv != "run" || len(env) == 0 || !strings.HasPrefix(env[0], plan.ExplainVariable+"=") || !strings.HasSuffix(env[0], test.want) || !slices.Equal(env[1:], preludeEnv()) {
			t.Errorf("%s: executed as %q with %q", name, argv, env)
		}
		if made := slices.ContainsFunc(k.Trace, func(e Event) bool { return e.Call == plan.SysMkdirat && e.Strings[1] == "cloche-100" }); made &&
			!slices.ContainsFunc(k.Trace, func(e Event) bool {
				return e.Call == plan.SysUnlinkat && e.Strings[1] == "cloche-100" && e.Args[2] != 0
			}) {
			t.Errorf("%s: the cgroup is left", name)
		}
	}
}

// TestPreludeLeaves: whatever it was not made for is left to the program, and
// nothing was changed or left open until then.
func TestPreludeLeaves(t *testing.T) {
	harmless := []plan.Call{
		plan.SysGetuid, plan.SysGeteuid, plan.SysGetgid, plan.SysGetegid, plan.SysIoctl, plan.SysFcntl, plan.SysLandlockCreateRuleset,
		plan.SysReadlinkat, plan.SysStatx, plan.SysGetcwd, plan.SysOpenat, plan.SysOpenat2, plan.SysClose, plan.SysRead, plan.SysFstatfs,
		plan.SysFaccessat, plan.SysGetdents64, plan.SysKill, plan.SysMadvise, plan.SysRtSigprocmask,
	}
	type start struct {
		*preludeHost
		args, env []string
	}
	for name, change := range map[string]func(*start){
		"no arguments":            func(s *start) { s.args = s.args[:1] },
		"another verb":            func(s *start) { s.args[1] = "runs" },
		"no command":              func(s *start) { s.args = s.args[:2] },
		"dashes alone":            func(s *start) { s.args = s.args[:3] },
		"an empty command":        func(s *start) { s.args[3] = "" },
		"an empty command, no --": func(s *start) { s.args = []string{"cloche", "run", ""} },
		"a flag":                  func(s *start) { s.args[2] = "--tty" },
		"a short flag":            func(s *start) { s.args[2] = "-h" },
		"to be explained":         func(s *start) { s.env = append(s.env, plan.ExplainVariable+"=0:0:1:100") },
		"other effective uid":     func(s *start) { s.answer[plan.SysGeteuid] = 7 },
		"other effective gid":     func(s *start) { s.answer[plan.SysGetegid] = 7 },
		"a terminal":              func(s *start) { s.answer[plan.SysIoctl] = 0 },
		"no stdin":                func(s *start) { s.answer[plan.SysIoctl] = -int64(unix.EBADF) },
		"a stream is closed":      func(s *start) { s.answer[plan.SysFcntl] = -int64(unix.EBADF) },
		"descriptor 61 is open":   func(s *start) { s.open[61] = true },
		"a blocked signal":        func(s *start) { s.blocked = 1 },
		"descriptor 62 is open":   func(s *start) { s.open[62] = true },
		"descriptor 63 is open":   func(s *start) { s.open[63] = true },
		"other Landlock":          func(s *start) { s.answer[plan.SysLandlockCreateRuleset] = 6 },
		"no Landlock":             func(s *start) { s.answer[plan.SysLandlockCreateRuleset] = -int64(unix.ENOSYS) },
		"a link elsewhere":        func(s *start) { s.facts.Paths["/bin"] = host.PathFact{Exists: true, Link: "usr/bim"} },
		"a longer link":           func(s *start) { s.facts.Paths["/bin"] = host.PathFact{Exists: true, Link: "usr/bin2"} },
		"no link":                 func(s *start) { s.answer[plan.SysReadlinkat] = -int64(unix.EINVAL) },
		"a secret that is new":    func(s *start) { s.facts.Paths["/etc/wireguard"] = host.PathFact{Exists: true} },
		"a directory that is new": func(s *start) { s.facts.Paths["/lib32"] = host.PathFact{Exists: true} },
		"in /":                    func(s *start) { s.cwd = "/" },
		"in no directory":         func(s *start) { s.answer[plan.SysGetcwd] = -int64(unix.ENOENT) },
		"unreachable":             func(s *start) { s.cwd = "(unreachable)/x" },
		"a strange name":          func(s *start) { s.cwd = "/home/a\nb" },
		"not ASCII":               func(s *start) { s.cwd = "/home/ä" },
		"in /tmp":                 func(s *start) { s.cwd = "/tmp" },
		"below /usr":              func(s *start) { s.cwd = "/usr/src" },
		"below /proc":             func(s *start) { s.cwd = "/proc/self" },
		"below /sys":              func(s *start) { s.cwd = "/sys/kernel" },
		"at home":                 func(s *start) { s.cwd = "/home/u" },
		"above home":              func(s *start) { s.cwd = "/home" },
		"home is the directory":   func(s *start) { s.env[1] = "HOME=/home/u/project" },
		"home lies in it":         func(s *start) { s.env[1] = "HOME=/home/u/project/a//b/" },
		"home is relative":        func(s *start) { s.env[1] = "HOME=home" },
		"home by ..":              func(s *start) { s.env[1] = "HOME=/x/../y" },
		"home by //":              func(s *start) { s.env[1] = "HOME=/x//y" },
		"home by a link in it":    func(s *start) { s.env[1] = "HOME=/home/u/project/link" },
		"records elsewhere":       func(s *start) { s.env = append(s.env, "CLOCHE_STATE_DIR=/home/u/project/records") },
		"runtime elsewhere":       func(s *start) { s.env[5] = "XDG_RUNTIME_DIR=/home/u/project" },
		"runtime by ..":           func(s *start) { s.env[5] = "XDG_RUNTIME_DIR=/run/../home/u/project" },
		"a variable twice":        func(s *start) { s.env = append(s.env, "TERM=y") },
		"a strange LC_":           func(s *start) { s.env = append(s.env, "LC_X=y") },
		"other cgroup namespace":  func(s *start) { s.cgroupns++ },
		"two homes":               func(s *start) { s.env = append(s.env, "HOME=/home/u") },
		"no home":                 func(s *start) { s.env[1] = "HOM=/home/u" },
		"PWD by a link":           func(s *start) { s.env[2] = "PWD=/home/u/link" },
		"PWD longer":              func(s *start) { s.env[2] = "PWD=/home/u/project/x" },
		"PWD shorter":             func(s *start) { s.env[2] = "PWD=/home/u/projec" },
		"other cgroups":           func(s *start) { s.groups = "0::/\n" },
		"cgroup out of the way":   func(s *start) { s.groups = "8:pids:/../x\n" },
		"many cgroups":            func(s *start) { s.groups = strings.Repeat("x", 4095) },
		"no such cgroup":          func(s *start) { s.answer[plan.SysOpenat2] = -int64(unix.ENOENT) },
		"no cgroup file system":   func(s *start) { s.answer[plan.SysFstatfs] = 0 },
		"a read-only cgroup":      func(s *start) { s.answer[plan.SysFaccessat] = -int64(unix.EROFS) },
		"an environment without end": func(s *start) {
			for range 1 << 16 {
				s.env = append(s.env, "LC_X=1")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, im, h := preludeImage(t, "amd64", pidsV1)
			s := &start{h, slices.Clone(preludeArgs), preludeEnv()}
			h.behind = true
			change(s)
			k := h.kernel()
			first, err := Simulate(im.ELF, k, SimulateOptions{Args: s.args, Env: s.env, MaxSteps: 20_000_000})
			if err != nil {
				t.Fatal(err)
			}
			if first.Entry != preludeEntry {
				t.Errorf("it went on; status %d, executed %q", first.Status, first.Exec)
			}
			for _, e := range k.Trace {
				if !slices.Contains(harmless, e.Call) || e.Call == plan.SysKill && e.Args[1] != 0 {
					t.Errorf("%s before it left", e.Call.Name())
				}
			}
			for fd, f := range k.proc(first).files {
				if !closedIn(k.Trace, fd) {
					t.Errorf("descriptor %d of %s is open", fd, f.path)
				}
			}
		})
	}
}

func closedIn(trace []Event, fd int32) bool {
	return slices.ContainsFunc(trace, func(e Event) bool { return e.Call == plan.SysClose && int32(e.Args[0]) == fd })
}
