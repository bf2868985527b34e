package supervise

import (
	"slices"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
	"github.com/cloche-sandbox/cloche/policy"
)

// makeCgroup makes the cgroup that a policy's limits need. A limit that can't
// be enforced is refused, unless the policy itself says where-available: then a
// note tells that it was left out. With create false nothing is made.
func makeCgroup(spec *Spec, create bool) (*cgroup.Group, []string, error) {
	p := spec.Policy
	lim := p.Limits
	needsCPU := p.Time.CPU > 0
	if !cgroup.Needed(lim) && !needsCPU {
		return nil, nil, nil
	}
	layout, err := cgroup.Detect()
	if err != nil {
		return nil, nil, err
	}
	var notes []string
	for _, name := range layout.Missing(lim) {
		if slices.Contains(lim.WhereAvailable, name) {
			notes = append(notes, "limits."+name+": this user may not make a cgroup with that controller, and the policy says where-available: not limited")
			drop(&lim, name)
		}
	}
	if !cgroup.Needed(lim) && !needsCPU {
		return nil, notes, nil
	}
	o := cgroup.Options{CPUTime: needsCPU, NoInit: !p.Init, DryRun: !create}
	g, err := layout.Create(spec.Name, lim, o)
	if err != nil {
		return nil, nil, err
	}
	return g, notes, nil
}

func drop(l *policy.Limits, name string) {
	switch name {
	case "memory":
		l.Memory = 0
	case "swap":
		l.Swap = nil
	case "cpus":
		l.CPUs, l.CPUWeight = 0, 0
	case "pids":
		l.Pids = 0
	case "io":
		l.IO = nil
	case "cpuset":
		l.Cpuset = ""
	}
}
