package cgroup

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/policy"
)

// onlyV2 is this machine's layout without its v1 hierarchies.
func onlyV2(t *testing.T) *Layout {
	t.Helper()
	l, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	if l.v2 == nil {
		needs.Skip(t, "needs a mounted cgroup2")
	}
	two := &Layout{Hierarchies: []Hierarchy{*l.v2}}
	two.index()
	return two
}

// TestV2WithoutControllers: CPU time, freezing and killing are part of every cgroup2.
func TestV2WithoutControllers(t *testing.T) {
	two := onlyV2(t)
	require(t, two, "cpuacct", "freezer")
	g := create(t, nil, func(*Layout) (*Group, error) {
		return two.Create("v2", policy.Limits{}, Options{CPUTime: true, Freezer: true})
	})
	if !cloneIntoCgroup() {
		t.Log("no CLONE_INTO_CGROUP here")
	} else if g.DirFD() < 0 || len(g.Entries()) != 0 {
		t.Errorf("DirFD %d, entries %v; want a directory and no entry", g.DirFD(), g.Entries())
	}
	in := filepath.Join(t.TempDir(), "in")
	cmd, _ := start(t, g, "cat /proc/self/cgroup >"+in+".new; mv "+in+".new "+in+"; while :; do :; done")
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		_, missing := os.Stat(in)
		if n, err := g.CPUTime(); err != nil || missing == nil && n > 200*time.Millisecond {
			break
		}
	}
	if err := g.Freeze(); err != nil {
		t.Fatal(err)
	}
	before, err := g.CPUTime()
	if err != nil || before < 200*time.Millisecond {
		t.Errorf("CPUTime = %v, %v", before, err)
	}
	time.Sleep(100 * time.Millisecond)
	// What ran just before is counted a moment later.
	if after, _ := g.CPUTime(); after-before > 30*time.Millisecond {
		t.Errorf("frozen, and used %v", after-before)
	}
	if err := g.Kill(); err != nil { // a frozen one, too
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signal() != syscall.SIGKILL {
		t.Errorf("ended by %v", cmd.ProcessState)
	}
	if text, err := os.ReadFile(in); !strings.Contains(string(text), g.Name) {
		t.Errorf("not in the group: %s, %v", text, err)
	}
	u, err := g.Usage()
	if err != nil || u.CPUUser < 0 || u.CPUSystem < 0 || u.CPUUser+u.CPUSystem < before {
		t.Errorf("usage %+v, %v", u, err)
	}
	if u.PidsPeak != Unknown || u.MemoryPeak != Unknown || u.Throttled > 0 {
		t.Errorf("usage %+v: what is not counted must be unknown", u)
	}
	if u.CPUPressure.Some < 0 {
		if _, err := os.Stat("/proc/pressure/cpu"); err == nil {
			t.Error("no CPU pressure")
		}
	}
}

// TestEntryOfV2: where CLONE_INTO_CGROUP is missing, cgroup.procs stands in.
func TestEntryOfV2(t *testing.T) {
	two := onlyV2(t)
	require(t, two, "cpuacct")
	old := cloneIntoCgroup
	cloneIntoCgroup = func() bool { return false }
	defer func() { cloneIntoCgroup = old }()
	g := create(t, nil, func(*Layout) (*Group, error) {
		return two.Create("", policy.Limits{}, Options{CPUTime: true})
	})
	if g.DirFD() >= 0 || len(g.Entries()) != 1 || !g.Entries()[0].V2 {
		t.Fatalf("DirFD %d, entries %v", g.DirFD(), g.Entries())
	}
	if _, out := run(t, g, "cat /proc/self/cgroup"); !strings.Contains(out, g.Name) {
		t.Errorf("not in the group:\n%s", out)
	}
}
