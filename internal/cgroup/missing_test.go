package cgroup

import (
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// cpuBoth asks for both limits of one controller.
var cpuBoth = policy.Limits{CPUs: 1, CPUWeight: 50}

// TestOneWithoutTheOther: kernels have cpu.weight without cpu.max, and the other
// way round. What is missing is named, and only that.
func TestOneWithoutTheOther(t *testing.T) {
	for _, c := range []struct {
		have    string
		missing []string
	}{
		{"cpu.weight", []string{"cpus"}},
		{"cpu.max", []string{"cpu-weight"}},
		{"cpu.max cpu.weight", nil},
	} {
		t.Run(c.have, func(t *testing.T) {
			own := files(all, all, "")
			for name := range strings.FieldsSeq(c.have) {
				own[name] = ""
			}
			l := fakeV2(t, "a", map[string]map[string]string{"": rootFiles(all), "a": own})
			checkMissing(t, l, cpuBoth, c.missing)
		})
	}
	v1 := fakeV1(t, "cpu.shares")
	checkMissing(t, v1, cpuBoth, []string{"cpus"})
	v1 = fakeV1(t, "cpu.cfs_quota_us")
	checkMissing(t, v1, cpuBoth, []string{"cpu-weight"})
}

// TestOtherPartsOfControllers: swap accounting and throttling are parts that a
// kernel may lack too.
func TestOtherPartsOfControllers(t *testing.T) {
	swap := policy.Size(0)
	lim := policy.Limits{Memory: 1 << 20, Swap: &swap, Pids: 1, Cpuset: "0", IO: []policy.IOLimit{{Device: "/", ReadBPS: 1}}}
	own := files(all, all, "")
	l := fakeV2(t, "a", map[string]map[string]string{"": rootFiles(all), "a": own})
	checkMissing(t, l, lim, []string{"swap", "io"})
	own["memory.swap.max"], own["io.max"] = "", ""
	l = fakeV2(t, "a", map[string]map[string]string{"": rootFiles(all), "a": own})
	checkMissing(t, l, lim, nil)
	checkMissing(t, fakeV1(t), lim, []string{"swap", "io"})
	checkMissing(t, fakeV1(t, "memory.memsw.limit_in_bytes", "blkio.throttle.read_bps_device"), lim, nil)
}

func checkMissing(t *testing.T, l *Layout, lim policy.Limits, want []string) {
	t.Helper()
	got := l.Missing(lim)
	if !slices.Equal(got, want) {
		t.Errorf("missing %q, want %q", got, want)
	}
	for _, name := range got {
		var u *Unavailable
		err := l.Check(name, &lim)
		if !errors.As(err, &u) || u.Limit != name || !strings.HasPrefix(err.Error(), "limits."+name+": this kernel ") || u.Remedy == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// fakeV1 is a directory that stands for one hierarchy of v1 with all controllers.
func fakeV1(t *testing.T, have ...string) *Layout {
	t.Helper()
	two := map[string]string{}
	for _, name := range have {
		two[name] = ""
	}
	l := fakeV2(t, "", map[string]map[string]string{"": two})
	mount := l.v2.Mount
	l = &Layout{fake: true, Hierarchies: []Hierarchy{{Version: 1, Mount: mount, Own: mount, root: "/", holds: 1<<nControllers - 1}}}
	l.index()
	return l
}

// TestOnlyTheWriteTells: in the root of cgroup2 nothing shows whether a group
// will have cpu.weight, so that Create finds out, by name too.
func TestOnlyTheWriteTells(t *testing.T) {
	root := rootFiles(all)
	maps.Copy(root, map[string]string{"cpu.stat": ""})
	l := fakeV2(t, "", map[string]map[string]string{"": root})
	_, err := l.Create("", policy.Limits{CPUWeight: 50}, Options{})
	var u *Unavailable
	if !errors.As(err, &u) || u.Limit != "cpu-weight" || u.Controller != "cpu" {
		t.Errorf("%v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(l.v2.Mount, prefix+"*")); len(left) != 0 {
		t.Errorf("left %q", left)
	}
	if errors.Is(err, unix.ENOENT) {
		t.Errorf("%v is about a limit, not about a path", err)
	}
}

// TestThisKernel: what Check promises, Create does.
func TestThisKernel(t *testing.T) {
	l, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	for _, lim := range []policy.Limits{{CPUs: 1}, {CPUWeight: 50}} {
		name := lim.Set()[0]
		if err := l.Check(name, &lim); err != nil {
			t.Logf("%v", err)
			continue
		}
		g, err := l.Create("", lim, Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := g.Remove(); err != nil {
			t.Error(err)
		}
	}
}
