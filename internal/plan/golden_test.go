package plan

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/policy"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// testFacts is a host on which every directory of paths exists, /bin is a link
// to usr/bin, and the files of /etc that profiles hide are there in part.
func testFacts(p *policy.Policy) host.Facts {
	f := host.Facts{GOARCH: "amd64", UID: 1000, GID: 1000, LandlockABI: 7, MountAPI: host.MountAPI{OpenTree: true, MoveMount: true, Fsopen: true, Fsmount: true, MountSetattr: true}, Openat2: true, CloseRange: true, RangeOnExec: true, Paths: map[string]host.PathFact{}}
	look := func(i int, path string) {
		pf := host.PathFact{Exists: true, Mode: unix.S_IFDIR | 0o755, Real: path, Ino: uint64(100 + i), DevMajor: 8, DevMinor: 1}
		switch path {
		case "/bin", "/sbin", "/lib", "/lib64":
			pf.Link, pf.Real = "usr"+path, "/usr"+path
		case "/lib32", "/libx32", "/nix/store", "/etc/wireguard", "/etc/krb5.keytab":
			pf = host.PathFact{Err: "ENOENT"}
		case "/etc/shadow", "/etc/gshadow":
			pf.Mode = unix.S_IFREG | 0o640
		}
		f.Paths[path] = pf
	}
	sources := SourcePaths(p)
	for i, path := range sources {
		look(i, path)
	}
	targets, resolve := TargetPaths(p, f)
	for i, path := range append(targets, resolve...) {
		look(len(sources)+i, path)
	}
	return f
}

// testFilter stands for a profile's program: golden plans show a filter's place
// and length, package seccomp's own tests its content.
var testFilter = []unix.SockFilter{{Code: unix.BPF_RET, K: unix.SECCOMP_RET_ALLOW}}

func builtin(t *testing.T, name string) *policy.Policy {
	t.Helper()
	p, ok := policy.Builtin(name)
	if !ok {
		t.Fatalf("no profile %q", name)
	}
	if err := policy.Expand(p, "/home/u", "/home/u/project"); err != nil {
		t.Fatal(err)
	}
	if err := policy.Validate(p); err != nil {
		t.Fatal(err)
	}
	return p
}

func input(t *testing.T, p *policy.Policy) Input {
	return Input{Policy: p, Facts: testFacts(p), Filter: testFilter, InitFilter: testFilter, StatusFD: 3, ControlFD: -1, CgroupFD: -1}
}

// TestGoldenPlans holds the whole plan of every built-in profile: each operation
// that a sandbox is made of can be reviewed as text, and a change of it shows.
func TestGoldenPlans(t *testing.T) {
	for _, name := range policy.Builtins() {
		t.Run(name, func(t *testing.T) {
			p := builtin(t, name)
			in := input(t, p)
			golden(t, name, in)
			if NeedsSupervisor(p) == nil && p.Limits.Memory == 0 {
				in.Standalone = &Standalone{Command: []string{"/bin/true"}}
				golden(t, name+"-standalone", in)
			}
			if name == "default" {
				in.Standalone = &Standalone{InPlace: &InPlace{ArgvSkip: 3, ReadFD: 3, ExeFD: 5, Env: []string{"HOME=/home/u", ""}, Remove: []string{"/sys/fs/cgroup/pids/cloche-1"}}}
				in.StatusFD = 4
				golden(t, name+"-in-place", in)
			}
		})
	}
}

// TestGoldenOldKernel is the plan for a kernel without mount_setattr (before
// 5.12) and CLOSE_RANGE_CLOEXEC (before 5.11).
func TestGoldenOldKernel(t *testing.T) {
	in := input(t, builtin(t, "default"))
	in.Facts.MountAPI.MountSetattr, in.Facts.RangeOnExec = false, false
	golden(t, "default-without-mount-setattr", in)
}

// TestGoldenNotify is the plan with a listener, in which pid 1 does not sleep until
// the command's exec.
func TestGoldenNotify(t *testing.T) {
	in := input(t, builtin(t, "default"))
	in.ControlFD, in.Notify = 4, &Notify{Filter: testFilter, Killable: true}
	golden(t, "default-notify", in)

	in.Policy.Init = false
	if _, err := Compile(in); err == nil || !strings.Contains(err.Error(), "init = false") {
		t.Errorf("without init: %v", err)
	}
	in = input(t, builtin(t, "default"))
	in.Notify = &Notify{Filter: testFilter}
	in.Facts.RangeOnExec = false
	if _, err := Compile(in); err == nil || !strings.Contains(err.Error(), "Linux 5.11") {
		t.Errorf("on Linux 5.10: %v", err)
	}
	in.Facts.RangeOnExec, in.Standalone = true, &Standalone{Command: []string{"true"}}
	if _, err := Compile(in); err == nil || !strings.Contains(err.Error(), "cloche run") {
		t.Errorf("as an executable: %v", err)
	}
}

// TestKernelRefused: a call that has no substitute is named, and only where the
// policy needs it.
func TestKernelRefused(t *testing.T) {
	for _, c := range []struct {
		lack func(*host.Facts)
		want string // "": nothing is refused
		only bool   // where mounts are unshared
	}{
		{func(f *host.Facts) { f.MountAPI.OpenTree = false }, "no system call open_tree,", true},
		{func(f *host.Facts) { f.MountAPI.MoveMount, f.Openat2 = false, false }, "no system call move_mount nor openat2,", true},
		{func(f *host.Facts) { f.MountAPI = host.MountAPI{} }, "no system call open_tree nor move_mount nor fsopen nor fsmount,", true},
		{func(f *host.Facts) { f.CloseRange = false }, "no system call close_range,", false},
		{func(f *host.Facts) { f.MountAPI.MountSetattr = false }, "", false},
	} {
		p := builtin(t, "default")
		in := input(t, p)
		c.lack(&in.Facts)
		for _, mounts := range []bool{true, false} {
			p.Unshare.Mount = mounts
			want := c.want
			if c.only && !mounts {
				want = ""
			}
			_, err := Compile(in)
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "use Linux 5.9")) {
				t.Errorf("mounts %v: %v, want %q", mounts, err, want)
			}
		}
	}
}

func golden(t *testing.T, name string, in Input) {
	t.Helper()
	pl, err := Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	compareGolden(t, name, pl)
}

func compareGolden(t *testing.T, name string, pl *Plan) {
	t.Helper()
	var got strings.Builder
	if err := pl.WriteText(&got); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", name+".plan")
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got.String()); d != "" {
		t.Errorf("%s differs (-want +got); `go test ./internal/plan -update` rewrites it:\n%s", file, d)
	}
}

// TestGoldenPrelude is the plan that stands in front of the program.
func TestGoldenPrelude(t *testing.T) {
	golden(t, "default-prelude", preludeInput(t))
}

// TestFileLabel: what the sandbox makes for itself lies in file systems that have the label, the one that others are
// directories of as well.
func TestFileLabel(t *testing.T) {
	in := input(t, ArgvPolicy())
	in.Manner, in.Standalone = ArgvManner("labeller"), &Standalone{InPlace: &InPlace{}}
	in.Manner.FileLabel = "system_u:object_r:container_file_t:s0"
	in.Sequence = []Act{{Kind: ActTmpfs, Dest: "/small", Mode: 0o755, Size: 65536}, {Kind: ActTmpfs, Dest: "/tmp", Mode: 0o1777}}
	pl, err := Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := pl.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	made := strings.Count(text.String(), `fsopen("tmpfs"`)
	if n := strings.Count(text.String(), `FSCONFIG_SET_STRING, "context", "`+in.Manner.FileLabel+`"`); n != made || n != 2 {
		t.Errorf("%d of %d file systems have the label:\n%s", n, made, text.String())
	}
}

// TestGoldenArgv is the plan of an image that reads its command line.
func TestGoldenArgv(t *testing.T) {
	in := input(t, ArgvPolicy())
	in.StatusFD, in.Manner, in.Sequence = PreludeStatusFD, ArgvManner("reader"), []Act{}
	in.Standalone = &Standalone{InPlace: &InPlace{ReadFD: PreludeReadFD, ExeFD: PreludeExeFD, Prelude: &Prelude{Argv: &Argv{
		Name: "reader", Not: []string{"MORE_OPTIONS"},
		Options: []ArgvOption{
			{Name: "--read", Words: 2, Act: Act{Kind: ActBind, ReadOnly: true}},
			{Name: "--dir", Words: 1, Act: Act{Kind: ActDir}},
			{Name: "--link", Words: 2, Act: Act{Kind: ActSymlink}},
			{Name: "--private", Effect: EffectUnshare, Unshare: policy.Namespaces{User: true, PID: true, Net: true}},
			{Name: "--mode", Words: 1, Effect: EffectMode},
			{Name: "--set", Words: 2, Effect: EffectSetenv},
		},
	}}}}
	golden(t, "argv", in)
}

func preludeInput(t *testing.T) Input {
	t.Helper()
	p, _ := policy.Builtin("default")
	if err := policy.Expand(p, "", WorkingDirectory); err != nil {
		t.Fatal(err)
	}
	in := input(t, p)
	PreludeFacts(&in.Facts)
	in.StatusFD = PreludeStatusFD
	in.Standalone = &Standalone{InPlace: &InPlace{ReadFD: PreludeReadFD, ExeFD: PreludeExeFD, Prelude: &Prelude{
		Entry: 0x401000, Hierarchy: Hierarchy{Version: 1, Mount: "/sys/fs/cgroup/pids", Controllers: "pids", Namespace: 4026531835},
	}}}
	return in
}

// TestGoldenJoin is the plan of a command that enters a sandbox of the default profile
// on cgroup v1, and of one with a terminal on cgroup2 whose ids are others.
func TestGoldenJoin(t *testing.T) {
	p := builtin(t, "default")
	first, err := Compile(input(t, p))
	if err != nil {
		t.Fatal(err)
	}
	j := joinInput(p, first)
	goldenJoin(t, "default-join", j)
	j.Image = joinImage()
	goldenJoin(t, "default-join-image", j)
	j.Image = nil

	p.User = policy.User{Mode: policy.UserSingle, UID: 7, GID: 8}
	p.Capabilities = []string{"CAP_CHOWN"}
	j.EntryFDs, j.CgroupFD, j.ControlFD, j.Terminal = nil, 8, 4, [3]bool{true, true, true}
	j.Namespaces &^= unix.CLONE_NEWUSER
	j.Outlive = true
	goldenJoin(t, "default-join-terminal", j)
}

func joinInput(p *policy.Policy, first *Plan) *Join {
	return &Join{
		Policy: p, Facts: testFacts(p), Filter: testFilter, InitFilter: testFilter, Landlock: first.Landlock,
		Namespaces: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP,
		StatusFD:   3, ControlFD: -1, PidFD: 5, RootFD: 6, EntryFDs: []int{7}, CgroupFD: -1,
	}
}

func joinImage() *JoinImage {
	file := func(path string, ino uint64) JoinFile { return JoinFile{path, Inode{Ino: ino, Major: 0, Min: 9}} }
	dir := file("/sys/fs/cgroup/unified/own", 13)
	return &JoinImage{
		PID: 1234, Process: Inode{Ino: 10, Min: 8}, Program: Inode{Ino: 11, Size: 99}, Boot: "boot\n", Env: []string{"PATH=/usr/bin", "A=b"},
		Shared: [][2]string{{"time", "time"}}, Cgroups: "1:pids:/own\n", OwnCgroups: "1:pids:/\n",
		Entries: []JoinFile{file("/sys/fs/cgroup/pids/own/tasks", 12)}, CgroupDir: &dir,
		Thawed: []JoinText{{"/sys/fs/cgroup/freezer/own/freezer.state", "THAWED\n"}},
	}
}

func goldenJoin(t *testing.T, name string, j *Join) {
	t.Helper()
	pl, err := CompileJoin(j)
	if err != nil {
		t.Fatal(err)
	}
	compareGolden(t, name, pl)
}
