package supervise

import (
	"strings"
	"testing"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
	"github.com/cloche-sandbox/cloche/policy"
)

// TestRefusedByName: where there are no cgroups at all, each limit is refused or
// left out by its own name.
func TestRefusedByName(t *testing.T) {
	swap := policy.Size(0)
	for _, c := range []struct {
		name    string
		limits  policy.Limits
		refused string // the beginning of the error
		notes   []string
	}{
		{name: "share", limits: policy.Limits{CPUs: 1}, refused: "limits.cpus (--cpus 1): no cgroup file system"},
		{name: "weight", limits: policy.Limits{CPUWeight: 9}, refused: "limits.cpu-weight: no cgroup file system"},
		{name: "share may go", limits: policy.Limits{CPUs: 1, CPUWeight: 9, WhereAvailable: []string{"cpus"}}, refused: "limits.cpu-weight: "},
		{name: "weight may go", limits: policy.Limits{CPUs: 1, CPUWeight: 9, WhereAvailable: []string{"cpu-weight"}}, refused: "limits.cpus "},
		{
			name: "all may go", notes: []string{"memory", "swap", "cpus", "cpu-weight", "pids", "io", "cpuset"},
			limits: policy.Limits{
				Memory: 1 << 20, Swap: &swap, CPUs: 1, CPUWeight: 9, Pids: 1, IO: []policy.IOLimit{{Device: "/", ReadBPS: 1}}, Cpuset: "0",
				WhereAvailable: policy.LimitNames(),
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &policy.Policy{Init: true, Limits: c.limits, Origins: map[string]string{"limits.cpus": "--cpus 1"}}
			l := &limiter{policy: p, layout: &cgroup.Layout{}, limits: p.Limits}
			g, err := l.group("", true)
			if g != nil {
				t.Fatal("a group was made")
			}
			if c.refused != "" {
				if err == nil || !strings.HasPrefix(err.Error(), c.refused) || !strings.Contains(err.Error(), "; ") {
					t.Fatalf("%v, want %q and a remedy", err, c.refused)
				}
				return
			}
			if err != nil || len(l.notes) != len(c.notes) {
				t.Fatalf("%v, notes %q", err, l.notes)
			}
			for i, n := range c.notes {
				if !strings.HasPrefix(l.notes[i], "limits."+n+": ") || !strings.Contains(l.notes[i], "where-available") {
					t.Errorf("note %q, want one about %s", l.notes[i], n)
				}
			}
		})
	}
}

// TestCPUTimeRefused: time.cpu needs a cgroup too, and is what is named.
func TestCPUTimeRefused(t *testing.T) {
	p := &policy.Policy{Init: true, Time: policy.TimeLimits{CPU: 1}, Origins: map[string]string{"time.cpu": "--cpu-time 1ns"}}
	l := &limiter{policy: p, layout: &cgroup.Layout{}}
	if _, err := l.group("", false); err == nil || !strings.HasPrefix(err.Error(), "time.cpu (--cpu-time 1ns): ") {
		t.Error(err)
	}
}
