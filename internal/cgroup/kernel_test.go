package cgroup

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/policy"
)

func with(lim policy.Limits, o Options) func(*Layout) (*Group, error) {
	return func(l *Layout) (*Group, error) { return l.Create("test", lim, o) }
}

func TestPidsAloneIsOneDirectory(t *testing.T) {
	g := create(t, []string{"pids"}, with(policy.Limits{Pids: 3}, Options{}))
	if len(g.Paths()) != 1 {
		t.Fatalf("paths %q, want one", g.Paths())
	}
	// Four may be in the group: the shell, and three more.
	_, out := run(t, g, "sleep 0.5 & sleep 0.5 & sleep 0.5 & sleep 0.5 & wait")
	if !strings.Contains(strings.ToLower(out), "fork") {
		t.Errorf("the fourth fork worked: %q", out)
	}
	u, err := g.Usage()
	if err != nil {
		t.Fatal(err)
	}
	if u.PidsRefused < 1 {
		t.Errorf("PidsRefused = %d, want at least 1", u.PidsRefused)
	}
	if u.PidsPeak != 4 && u.PidsPeak != Unknown {
		t.Errorf("PidsPeak = %d, want 4", u.PidsPeak)
	}
	if u.MemoryPeak != Unknown || u.OOMKills != Unknown {
		t.Errorf("memory is not counted, and must be unknown: %+v", u)
	}
}

func TestNoInitCountsTheCommandAlone(t *testing.T) {
	g := create(t, []string{"pids"}, with(policy.Limits{Pids: 1}, Options{NoInit: true}))
	_, out := run(t, g, "sleep 0 & wait")
	if !strings.Contains(strings.ToLower(out), "fork") {
		t.Errorf("a second process was made: %q", out)
	}
}

func TestOOMKill(t *testing.T) {
	zero := policy.Size(0)
	lim := policy.Limits{Memory: 16 << 20}
	if l, err := Detect(); err == nil && len(l.Missing(policy.Limits{Memory: 1, Swap: &zero})) == 0 {
		lim.Swap = &zero
	}
	g := create(t, []string{"memory"}, with(lim, Options{}))
	// There is no end of line in it: tail holds it all.
	_, out := run(t, g, "head -c 67108864 /dev/zero | tail -n1 > /dev/null; true")
	u, err := g.Usage()
	if err != nil {
		t.Fatal(err)
	}
	if u.OOMKills < 1 {
		t.Errorf("OOMKills = %d, want at least 1 (%q)", u.OOMKills, out)
	}
	if n := g.OOMKills(); n != u.OOMKills {
		t.Errorf("OOMKills() = %d, Usage %d", n, u.OOMKills)
	}
	if u.MemoryPeak != Unknown && (u.MemoryPeak < 8<<20 || u.MemoryPeak > 16<<20) {
		t.Errorf("MemoryPeak = %d, want near 16 MiB and not over it", u.MemoryPeak)
	}
	if u.MemoryLimited < 1 && u.MemoryLimited != Unknown {
		t.Errorf("MemoryLimited = %d, want at least 1", u.MemoryLimited)
	}
}

func TestThrottling(t *testing.T) {
	g := create(t, []string{"cpu", "cpuacct"}, with(policy.Limits{CPUs: 0.1, CPUWeight: 50}, Options{CPUTime: true}))
	begin := time.Now()
	_, out := run(t, g, "while :; do :; done & sleep 1.5; kill $!")
	wall := time.Since(begin)
	u, err := g.Usage()
	if err != nil {
		t.Fatal(err)
	}
	if u.Throttled < 1 || u.ThrottledTime <= 0 || u.Periods < u.Throttled {
		t.Errorf("throttled %d of %d periods, %v (%q)", u.Throttled, u.Periods, u.ThrottledTime, out)
	}
	used, err := g.CPUTime()
	if err != nil || used <= 0 || used > wall {
		t.Errorf("CPUTime = %v, %v; the wall time is %v", used, err, wall)
	}
	if sum := u.CPUUser + u.CPUSystem; sum < used*9/10 || sum > used+10*time.Millisecond {
		t.Errorf("user %v + system %v, total %v", u.CPUUser, u.CPUSystem, used)
	}
	if share := float64(used) / float64(wall); share > 0.3 {
		t.Errorf("used %.2f of a processor, 0.1 were allowed", share)
	}
}

func TestCpuset(t *testing.T) {
	g := create(t, []string{"cpuset"}, with(policy.Limits{Cpuset: "0"}, Options{}))
	if _, out := run(t, g, "nproc"); strings.TrimSpace(out) != "1" {
		t.Errorf("nproc says %q, want 1", out)
	}
	l, _ := Detect()
	_, err := l.Create("", policy.Limits{Cpuset: "4000"}, Options{})
	if err == nil || !strings.Contains(err.Error(), "cpuset.cpus") || !strings.Contains(err.Error(), "4000") {
		t.Errorf("processor 4000: %v, want an error that names file and value", err)
	}
}

func TestIO(t *testing.T) {
	dir, err := os.MkdirTemp("/var/tmp", "cloche")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if _, err := blockDevice(dir); err != nil {
		needs.Skip(t, "needs /var/tmp on a disk: "+err.Error())
	}
	file := filepath.Join(dir, "data")
	lim := policy.Limits{IO: []policy.IOLimit{{Device: dir, WriteBPS: 1 << 20}}}
	g := create(t, []string{"io"}, with(lim, Options{}))
	begin := time.Now()
	ps, out := run(t, g, "dd if=/dev/zero of="+file+" bs=256k count=4 oflag=direct")
	if !ps.Success() {
		t.Fatalf("dd: %s", out)
	}
	if d := time.Since(begin); d < 600*time.Millisecond {
		t.Errorf("1 MiB at 1 MiB/s took %v", d)
	}
	if l, _ := Detect(); l.v1[IO] != nil && len(g.Notes) == 0 {
		t.Error("no note about buffered writes on v1")
	}
}

func TestAllLimitsTogether(t *testing.T) {
	lim := policy.Limits{Memory: 64 << 20, Pids: 10, CPUs: 1.5, CPUWeight: 100, Cpuset: "0"}
	g := create(t, []string{"memory", "pids", "cpu", "cpuset"}, with(lim, Options{CPUTime: true, Freezer: true}))
	ps, out := run(t, g, "cat /proc/self/cgroup")
	if !ps.Success() {
		t.Fatalf("%v: %s", ps, out)
	}
	in := 0
	for line := range strings.Lines(out) {
		if strings.Contains(line, g.Name) {
			in++
		}
	}
	if in != len(g.Paths()) {
		t.Errorf("in %d of %d groups:\n%s", in, len(g.Paths()), out)
	}
}

func TestFreezeAndKill(t *testing.T) {
	g := create(t, []string{"pids", "freezer"}, with(policy.Limits{Pids: 50}, Options{Freezer: true, CPUTime: true}))
	cmd, _ := start(t, g, "while :; do :; done")
	for {
		if n, err := g.CPUTime(); err != nil || n > time.Millisecond {
			break
		}
	}
	if err := g.Freeze(); err != nil {
		t.Fatal(err)
	}
	before, _ := g.CPUTime()
	time.Sleep(100 * time.Millisecond)
	// What ran just before is counted a moment later.
	if after, _ := g.CPUTime(); after-before > 30*time.Millisecond {
		t.Errorf("frozen, and used %v", after-before)
	}
	if err := g.Thaw(); err != nil {
		t.Fatal(err)
	}
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); !ws.Signaled() || ws.Signal() != syscall.SIGKILL {
		t.Errorf("ended by %v", cmd.ProcessState)
	}
}

// TestKillForks: what forks all the time has to be caught all the same.
func TestKillForks(t *testing.T) {
	g := create(t, []string{"pids"}, with(policy.Limits{Pids: 30}, Options{}))
	cmd, _ := start(t, g, "while :; do (while :; do /bin/true; done) & sleep 0.01; done 2>/dev/null")
	time.Sleep(200 * time.Millisecond)
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	reap()
	if u, err := g.Usage(); err != nil || u.PidsCurrent != 0 {
		t.Errorf("%d processes are left, %v", u.PidsCurrent, err)
	}
}

func TestRemoveBusyThenNested(t *testing.T) {
	g := create(t, []string{"pids"}, with(policy.Limits{Pids: 10}, Options{}))
	nested := filepath.Join(g.Path(), "a", "b")
	if err := os.MkdirAll(nested, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd, _ := start(t, g, "sleep 60")
	defer cmd.Wait()
	time.Sleep(50 * time.Millisecond)
	if err := removeTree(g.dirs[0].parentFD, g.Name, time.Now().Add(50*time.Millisecond)); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("a group with a process was removed: %v", err)
	}
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
}

func TestNothingIsLeftOnError(t *testing.T) {
	l, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	require(t, l, "memory", "pids", "cpuset")
	before := groupsOf(t, l)
	_, err = l.Create("", policy.Limits{Memory: 64 << 20, Pids: 4, Cpuset: "4000"}, Options{})
	if err == nil {
		t.Fatal("a processor that does not exist was taken")
	}
	if after := groupsOf(t, l); len(after) != len(before) {
		t.Errorf("left: %q", after)
	}
}

func groupsOf(t *testing.T, l *Layout) (all []string) {
	t.Helper()
	for _, h := range l.Hierarchies {
		m, _ := filepath.Glob(filepath.Join(h.Own, prefix+"*-"+"*"))
		for _, p := range m {
			if o, ok := parseName(filepath.Base(p)); ok && o.pid == os.Getpid() {
				all = append(all, p)
			}
		}
	}
	return all
}

func TestRemoveStale(t *testing.T) {
	l, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	require(t, l, "pids")
	dead := exec.Command("/bin/true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	places, err := l.places(1<<Pids, "")
	if err != nil {
		t.Fatal(err)
	}
	me := self()
	o := owner{pid: dead.ProcessState.Pid(), start: 12345, ns: me.ns}
	stale := filepath.Join(places[0].dir, o.name("x1"))
	reused := filepath.Join(places[0].dir, owner{pid: 1, start: 987654321, ns: me.ns}.name("x2"))
	mine := filepath.Join(places[0].dir, me.name("x3"))
	foreign := filepath.Join(places[0].dir, owner{pid: o.pid, start: 1, ns: me.ns + 1}.name("x4"))
	for _, d := range []string{stale, reused, mine, foreign} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(d)
	}
	if err := os.Mkdir(filepath.Join(stale, leafName), 0o755); err != nil {
		t.Fatal(err)
	}
	n, err := RemoveStale(l)
	if err != nil || n < 2 {
		t.Errorf("removed %d, %v; want at least 2", n, err)
	}
	for d, want := range map[string]bool{stale: false, reused: false, mine: true, foreign: true} {
		if _, err := os.Stat(d); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", filepath.Base(d), err == nil, want)
		}
	}
}

// TestCreateRemovesStale: a program that becomes its sandbox calls no Remove.
func TestCreateRemovesStale(t *testing.T) {
	l, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	require(t, l, "pids")
	dead := exec.Command("/bin/true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	places, err := l.places(1<<Pids, "")
	if err != nil {
		t.Fatal(err)
	}
	me := self()
	stale := filepath.Join(places[0].dir, owner{pid: dead.ProcessState.Pid(), start: 1, ns: me.ns}.name("y1"))
	living := filepath.Join(places[0].dir, owner{pid: os.Getppid(), start: 1, ns: me.ns}.name("y2"))
	foreign := filepath.Join(places[0].dir, owner{pid: dead.ProcessState.Pid(), start: 1, ns: me.ns + 1}.name("y3"))
	for _, d := range []string{stale, living, foreign} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(d)
	}
	glanced.Clear()
	g, err := l.Create("", policy.Limits{Pids: 5}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for d, want := range map[string]bool{stale: false, living: true, foreign: true, g.Path(): true} {
		if _, err := os.Stat(d); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", filepath.Base(d), err == nil, want)
		}
	}
	if err := g.Remove(); err != nil {
		t.Error(err)
	}
}
