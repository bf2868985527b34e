package cli

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
	"github.com/cloche-sandbox/cloche/internal/inspect"
)

// topSample is two readings, a second apart, of three sandboxes.
func topSample() []reading {
	at := time.Unix(1000, 0)
	n := func(v int64) *int64 { return &v }
	busy := &inspect.Usage{When: at, CPU: n(0), Memory: n(900 << 20), MemoryMax: n(1 << 30), Pids: n(12), Read: n(0), Written: n(0), Periods: n(10), Throttled: n(0)}
	busier := *busy
	busier.When, busier.CPU, busier.Written, busier.Periods, busier.Throttled = at.Add(time.Second), n(1.5e9), n(3<<20), n(20), n(4)
	busier.Pressure = map[string]cgroup.Wait{"cpu": {Some10: 12.34}, "io": {Some10: 1}}
	idle := &inspect.Usage{When: at.Add(time.Second), CPU: n(5e9), Memory: n(1234), Pids: n(1), Denied: n(7)}
	return []reading{
		{Name: "a-sandbox-with-a-name-that-is-too-long-for-a-table", PID: 4194304, Usage: idle, Rates: ratesOf(idle, idle)},
		{Name: "busy", PID: 100, Usage: &busier, Rates: ratesOf(busy, &busier)},
		{Name: "paused", PID: 7, Usage: &inspect.Usage{When: at, Frozen: true}},
	}
}

// TestTopFits: a table of 80 columns and 24 rows, whatever stands in it.
func TestTopFits(t *testing.T) {
	list := topSample()
	top := &Top{Sort: "cpu"}
	top.sort(list, false)
	want := []string{
		"NAME            PID   CPU%   MEM LIMIT  PIDS READ/S WRITE/S  PSI%  THR% DENIED",
		"busy            100  150.0  900M  1.0G    12      0    3.0M  12.3  40.0      -",
		"a-sandbox-+ 4194304      -  1.2K     -     1      -       -     -     -      7",
		"paused (pa+       7      -     -     -     -      -       -     -     -      -",
	}
	got := strings.Split(strings.TrimSuffix(string(top.page(list, size{80, 24})), "\n"), "\n")
	if d := cmp.Diff(want, got[1:]); d != "" {
		t.Errorf("want - got +\n%s", d)
	}
	if !strings.Contains(got[0], "3 running  CPU 150%  memory 900M  pids 13  by cpu") {
		t.Error(got[0])
	}
	many := slices.Repeat(list, 30)
	page := string(top.page(many, size{80, 24}))
	if strings.Count(page, "\n") != 23 || !strings.Contains(page, "… 70 more\n") { // one row is for the keys
		t.Error(page)
	}
	for line := range strings.Lines(page) {
		if len([]rune(line)) > 81 {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
	if wide := string(top.page(list, size{160, 24})); !strings.Contains(wide, list[1].Name+" ") {
		t.Error(wide)
	}
}

func TestTopSorts(t *testing.T) {
	for key, want := range map[string]string{"cpu": "busy", "memory": "busy", "pids": "busy", "io": "busy", "name": "a-sandbox-with-a-name-that-is-too-long-for-a-table"} {
		list := topSample()
		top := &Top{Sort: key}
		if top.sort(list, false); list[0].Name != want {
			t.Errorf("by %s: %s is first", key, list[0].Name)
		}
		if top.sort(list, true); list[len(list)-1].Name != want {
			t.Errorf("by %s in reverse: %s is last", key, list[len(list)-1].Name)
		}
	}
}
