package profile

import (
	"slices"
	"testing"

	"github.com/cloche-sandbox/cloche/seccomp"
)

// TestNarrowerThanDocker counts the calls that each built-in profile lets pass, for some
// arguments or all. The default's are fewer than those of Docker's default.
func TestNarrowerThanDocker(t *testing.T) {
	for _, a := range []seccomp.Arch{seccomp.AMD64, seccomp.ARM64} {
		count := map[string]int{}
		for _, name := range Names() {
			p, _, ok := Named(name, Host{Arch: a})
			if !ok {
				t.Fatal(name)
			}
			prog, err := seccomp.Compile(p, a)
			if err != nil {
				t.Fatal(err)
			}
			reachable, err := seccomp.Reachable(prog, a)
			if err != nil {
				t.Fatal(err)
			}
			count[name] = len(reachable)
			t.Logf("%s: %s lets %d calls pass, with %d instructions", a, name, len(reachable), len(prog))
		}
		if count["default"] >= count["docker"] || count["strict"] >= count["default"] || count["build"] >= count["docker"] || count["none"] <= count["docker"] {
			t.Errorf("%s: %v", a, count)
		}
	}
}

// TestPrecompiled: what was generated is what the profiles compile to now.
func TestPrecompiled(t *testing.T) {
	for _, a := range []seccomp.Arch{seccomp.AMD64, seccomp.ARM64} {
		for _, name := range Names() {
			p, archs, _ := Named(name, Host{Arch: a, Kernel: [2]int{5, 9}})
			want, err := seccomp.Compile(p, archs...)
			if got, ok := Precompiled(name, a.GOARCH); err != nil || !ok || !slices.Equal(got, want) {
				t.Errorf("%s for %s is not what it compiles to (%v): run go generate ./seccomp/...", name, a, err)
			}
		}
	}
}
