package seccomp

import (
	"flag"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

var allMutants = flag.Bool("mutants.all", false, "TestVerifyMutants makes every change, not a sixth of them for each instruction")

// TestVerifyMutants changes every instruction of the built-in programs, one jump,
// constant, offset or operation at a time: Verify finds each out. The few that it takes
// for the same program are: what nothing can tell apart, not even inputs that are close
// to everything the program compares with.
func TestVerifyMutants(t *testing.T) {
	for _, a := range []Arch{AMD64, ARM64} {
		for _, name := range []string{"default", "build", "strict"} {
			t.Run(name+"/"+a.String(), func(t *testing.T) {
				t.Parallel()
				p := builtin(t, name)
				prog, _ := Precompiled(name, a.GOARCH)
				inputs := closeInputs(prog, a)
				all, same := 0, 0
				for pc := range prog {
					for i, mutant := range mutants(prog, pc) {
						if (i+pc)%6 != 0 && !*allMutants {
							continue
						}
						all++
						if Verify(p, []Arch{a}, mutant) != nil {
							continue
						}
						same++
						for _, d := range inputs {
							got, _, err := Simulate(mutant, d)
							want, _, _ := Simulate(prog, d)
							if err != nil || got != want {
								t.Fatalf("instruction %d changed from %+v to %+v: Verify takes it for the same, and %s is %v instead of %v", pc, prog[pc], mutant[pc], describe(d), got, want)
							}
						}
					}
				}
				t.Logf("%d of %d changes are found out, %d make no difference", all-same, all, same)
				if same*20 > all {
					t.Errorf("%d of %d changes make no difference: the program is longer than it needs to be", same, all)
				}
			})
		}
	}
}

// closeInputs are calls with arguments at and beside every constant of a program.
func closeInputs(prog []unix.SockFilter, a Arch) []Data {
	g := &intricate{Rand: rand.New(rand.NewPCG(5, 5)), archs: []Arch{a}, values: slices.Clone(corners), nrs: []int32{0}}
	for _, in := range prog {
		g.values = append(g.values, uint64(in.K), uint64(in.K)<<32)
		g.nrs = append(g.nrs, int32(in.K), int32(in.K)+1, int32(in.K)-1)
	}
	var list []Data
	for range 20000 {
		list = append(list, g.data())
	}
	for nr := range a.Last() + 20 {
		list = append(list, Data{NR: nr, Arch: a.Audit})
	}
	return list
}
