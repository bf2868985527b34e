package late

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/cgroups/systemd"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/internal/oci/cgroups"
)

func ptr[T any](v T) *T { return &v }

// TestUnit has systemd make a scope around a process, as root or as the user of
// a login session, limits and changes it, and comes back to it by its state.
func TestUnit(t *testing.T) {
	if !systemd.IsRunningSystemd() {
		needs.Elsewhere(t, "this machine has no systemd")
	}
	name := "test-" + strconv.Itoa(os.Getpid())
	c := cgroups.Config{
		ID: name, Systemd: true, Rootless: os.Geteuid() != 0,
		Resources: &specs.LinuxResources{
			Memory: &specs.LinuxMemory{Limit: ptr(int64(64 << 20))}, Pids: &specs.LinuxPids{Limit: ptr(int64(20))},
			CPU:     &specs.LinuxCPU{Shares: ptr(uint64(512)), Quota: ptr(int64(50000)), Period: ptr(uint64(100000))},
			Devices: []specs.LinuxDeviceCgroup{{Access: "rwm"}},
		},
		Annotations: map[string]string{"org.systemd.property.CollectMode": "'inactive-or-failed'", "org.systemd.property.TimeoutStopSec": "7.5"},
	}
	slice := "system.slice"
	if c.Rootless {
		slice = "user.slice"
	}
	c.Path = slice + ":cloche:" + name
	g, err := cgroups.Prepare(c)
	if err != nil {
		t.Fatal(err)
	}
	if !g.NeedsPid() {
		t.Fatal("a unit before there is a process")
	}
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	if err := g.Adopt(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	state := g.State()
	g.Close()
	t.Logf("%+v", state)
	unit := "cloche-" + name + ".scope"
	if state.Unit != unit || len(state.Dirs) == 0 {
		t.Fatalf("%+v", state)
	}
	read := func(file string) string {
		for _, d := range state.Dirs {
			if data, err := os.ReadFile(d.Path + "/" + file); err == nil {
				return strings.TrimSpace(string(data))
			}
		}
		return "(not there)"
	}
	v2 := state.Dirs[0].V2
	want := func(v1, v1value, v2file, v2value string) {
		t.Helper()
		file, value := v1, v1value
		if v2 {
			file, value = v2file, v2value
		}
		if got := read(file); got != value {
			t.Errorf("%s is %q, want %q", file, got, value)
		}
	}
	want("memory.limit_in_bytes", "67108864", "memory.max", "67108864")
	want("pids.max", "20", "pids.max", "20")
	if os.Geteuid() == 0 { // a user's manager may have no cpu controller to hand out
		want("cpu.shares", "512", "cpu.weight", "59")
		want("cpu.cfs_quota_us", "50000", "cpu.max", "50000 100000")
	}

	again := cgroups.Load(state)
	if pids, err := again.Processes(true); err != nil || len(pids) != 1 || pids[0] != cmd.Process.Pid {
		t.Errorf("processes %v, %v", pids, err)
	}
	if err := again.Update(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(32 << 20))}, Pids: &specs.LinuxPids{Limit: ptr(int64(30))}}, ""); err != nil {
		t.Error(err)
	}
	want("memory.limit_in_bytes", "33554432", "memory.max", "33554432")
	// systemd would undo what it does not know of when it reads its units again.
	ctl := []string{"show", "-p", "MemoryMax", "-p", "TasksMax", "-p", "TimeoutStopUSec", unit}
	if c.Rootless {
		ctl = append([]string{"--user"}, ctl...)
	}
	if out, err := exec.Command("systemctl", ctl...).CombinedOutput(); err != nil || !strings.Contains(string(out), "33554432") || !strings.Contains(string(out), "TasksMax=30") || !strings.Contains(string(out), "=7.5") {
		t.Errorf("%v: %s", err, out)
	}
	if err := again.Freeze(); err != nil {
		t.Error(err)
	}
	if frozen, err := again.Frozen(); err != nil || !frozen {
		t.Errorf("frozen %t, %v", frozen, err)
	}
	if err := again.Signal(unix.SIGKILL); err != nil {
		t.Error(err)
	}
	if !v2 {
		_ = again.Thaw()
	}
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("the process lives")
	}
	if err := again.Destroy(); err != nil {
		t.Error(err)
	}
	for _, d := range state.Dirs {
		if _, err := os.Stat(d.Path); err == nil {
			t.Errorf("%s is left behind", d.Path)
		}
	}
}

func TestUnitRefused(t *testing.T) {
	_, err := driver{}.New(&cgroups.Config{ID: "x", Systemd: true, Path: "/a/b"})
	want := "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"/a/b\" instead"
	if !systemd.IsRunningSystemd() {
		want = "--systemd-cgroup: systemd does not run this machine (no /run/systemd/system); leave it out, and have the engine use the driver cgroupfs"
	}
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestProperties(t *testing.T) {
	got, err := properties(map[string]string{
		"org.systemd.property.TimeoutStopUSec": "uint64 123", "org.systemd.property.RuntimeMaxSec": "1.5", "org.systemd.property.After": "['a.service']", "other": "x",
	})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, p := range got {
		lines = append(lines, p.Name+"="+p.Value.String())
	}
	if diff := cmp.Diff([]string{`After=["a.service"]`, "RuntimeMaxUSec=@t 1500000", "TimeoutStopUSec=@t 123"}, lines); diff != "" {
		t.Error(diff)
	}
	for key, value := range map[string]string{
		"org.systemd.property.a/b": "1", "org.systemd.property.": "1", "org.systemd.property.Foo": "[", "org.systemd.property.FooSec": "'x'", "org.systemd.property.BarSec": "-1",
	} {
		if _, err := properties(map[string]string{key: value}); err == nil {
			t.Errorf("%s=%s was taken", key, value)
		}
	}
}

func TestResources(t *testing.T) {
	r, err := resources(nil)
	if err != nil || !r.SkipDevices {
		t.Errorf("%+v, %v", r, err)
	}
	r, _ = resources(&specs.LinuxResources{
		CPU: &specs.LinuxCPU{Shares: ptr(uint64(1024))}, BlockIO: &specs.LinuxBlockIO{ThrottleReadBpsDevice: []specs.LinuxThrottleDevice{{Rate: 5}}},
		Rdma: map[string]specs.LinuxRdma{"x": {}}, Network: &specs.LinuxNetwork{Priorities: []specs.LinuxInterfacePriority{{Name: "eth0", Priority: 1}}},
		HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 1}}, Unified: map[string]string{"a.b": "c"},
	})
	if r.CpuWeight != 100 || len(r.BlkioThrottleReadBpsDevice) != 1 || len(r.Rdma) != 1 || len(r.NetPrioIfpriomap) != 1 || len(r.HugetlbLimit) != 1 || r.Unified["a.b"] != "c" {
		t.Errorf("%+v", r)
	}
}
