package seccomp

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// maxInstructions is the kernel's limit of one filter, BPF_MAXINSNS.
const maxInstructions = 4096

// Compile makes the program of p for one or several architectures; calls by the
// numbers of all others get p.BadArch. List first the architecture that most
// calls are made by. A profile with no rules that allows everything compiles to
// nothing at all.
//
// A program first looks at the architecture, then at the number: a few calls
// that are made often and judged by their arguments come first, the others are
// found by search. Then it looks at the arguments, where the rules have
// conditions. Calls that are decided without arguments are decided by loads of
// arch and number, jumps and returns alone, which is what the kernel's
// per-filter bitmap (Linux 5.11) can answer in advance.
//
// It fails with a *RuleError on a rule that can't be compiled, and when the
// program would be longer than the kernel takes, 4096 instructions.
func Compile(p Profile, archs ...Arch) ([]unix.SockFilter, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	if len(archs) == 0 {
		return nil, fmt.Errorf("seccomp profile %s: it is to be compiled for no architecture; name one", p.Name)
	}
	if p.empty() {
		return nil, nil
	}
	c := newCompiler(&p)
	prog := emit(c.archs(archs))
	if len(prog) > maxInstructions {
		c = newCompiler(&p)
		c.short = true
		prog = emit(c.archs(archs))
	}
	if len(prog) > maxInstructions {
		return nil, c.tooLong(len(prog))
	}
	return prog, nil
}

// compiler makes the steps of a profile. What they are is the matter of the other
// files: resolve.go finds the rules of each number, chain.go makes steps of the
// rules of one, search.go those that find a value among ranges, emit.go
// instructions.
type compiler struct {
	steps
	p     *Profile
	short bool // fewer instructions matter more than fast ones
	calls []compiledCall
}

// compiledCall is where the rules of a call with conditions begin.
type compiledCall struct {
	arch Arch
	nr   int32
	at   *step
}

func newCompiler(p *Profile) *compiler { return &compiler{steps: steps{}, p: p} }

// archs finds the architecture. x86-64 and x32 share one value, and have their
// numbers in two ranges.
func (c *compiler) archs(archs []Arch) *step {
	var audits []uint32
	for _, a := range archs {
		if !slices.Contains(audits, a.Audit) {
			audits = append(audits, a.Audit)
		}
	}
	at := c.answer(c.p.BadArch)
	for _, audit := range slices.Backward(audits) {
		at = c.compare(offsetArch, unix.BPF_JEQ, audit, c.numbers(audit, archs), at)
	}
	return at
}

// numbers finds the call among the numbers of the architectures that have this
// Audit.
func (c *compiler) numbers(audit uint32, archs []Arch) *step {
	unknown := c.answer(c.p.Unknown)
	var spans []span
	add := func(first uint32, to *step, weight int) {
		spans = append(spans, span{first: first, to: to, weight: weight})
	}
	var hot []hotCall
	table := func(a Arch) {
		add(uint32(a.bit), unknown, 1)
		for _, e := range resolve(c.p, a) {
			to := c.call(a, e)
			if name, _ := a.Name(e.nr); to.asked(name) {
				if n := hotness(name); n > 0 {
					hot = append(hot, hotCall{nr: e.nr, to: to, weight: n})
				}
			}
			add(uint32(e.nr), to, 1)
			add(uint32(e.nr)+1, unknown, 0)
		}
	}
	if audit == AMD64.Audit {
		for _, a := range []Arch{AMD64, X32} {
			if slices.Contains(archs, a) {
				table(a)
			} else {
				add(uint32(a.bit), c.answer(c.p.BadArch), 1)
			}
		}
		add(^uint32(0), unknown, 0) // -1, see Arch.owns
	} else {
		table(archs[slices.IndexFunc(archs, func(a Arch) bool { return a.Audit == audit })])
	}
	hot = worthwhile(hot)
	at := c.search(offsetNR, withoutHot(spans, hot))
	for _, h := range slices.Backward(hot) {
		at = c.compare(offsetNR, unix.BPF_JEQ, uint32(h.nr), h.to, at)
	}
	return at
}

// withoutHot drops spans that the next one replaces at once, and has the calls
// that were tested before lead where their neighbours do.
func withoutHot(spans []span, hot []hotCall) []span {
	var left []span
	for i, s := range spans {
		if i+1 < len(spans) && spans[i+1].first == s.first {
			continue
		}
		if n := len(left); n > 0 && slices.ContainsFunc(hot, func(h hotCall) bool { return uint32(h.nr) == s.first }) {
			s = span{first: s.first, to: left[n-1].to}
		}
		left = append(left, s)
	}
	return left
}

// call is the steps of one call's rules.
func (c *compiler) call(a Arch, e entry) *step {
	if len(e.rules) == 0 {
		return c.answer(e.otherwise)
	}
	if len(e.rules[0].Args) == 0 {
		return c.answer(e.rules[0].Action)
	}
	var list []alternative
	for _, r := range e.rules {
		list = append(list, alternative{conditions: conditions(r.Args), action: r.Action})
	}
	list = append(list, alternative{action: e.otherwise})
	ch := chain{steps: c.steps, bigEndian: a.BigEndian, made: map[string]*step{}, budget: chainBudget}
	at, ok := (*step)(nil), false
	if !c.short {
		at, ok = ch.decide(list)
	}
	if !ok {
		at = ch.inOrder(list)
	}
	c.calls = append(c.calls, compiledCall{arch: a, nr: e.nr, at: at})
	return at
}

// tooLong says which call has the most instructions.
func (c *compiler) tooLong(instructions int) error {
	var worst compiledCall
	most := 0
	for _, call := range c.calls {
		if n := call.at.reachable(map[*step]bool{}); n > most {
			worst, most = call, n
		}
	}
	name, ok := worst.arch.Name(worst.nr)
	if !ok {
		name = fmt.Sprintf("call %d", worst.nr)
	}
	return fmt.Errorf("seccomp profile %s: its program would have %d instructions and the kernel takes %d; most, about %d, are for the arguments of %s on %v: use fewer rules with arguments, or ranges of values",
		c.p.Name, instructions, maxInstructions, most, name, worst.arch)
}
