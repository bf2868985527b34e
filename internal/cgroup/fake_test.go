package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// fakeV2 is a tree of ordinary directories that stands for cgroup2: dirs maps a
// directory below the mount point to its files. The own cgroup is own.
func fakeV2(t *testing.T, own string, dirs map[string]map[string]string) *Layout {
	t.Helper()
	mount := t.TempDir()
	for dir, files := range dirs {
		if err := os.MkdirAll(filepath.Join(mount, dir), 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(mount, dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	l := &Layout{fake: true, Hierarchies: []Hierarchy{{Version: 2, Mount: mount, Own: filepath.Join(mount, own), Path: "/" + own, root: "/"}}}
	l.index()
	return l
}

// files are those of a cgroup2 other than the root.
func files(controllers, passedOn, procs string) map[string]string {
	return map[string]string{
		"cgroup.controllers": controllers, "cgroup.subtree_control": passedOn,
		"cgroup.procs": procs, "cgroup.type": "domain\n",
	}
}

const all = "cpuset cpu io memory pids\n"

// rootFiles are those of the root: it has no cgroup.type.
func rootFiles(passedOn string) map[string]string {
	f := files(all, passedOn, "1\n2\n")
	delete(f, "cgroup.type")
	return f
}

func TestPlaceV2(t *testing.T) {
	need := set(1<<Memory | 1<<Pids)
	for _, c := range []struct {
		name   string
		own    string
		dirs   map[string]map[string]string
		need   set
		parent string // below the mount point
		dir    string
		enable set
		cause  string
	}{
		{name: "root may have processes and children", need: need, dirs: map[string]map[string]string{"": rootFiles("")}, enable: need},
		{name: "enabled already", need: need, dirs: map[string]map[string]string{"": rootFiles(all)}},
		{name: "own has processes: beside it", own: "a/b", need: need, dir: "a", dirs: map[string]map[string]string{
			"": rootFiles(all), "a": files(all, all, ""), "a/b": files(all, "", "7\n"),
		}},
		{name: "parent lacks one: further up", own: "a/b", need: 1 << Cpuset, dir: "", dirs: map[string]map[string]string{
			"": rootFiles(all), "a": files(all, "memory pids\n", ""), "a/b": files("memory pids\n", "", "7\n"),
		}},
		{name: "a container's root has processes", need: need, cause: "no internal processes", dirs: map[string]map[string]string{
			"": files(all, "", "1\n"),
		}},
		{name: "nobody passes it on", own: "a", need: 1 << IO, cause: "does not get it from its parent", dirs: map[string]map[string]string{
			"": rootFiles("memory\n"), "a": files("memory\n", "", "7\n"),
		}},
		{name: "kernel lacks it", need: 1 << IO, cause: "does not have it", dirs: map[string]map[string]string{
			"": {"cgroup.controllers": "memory\n", "cgroup.subtree_control": "", "cgroup.procs": "1\n"},
		}},
		{name: "a reading needs no controller", own: "a", need: 1 << CPUAcct, dir: "a", dirs: map[string]map[string]string{
			"": rootFiles(""), "a": files("", "", "7\n"),
		}},
		{name: "parent by name", own: "a", parent: "b", need: need, dir: "b", enable: need, dirs: map[string]map[string]string{
			"": rootFiles(all), "a": files(all, "", "7\n"), "b": files(all, "", ""),
		}},
		{name: "parent does not exist", own: "a", parent: "none", need: need, cause: "does not exist", dirs: map[string]map[string]string{
			"": rootFiles(all), "a": files(all, "", "7\n"),
		}},
		{name: "parent has processes", own: "a", parent: "a", need: need, cause: "no internal processes", dirs: map[string]map[string]string{
			"": rootFiles(all), "a": files(all, "", "7\n"),
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := fakeV2(t, c.own, c.dirs)
			mount := l.v2.Mount
			parent := ""
			if c.parent != "" {
				parent = filepath.Join(mount, c.parent)
			}
			places, err := l.places(c.need, parent)
			if c.cause != "" {
				var u *Unavailable
				if !errors.As(err, &u) || !strings.Contains(u.Cause, c.cause) || u.Remedy == "" || u.Controller == "" {
					t.Fatalf("%v, want the cause %q and a remedy", err, c.cause)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if p := places[0]; p.dir != filepath.Join(mount, c.dir) || p.enable != c.enable {
				t.Errorf("in %s, enable %q; want %s, %q", strings.TrimPrefix(p.dir, mount), p.enable, c.dir, c.enable)
			}
		})
	}
}

// TestParentOutside: limits.parent has to be in a cgroup file system.
func TestParentOutside(t *testing.T) {
	l := fakeV2(t, "", map[string]map[string]string{"": rootFiles(all)})
	_, err := l.Create("", policy.Limits{Pids: 1, Parent: "/usr"}, Options{})
	if err == nil || !strings.Contains(err.Error(), "no mounted cgroup hierarchy") {
		t.Error(err)
	}
	// The same check of the real file system.
	l.fake = false
	_, err = l.Create("", policy.Limits{Pids: 1}, Options{})
	if err == nil || !strings.Contains(err.Error(), "no directory of a cgroup2 file system") {
		t.Error(err)
	}
}

// TestWritesV2: what is written for each limit.
func TestWritesV2(t *testing.T) {
	swap := policy.Size(0)
	lim := policy.Limits{Memory: 64 << 20, Swap: &swap, CPUs: 0.5, CPUWeight: 200, Pids: 9, Cpuset: "0-1"}
	l := fakeV2(t, "", map[string]map[string]string{"": rootFiles(all)})
	want := map[string]string{
		"memory.max": "67108864", "memory.swap.max": "0", "cpu.max": "50000 100000",
		"cpu.weight": "200", "pids.max": "10", "cpuset.cpus": "0-1",
	}
	got := writes(t, l, &lim, Options{}, want)
	for name, w := range want {
		if got[name] != w {
			t.Errorf("%s: %q, want %q", name, got[name], w)
		}
	}
	lim = policy.Limits{CPUs: 0.005, Pids: 1 << 40}
	got = writes(t, l, &lim, Options{NoInit: true}, map[string]string{"cpu.max": "", "pids.max": ""})
	if got["cpu.max"] != "5000 1000000" || got["pids.max"] != "max" {
		t.Errorf("a small share and an absurd number: %q", got)
	}
}

// TestWritesV1 is the same for hierarchies of v1.
func TestWritesV1(t *testing.T) {
	mount := t.TempDir()
	l := &Layout{fake: true, Hierarchies: []Hierarchy{{Version: 1, Mount: mount, Own: mount, root: "/", holds: 1<<nControllers - 1}}}
	l.index()
	if err := os.WriteFile(filepath.Join(mount, "cpuset.mems"), []byte("0-1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	swap := policy.Size(1 << 20)
	lim := policy.Limits{Memory: 64 << 20, Swap: &swap, CPUs: 1.5, CPUWeight: 1, Pids: 9, Cpuset: "1"}
	want := map[string]string{
		"memory.limit_in_bytes": "67108864", "memory.memsw.limit_in_bytes": "68157440",
		"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "150000", "cpu.shares": "10",
		"pids.max": "10", "cpuset.mems": "0-1", "cpuset.cpus": "1",
	}
	for name, got := range writes(t, l, &lim, Options{}, want) {
		if got != want[name] {
			t.Errorf("%s: %q, want %q", name, got, want[name])
		}
	}
	lim.Memory = 0
	if _, err := l.Create("", lim, Options{}); err == nil || !strings.Contains(err.Error(), "limits.memory too") {
		t.Errorf("swap alone: %v", err)
	}
}

// writes has the limits written to files that exist, and returns them.
func writes(t *testing.T, l *Layout, lim *policy.Limits, o Options, names map[string]string) map[string]string {
	t.Helper()
	places, err := l.places(controllersFor(lim, o), "")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	g := &Group{Name: "g", layout: l, dirFD: -1, cpuFD: -1}
	for c := range g.by {
		g.by[c] = -1
	}
	d := groupDir{place: places[0], leafFD: -1}
	if d.fd, err = unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		t.Fatal(err)
	}
	if d.parentFD, err = unix.Open(d.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		t.Fatal(err)
	}
	g.dirs = []groupDir{d}
	for c := range nControllers {
		if d.use.has(c) {
			g.by[c] = 0
		}
	}
	defer g.closeFDs()
	if err := g.limit(lim, o); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for name := range names {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		got[name] = string(b)
	}
	return got
}

func TestBadLimits(t *testing.T) {
	neg := policy.Size(-1)
	for _, c := range []struct {
		lim  policy.Limits
		want string
	}{
		{policy.Limits{Memory: -1}, "limits.memory = -1"},
		{policy.Limits{Memory: 1, Swap: &neg}, "limits.swap = -1"},
		{policy.Limits{Pids: -5}, "limits.pids = -5"},
		{policy.Limits{CPUs: 1e-9}, "limits.cpus = 1e-09"},
		{policy.Limits{CPUs: -1}, "limits.cpus = -1"},
		{policy.Limits{CPUWeight: 10001}, "limits.cpu-weight = 10001"},
		{policy.Limits{Cpuset: "0;1"}, `limits.cpuset = "0;1"`},
	} {
		if _, err := (&Layout{}).Create("", c.lim, Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.lim, err, c.want)
		}
	}
}

func TestCPUList(t *testing.T) {
	for s, want := range map[string]bool{"0": true, "0-2,7": true, "10-12": true, "": false, ",": false, "1,": false, "-1": false, "1-": false, "1--2": false, "1-2-3": false, "a": false, "0 1": false, "0\n": false, "12345678": false} {
		if cpuList(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
}

func TestNoCgroups(t *testing.T) {
	l := &Layout{}
	lim := policy.Limits{Memory: 1 << 20, Pids: 1, CPUs: 1, CPUWeight: 1, Cpuset: "0", IO: []policy.IOLimit{{Device: "/", ReadBPS: 1}}}
	if m := l.Missing(lim); strings.Join(m, " ") != "memory cpus cpu-weight pids io cpuset" {
		t.Errorf("missing %q", m)
	}
	var u *Unavailable
	if err := l.Available("memory", "pids"); !errors.As(err, &u) || u.Remedy == "" {
		t.Errorf("%v", err)
	}
	if err := l.Available("nonsense"); !errors.As(err, &u) {
		t.Errorf("%v", err)
	}
}

func TestDryRun(t *testing.T) {
	l := fakeV2(t, "", map[string]map[string]string{"": rootFiles(all)})
	g, err := l.Create("", policy.Limits{Pids: 4}, Options{DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	if cloneIntoCgroup() != (g.DirFD() >= 0) || len(g.Entries()) > 1 {
		t.Errorf("DirFD %d, entries %v", g.DirFD(), g.Entries())
	}
	if names, _ := filepath.Glob(l.v2.Mount + "/" + prefix + "*"); len(names) != 0 {
		t.Errorf("made %q", names)
	}
	if err := errors.Join(g.Kill(), g.Remove()); err != nil {
		t.Error(err)
	}
	if u, err := g.Usage(); err == nil || u.MemoryPeak != Unknown {
		t.Errorf("usage %+v, %v", u, err)
	}
}

// TestNotes: what v1 can't hold exactly is told, before anything is made too.
func TestNotes(t *testing.T) {
	swap := policy.Size(0)
	lim := policy.Limits{Memory: 1 << 20, Swap: &swap, Pids: 1, IO: []policy.IOLimit{{Device: "/", ReadBPS: 1}, {Device: "/dev/null", ReadBPS: 1}}}
	g, err := fakeV1(t).Create("", lim, Options{DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(g.Notes) != 2 || !strings.HasPrefix(g.Notes[0], "limits.swap: ") || !strings.HasPrefix(g.Notes[1], "limits.io: ") {
		t.Errorf("v1: %q", g.Notes)
	}
	g, err = fakeV2(t, "", map[string]map[string]string{"": rootFiles(all)}).Create("", lim, Options{DryRun: true})
	if err != nil || len(g.Notes) != 0 {
		t.Errorf("v2: %q, %v", g.Notes, err)
	}
}

func TestWholeDisk(t *testing.T) {
	sys := t.TempDir()
	disk := filepath.Join(sys, "devices/sda")
	part := filepath.Join(disk, "sda1")
	block := filepath.Join(sys, "block")
	for _, err := range []error{
		os.MkdirAll(part, 0o755), os.Mkdir(block, 0o755),
		os.WriteFile(filepath.Join(disk, "dev"), []byte("8:0\n"), 0o644),
		os.WriteFile(filepath.Join(part, "dev"), []byte("8:1\n"), 0o644),
		os.WriteFile(filepath.Join(part, "partition"), []byte("1\n"), 0o644),
		os.Symlink(disk, filepath.Join(block, "8:0")), os.Symlink(part, filepath.Join(block, "8:1")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, dev := range []string{"8:0", "8:1"} {
		if got, err := wholeDisk(block, dev); err != nil || got != "8:0" {
			t.Errorf("%s: %q, %v", dev, got, err)
		}
	}
}

func TestBlockDeviceErrors(t *testing.T) {
	if _, err := blockDevice("/proc/self"); err == nil || !strings.Contains(err.Error(), "no block device") {
		t.Error(err)
	}
	if _, err := blockDevice("/nonexistent"); !errors.Is(err, unix.ENOENT) {
		t.Error(err)
	}
}
