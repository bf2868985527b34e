package cgroups

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
	"github.com/cloche-sandbox/cloche/internal/needs"
)

// TestMain adopts what the scripts leave behind: pid 1 may reap nothing.
func TestMain(m *testing.M) {
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	os.Exit(m.Run())
}

func ptr[T any](v T) *T { return &v }

// top is a group of this test run's own, below which all others are.
func top(t *testing.T) string {
	t.Helper()
	needs.Root(t, "making a container's cgroup needs root")
	l, err := cgroup.Detect()
	if err != nil || len(l.Hierarchies) == 0 {
		needs.Skip(t, fmt.Sprintf("cgroups: %v", err))
	}
	name := "/cloche-oci-test-" + strconv.Itoa(os.Getpid())
	t.Cleanup(func() {
		for _, h := range l.Hierarchies {
			if err := cgroup.RemoveTree(path.Join(h.Mount, name)); err != nil {
				t.Error(err)
			}
		}
	})
	return name
}

func prepare(t *testing.T, c Config) *Group {
	t.Helper()
	g, err := Prepare(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(g.Signal(unix.SIGKILL), g.Destroy()); err != nil {
			t.Error(err)
		}
		for _, d := range g.State().Dirs {
			if _, err := os.Stat(d.Path); err == nil {
				t.Errorf("%s is left behind", d.Path)
			}
		}
	})
	return g
}

// start runs a shell script in the group.
func start(t *testing.T, g *Group, script string) (*exec.Cmd, *strings.Builder) {
	t.Helper()
	var enter strings.Builder
	cmd := exec.Command("/bin/sh", "-c")
	for i, e := range g.Entries() {
		fd, err := syscall.Dup(e.FD)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), e.Path)
		defer f.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
		fmt.Fprintf(&enter, "echo 0 > /proc/self/fd/%d || exit 99\n", 3+i)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if g.DirFD() >= 0 {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, g.DirFD()
	}
	out := &strings.Builder{}
	cmd.Args = append(cmd.Args, enter.String()+script)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd, out
}

func readFile(t *testing.T, g *Group, controller, file string) string {
	t.Helper()
	s, err := g.read(controller, file)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestLimits makes a group as an engine would, looks at every value in the
// kernel, changes some, and removes it.
func TestLimits(t *testing.T) {
	parent := top(t)
	g := prepare(t, Config{ID: "limits", Path: parent + "/limits", Version: "1.0.2", Resources: &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: ptr(int64(64 << 20)), Swap: ptr(int64(64 << 20)), Reservation: ptr(int64(32 << 20))},
		CPU:    &specs.LinuxCPU{Shares: ptr(uint64(512)), Quota: ptr(int64(50000)), Cpus: "0", Mems: "0"},
		Pids:   &specs.LinuxPids{Limit: ptr(int64(20))},
	}})
	want := func(controller, v1, v1value, v2, v2value string) {
		t.Helper()
		file, value := v1, v1value
		if g.v2(controller) {
			file, value = v2, v2value
		}
		if got := readFile(t, g, controller, file); got != value {
			t.Errorf("%s is %q, want %q", file, got, value)
		}
	}
	want("memory", "memory.limit_in_bytes", "67108864", "memory.max", "67108864")
	want("memory", "memory.soft_limit_in_bytes", "33554432", "memory.low", "33554432")
	want("cpu", "cpu.shares", "512", "cpu.weight", "59")
	want("cpu", "cpu.cfs_quota_us", "50000", "cpu.max", "50000 100000")
	want("pids", "pids.max", "20", "pids.max", "20")
	want("cpuset", "cpuset.cpus", "0", "cpuset.cpus", "0")

	update := func(r specs.LinuxResources) {
		t.Helper()
		if err := g.Update(&r, "1.0.2"); err != nil {
			t.Error(err)
		}
	}
	// Up, where v1 refuses the new limit for as long as the old one of memory
	// with swap stands, down again, and without any.
	update(specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(128 << 20)), Swap: ptr(int64(128 << 20))}})
	want("memory", "memory.limit_in_bytes", "134217728", "memory.max", "134217728")
	update(specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(32 << 20)), Swap: ptr(int64(32 << 20))}})
	want("memory", "memory.limit_in_bytes", "33554432", "memory.max", "33554432")
	update(specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(-1))}})
	want("memory", "memory.limit_in_bytes", "9223372036854771712", "memory.max", "max")
	// A period alone leaves the quota as it is.
	update(specs.LinuxResources{CPU: &specs.LinuxCPU{Period: ptr(uint64(200000))}})
	want("cpu", "cpu.cfs_quota_us", "50000", "cpu.max", "50000 200000")
	want("pids", "pids.max", "20", "pids.max", "20")

	err := g.Update(&specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "4095"}}, "1.0.2")
	if err == nil || !strings.HasPrefix(err.Error(), `linux.resources.cpu.cpus: write "4095" to /`) {
		t.Errorf("a processor that is not there: %v", err)
	}
}

// TestEnter has processes in the group, in one below it, frozen and killed.
func TestEnter(t *testing.T) {
	parent := top(t)
	made := prepare(t, Config{ID: "enter", Path: parent + "/enter"})
	init, _ := start(t, made, "sleep 60 & wait")

	g := Load(made.State())
	defer g.Close()
	if err := g.Enter(nil, init.Process.Pid); err != nil {
		t.Fatal(err)
	}
	second, out := start(t, g, "cat /proc/self/cgroup; exit 3")
	_ = second.Wait()
	if code := second.ProcessState.ExitCode(); code != 3 {
		t.Fatalf("exit %d: %s", code, out)
	}
	for line := range strings.Lines(out.String()) {
		if !strings.HasSuffix(line, parent+"/enter\n") {
			t.Errorf("another process is in %s", line)
		}
	}
	waitFor(t, "two processes", func() bool { pids, err := g.Processes(true); return err == nil && len(pids) == 2 })

	if err := g.Freeze(); err != nil {
		t.Fatal(err)
	}
	if frozen, err := g.Frozen(); err != nil || !frozen {
		t.Errorf("frozen %t, %v", frozen, err)
	}
	if _, err := Prepare(Config{ID: "enter", Path: parent + "/enter"}); !errors.Is(err, errFrozen) {
		t.Errorf("a container in a frozen group: %v", err)
	}
	if err := g.Thaw(); err != nil {
		t.Fatal(err)
	}
	if frozen, err := g.Frozen(); err != nil || frozen {
		t.Errorf("frozen %t, %v", frozen, err)
	}
	// What is killed is killed while it is frozen, too.
	if err := errors.Join(g.Freeze(), g.Signal(unix.SIGKILL)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- init.Wait() }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("a frozen process was not killed")
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: ", what)
		}
	}
}

// TestDevices opens devices in a group whose rules allow some.
func TestDevices(t *testing.T) {
	parent := top(t)
	g := prepare(t, Config{ID: "devices", Path: parent + "/devices", Resources: &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{
		{Access: "rwm"},
		{Allow: true, Type: "c", Major: ptr(int64(1)), Minor: ptr(int64(11)), Access: "r"}, // kmsg
	}}})
	dir := t.TempDir()
	node := func(name string, minor uint32) string {
		file := path.Join(dir, name)
		if err := unix.Mknod(file, unix.S_IFCHR|0o666, int(unix.Mkdev(1, minor))); err != nil {
			needs.Elsewhere(t, "this machine has no device nodes to be made: "+err.Error())
		}
		return file
	}
	null, mem, kmsg := node("null", 3), node("mem", 1), node("kmsg", 11)
	try := func(redirect, file string) bool {
		cmd, out := start(t, g, "true "+redirect+" "+file)
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code == 99 {
			t.Fatal(out)
		}
		return cmd.ProcessState.Success()
	}
	for _, tt := range []struct {
		redirect, file string
		want           bool
	}{{"<", null, true}, {">", null, true}, {"<", mem, false}, {">", mem, false}, {"<", kmsg, true}, {">", kmsg, false}} {
		if got := try(tt.redirect, tt.file); got != tt.want {
			t.Errorf("%s %s worked: %t, want %t", tt.redirect, path.Base(tt.file), got, tt.want)
		}
	}
	// The same group once more, with everything allowed: nothing of the old rules stays.
	again, err := Prepare(Config{ID: "devices", Path: parent + "/devices", Resources: &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}}})
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	if !try(">", kmsg) {
		t.Error("an old rule still denies")
	}
}

// TestRefusals leaves nothing behind.
func TestRefusals(t *testing.T) {
	parent := top(t)
	for _, tt := range []struct {
		c    Config
		want string
	}{
		{Config{Path: parent + "/refused", Resources: &specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "4095"}}}, "linux.resources.cpu.cpus: write"},
		{Config{Path: parent + "/refused", Resources: &specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "3MB"}}}}, "linux.resources.hugepageLimits.3MB: "},
		{Config{Path: parent + "/refused", Resources: &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: true}}}}, "linux.resources.devices[0]: access is empty"},
		{Config{Path: "/"}, "linux.cgroupsPath: "},
		{Config{Path: "/../.."}, "linux.cgroupsPath: "},
		{Config{Path: parent + "/refused", Systemd: true}, "--systemd-cgroup: "},
	} {
		g, err := Prepare(tt.c)
		if err == nil {
			g.Close()
			t.Errorf("%+v was taken", tt.c)
			continue
		}
		if !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%v, want %s…", err, tt.want)
		}
	}
	l, _ := cgroup.Detect()
	for _, h := range l.Hierarchies {
		if _, err := os.Stat(path.Join(h.Mount, parent, "refused")); err == nil {
			t.Errorf("%s/refused is left behind in %s", parent, h.Mount)
		}
	}
}

func TestPaths(t *testing.T) {
	v1 := &cgroup.Hierarchy{Version: 1, Mount: "/c/memory", Own: "/c/memory/own"}
	v2 := &cgroup.Hierarchy{Version: 2, Mount: "/c", Own: "/c/user/own"}
	root := &cgroup.Hierarchy{Version: 2, Mount: "/c", Own: "/c"}
	for _, tt := range []struct {
		h           *cgroup.Hierarchy
		asked, want string
	}{
		{v1, "/docker/x", "/c/memory/docker/x"},
		{v1, "x/y", "/c/memory/own/x/y"},
		{v1, "", "/c/memory/own/ID"},
		{v1, "../../x", "/c/memory/own/x"},
		{v1, "/../../x", "/c/memory/x"},
		{v2, "/docker/x", "/c/docker/x"},
		{v2, "x", "/c/user/x"},
		{v2, "", "/c/user/ID"},
		{root, "", "/c/ID"},
	} {
		if got := groupPath(tt.h, tt.asked, "ID"); got != tt.want {
			t.Errorf("%q below %s: %s, want %s", tt.asked, tt.h.Own, got, tt.want)
		}
	}
}

// BenchmarkPrepare is what a start of a container pays for its cgroup.
func BenchmarkPrepare(b *testing.B) {
	needs.Root(b, "making a container's cgroup needs root")
	c := Config{ID: "bench", Path: "/cloche-oci-bench-" + strconv.Itoa(os.Getpid()), Resources: &specs.LinuxResources{
		Devices: []specs.LinuxDeviceCgroup{{Access: "rwm"}}, Pids: &specs.LinuxPids{Limit: ptr(int64(20))},
	}}
	for b.Loop() {
		g, err := Prepare(c)
		if err != nil {
			b.Fatal(err)
		}
		if err := g.Destroy(); err != nil {
			b.Fatal(err)
		}
	}
}

// TestWatchOOM needs a kernel that still tells on v1, and a process that eats.
func TestWatchOOM(t *testing.T) {
	parent := top(t)
	g := prepare(t, Config{ID: "oom", Path: parent + "/oom", Resources: &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: ptr(int64(16 << 20)), Swap: ptr(int64(16 << 20))},
	}})
	watched := Load(g.State())
	defer watched.Close()
	events, err := watched.WatchOOM()
	if err != nil {
		t.Fatal(err)
	}
	cmd, _ := start(t, g, "head -c 67108864 /dev/zero | tail -n1 > /dev/null; true")
	_ = cmd.Wait()
	select {
	case _, more := <-events:
		if !more {
			t.Error("the group was gone before it had an event")
		}
	case <-time.After(10 * time.Second):
		t.Error("no event")
	}
	if n := watched.OOMKills(); n < 1 {
		t.Errorf("%d processes were killed, want one at least", n)
	}
}
