package seccomp

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestVerifyBuiltins proves the programs of all built-in profiles, for each
// architecture and for those that one program serves together.
func TestVerifyBuiltins(t *testing.T) {
	for _, archs := range together {
		for _, name := range Builtins() {
			p := builtin(t, name)
			prog, err := Compile(p, archs...)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			err = Verify(p, archs, prog)
			t.Logf("%s for %s: %d instructions in %s", name, archs, len(prog), time.Since(began).Round(time.Microsecond))
			if err != nil {
				t.Errorf("%s for %s: %v", name, archs, err)
			}
		}
	}
}

// TestVerifyPrecompiled proves the programs that Cloche really loads.
func TestVerifyPrecompiled(t *testing.T) {
	for _, a := range []Arch{AMD64, ARM64} {
		for _, reported := range []bool{false, true} {
			if err := Verify(initProfile(reported), []Arch{a}, InitProgram(a.GOARCH, reported)); err != nil {
				t.Errorf("init for %s: %v", a, err)
			}
		}
		for _, name := range Builtins() {
			prog, ok := Precompiled(name, a.GOARCH)
			if !ok {
				t.Errorf("%s for %s is not precompiled", name, a)
			}
			if err := Verify(builtin(t, name), []Arch{a}, prog); err != nil {
				t.Errorf("%s for %s: %v", name, a, err)
			}
		}
	}
}

// TestDiagramOrder: rank is the inverse of order.
func TestDiagramOrder(t *testing.T) {
	for i, offset := range order {
		if int(rank[offset]) != i {
			t.Errorf("word %d has rank %d, not %d", offset, rank[offset], i)
		}
	}
}

// verifyRandom holds Verify against Decide and Simulate on one random profile
// and one random change of its program.
func verifyRandom(t *testing.T, s1, s2 uint64) {
	g := newIntricate(s1, s2)
	p := g.profile()
	prog, err := Compile(p, g.archs...)
	if err != nil {
		t.Fatalf("%v\n%+v", err, p)
	}
	if err := Verify(p, g.archs, prog); err != nil {
		t.Fatalf("%s: %v\n%+v", g.archs, err, p)
	}
	d := newDiagram()
	rules, err := d.rules(p, g.archs)
	if err != nil {
		t.Fatal(err)
	}
	inputs := make([]Data, 100)
	for i := range inputs {
		inputs[i] = g.data()
		if want, got := DecideAmong(p, g.archs, inputs[i]).Action, Action(d.at(rules, inputs[i].words())); want != got {
			t.Fatalf("%s: %s: Decide says %s, Verify means %s\n%+v", g.archs, describe(inputs[i]), want, got, p)
		}
	}
	if len(prog) == 0 {
		return
	}
	changed := mutants(prog, g.IntN(len(prog)))
	mutant := changed[g.IntN(len(changed))]
	checkVerdict(t, p, g.archs, mutant, Verify(p, g.archs, mutant), inputs)
}

// checkVerdict sees that what Verify says of a program is true, as far as
// Simulate and Decide can tell.
func checkVerdict(t *testing.T, p Profile, archs []Arch, prog []unix.SockFilter, verdict error, inputs []Data) {
	t.Helper()
	var c *Counterexample
	switch {
	case verdict == nil:
		for _, in := range inputs {
			want := DecideAmong(p, archs, in).Action
			if got, _, err := Simulate(prog, in); err != nil || got != want {
				t.Fatalf("%s: %s: Verify has proven a program that says %s (%v); the rules say %s\n%+v", archs, describe(in), got, err, want, p)
			}
		}
	case errors.As(verdict, &c):
		got, _, err := Simulate(prog, c.Data)
		if want := DecideAmong(p, archs, c.Data).Action; err != nil || want != c.Want || got != c.Got || want == got {
			t.Fatalf("%s: %v: Decide says %s, Simulate %s (%v)\n%+v", archs, c, want, got, err, p)
		}
	case loadable(prog) == nil:
		t.Fatalf("%s: %v\n%+v", archs, verdict, p)
	}
}

func TestVerifyRandom(t *testing.T) {
	for s := range uint64(600) {
		verifyRandom(t, s, 0)
	}
}

func FuzzVerify(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(verifyRandom)
}

// runRandom holds what Verify takes a random program to return against what
// Simulate returns.
func runRandom(t *testing.T, s1, s2 uint64) (proven bool) {
	g := newIntricate(s1, s2)
	prog := g.program()
	d := newDiagram()
	d.limit = 1 << 16
	result, err := d.program(prog)
	if err != nil && !strings.Contains(err.Error(), "is outside of what can be proven") {
		t.Fatalf("%v\n%s", err, Disassemble(prog, AMD64))
	}
	if err != nil || d.full {
		return false
	}
	g.call()
	for _, in := range prog {
		g.values = append(g.values, uint64(in.K), uint64(in.K)<<32)
	}
	for range 100 {
		in := g.data()
		want, _, err := Simulate(prog, in)
		if got := Action(d.at(result, in.words())); err != nil || got != want {
			t.Fatalf("%+v: Simulate says %s (%v), Verify %s\n%s", in, want, err, got, Disassemble(prog, AMD64))
		}
	}
	return true
}

// TestVerifyInstructions runs random programs with all instructions of classic
// BPF, in all inputs at once and in some one by one.
func TestVerifyInstructions(t *testing.T) {
	proven := 0
	for s := range uint64(1500) {
		if runRandom(t, s, 1) {
			proven++
		}
	}
	if proven < 1200 {
		t.Errorf("%d of 1500 programs could be followed", proven)
	}
}

func FuzzVerifyInstructions(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, s1, s2 uint64) { runRandom(t, s1, s2) })
}

// mutants are the programs that differ from prog in one instruction by one jump,
// constant, operation or offset.
func mutants(prog []unix.SockFilter, pc int) (list [][]unix.SockFilter) {
	in := prog[pc]
	add := func(change unix.SockFilter) {
		if change != in {
			mutant := append([]unix.SockFilter(nil), prog...)
			mutant[pc] = change
			list = append(list, mutant)
		}
	}
	withK := func(k uint32) {
		change := in
		change.K = k
		add(change)
	}
	if in.Code == unix.BPF_LD|unix.BPF_W|unix.BPF_ABS {
		for offset := range uint32(16) {
			withK(4 * offset)
		}
		return list
	}
	for bit := range 32 {
		withK(in.K ^ 1<<bit)
	}
	withK(in.K + 1)
	withK(in.K - 1)
	if in.Code&7 == unix.BPF_ALU {
		for _, op := range []uint16{unix.BPF_AND, unix.BPF_OR, unix.BPF_XOR, unix.BPF_ADD, unix.BPF_SUB} {
			change := in
			change.Code = in.Code&^0xf0 | op
			add(change)
		}
	}
	if in.Code&7 == unix.BPF_JMP && in.Code&0xf0 != unix.BPF_JA {
		for _, op := range []uint16{unix.BPF_JEQ, unix.BPF_JGT, unix.BPF_JGE, unix.BPF_JSET} {
			change := in
			change.Code = in.Code&^0xf0 | op
			add(change)
		}
		for _, by := range [][2]uint8{{1, 0}, {255, 0}, {0, 1}, {0, 255}} {
			change := in
			change.Jt, change.Jf = in.Jt+by[0], in.Jf+by[1]
			add(change)
		}
		change := in
		change.Jt, change.Jf = in.Jf, in.Jt
		add(change)
	}
	return list
}

// TestVerifyErrors: what Verify says where it proves nothing.
func TestVerifyErrors(t *testing.T) {
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	ret := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: uint32(Allow)}
	p := builtin(t, "strict")
	for _, test := range []struct {
		prog []unix.SockFilter
		want string
	}{
		{[]unix.SockFilter{load(0)}, "no return"},
		{[]unix.SockFilter{load(2), ret}, "offset 2"},
		{[]unix.SockFilter{load(16), {Code: unix.BPF_ALU | unix.BPF_MUL, K: 3}, ret}, "instruction 1 is outside of what can be proven: it multiplies"},
		{[]unix.SockFilter{load(16), {Code: unix.BPF_ALU | unix.BPF_DIV, K: 3}, ret}, "instruction 1 is outside of what can be proven: it divides"},
		{[]unix.SockFilter{load(16), {Code: unix.BPF_MISC | unix.BPF_TAX}, {Code: unix.BPF_ALU | unix.BPF_LSH | unix.BPF_X}, ret}, "it shifts by"},
		// Whether two words are equal, asked for one after the other, takes a node for each value.
		{[]unix.SockFilter{load(16), {Code: unix.BPF_MISC | unix.BPF_TAX}, load(24), {Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_X, Jt: 0, Jf: 1}, ret, ret}, "too many ways"},
		{[]unix.SockFilter{ret}, "architecture 0x0 0(): the rules say kill-process, the program allow"},
		{nil, "architecture 0x0 0(): the rules say kill-process, the program allow"},
	} {
		err := Verify(p, []Arch{AMD64}, test.prog)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: %v, want %q", test.prog, err, test.want)
		}
	}
	p.Groups = []Group{{Name: "g", Rules: []Rule{allow("opeat")}}}
	if err := Verify(p, []Arch{AMD64}, nil); err == nil || !strings.Contains(err.Error(), "opeat") {
		t.Errorf("a profile with an unknown call: %v", err)
	}
}

// TestDescribe: a counterexample names the call, and can be given to simulate.
func TestDescribe(t *testing.T) {
	nr, _ := X32.Number("socket")
	for want, d := range map[string]Data{
		"x86_64 personality(0xffffffff)": {NR: 135, Arch: AMD64.Audit, Args: [6]uint64{0xffffffff}},
		"x32 socket(0x0, 0x2)":           {NR: nr, Arch: X32.Audit, Args: [6]uint64{0, 2}},
		"s390x 9999()":                   {NR: 9999, Arch: S390X.Audit},
		"architecture 0x7 3() at 0x5":    {NR: 3, Arch: 7, IP: 5},
	} {
		if got := describe(d); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	c := &Counterexample{Data: Data{NR: 135, Arch: AMD64.Audit}, Want: Allow, Got: Errno(unix.EPERM)}
	if want := "seccomp: x86_64 personality(): the rules say allow, the program EPERM"; !strings.HasPrefix(fmt.Sprint(c), want) {
		t.Errorf("%v, want %s", c, want)
	}
}
