package seccomp

import "testing"

// TestKernelCache: what a profile allows whatever the arguments are, the kernel's
// per-filter bitmap answers.
func TestKernelCache(t *testing.T) {
	for _, a := range []Arch{AMD64, ARM64} {
		for _, name := range []string{"default", "build", "strict"} {
			p := builtin(t, name)
			prog, _ := Precompiled(name, a.GOARCH)
			conditions := map[string]bool{}
			for _, g := range p.Groups {
				for _, r := range g.Rules {
					for _, call := range r.Syscalls {
						conditions[call] = conditions[call] || len(r.Args) > 0
					}
				}
			}
			cached := 0
			for nr, call := range a.Calls() {
				plain := Decide(p, a, Data{NR: nr, Arch: a.Audit}).Action == Allow && !conditions[call]
				if got := Cached(prog, a, nr); plain && !got {
					t.Errorf("%s for %s: the kernel has to run the program for %s", name, a, call)
				} else if got {
					cached++
					if Decide(p, a, Data{NR: nr, Arch: a.Audit}).Action != Allow {
						t.Errorf("%s for %s: the kernel would let %s pass", name, a, call)
					}
				}
			}
			t.Logf("%s for %s: %d calls are answered by the kernel's bitmap", name, a, cached)
		}
	}
}
