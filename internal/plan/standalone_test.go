package plan

import "testing"

// TestGoldenStandaloneCgroup is the plan of an executable that makes a cgroup:
// a required limit and a where-available one.
func TestGoldenStandaloneCgroup(t *testing.T) {
	p := builtin(t, "default")
	p.Limits.Parent, p.Limits.Memory = "/sys/fs/cgroup/memory/jobs", 64<<20
	in := input(t, p)
	in.Standalone = &Standalone{Command: []string{"/bin/true"}}
	golden(t, "default-standalone-cgroup", in)
}
