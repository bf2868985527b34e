package seccomp

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Verify proves that a program answers every call as the rules of p for these
// architectures do (Decide, DecideAmong): every number, every architecture and
// every value of the arguments, not a sample of them. The return values must be
// the same in all of their bits. It knows nothing of how Compile works, so it
// judges programs that others compiled too.
//
// The error is a *Counterexample where an answer differs. Any other error means
// that nothing was proven: the kernel would not load the program, an instruction
// computes what can't be followed (multiplying, dividing, shifting by an
// argument), or the rules or the program are too intricate.
//
// No program at all, which Compile makes of a profile that filters nothing,
// allows every call.
func Verify(p Profile, archs []Arch, prog []unix.SockFilter) error {
	d := newDiagram()
	want, err := d.rules(p, archs)
	if err != nil {
		return err
	}
	got, err := d.program(prog)
	if err != nil {
		return err
	}
	return d.compare(want, got)
}

// Counterexample is a call that a program answers otherwise than the rules do.
type Counterexample struct {
	Data      Data
	Want, Got Action // the rules' answer, and the program's
}

func (c *Counterexample) Error() string {
	return fmt.Sprintf("seccomp: %s: the rules say %s, the program %s; it is not the program of these rules", describe(c.Data), c.Want, c.Got)
}

// compare is nil where two functions are the same.
func (d *diagram) compare(want, got node) error {
	switch {
	case d.full:
		return errTooLarge
	case want == got:
		return nil
	}
	words := d.difference(want, got)
	return &Counterexample{Data: dataOf(words), Want: Action(d.at(want, words)), Got: Action(d.at(got, words))}
}

// dataOf is the inverse of Data.words.
func dataOf(words [sizeofData / 4]uint32) Data {
	d := Data{NR: int32(words[0]), Arch: words[1]}
	low, high := 0, 1
	if d.Arch&auditLE == 0 {
		low, high = 1, 0
	}
	field := func(offset int) uint64 { return uint64(words[offset+high])<<32 | uint64(words[offset+low]) }
	d.IP = field(2)
	for i := range d.Args {
		d.Args[i] = field(4 + 2*i)
	}
	return d
}

// describe is a call in one line: "x86_64 socket(0x28, 0x1)".
func describe(d Data) string {
	arch, name := fmt.Sprintf("architecture %#x", d.Arch), strconv.Itoa(int(d.NR))
	for _, a := range Archs() {
		if a.Audit != d.Arch {
			continue
		}
		if n, ok := a.Name(d.NR); ok || a.bit == 0 {
			arch = a.String()
			if ok {
				name = n
			}
		}
	}
	args := make([]string, len(d.Args))
	given := 0
	for i, arg := range d.Args {
		args[i] = "0x" + strconv.FormatUint(arg, 16)
		if arg != 0 {
			given = i + 1
		}
	}
	text := fmt.Sprintf("%s %s(%s)", arch, name, strings.Join(args[:given], ", "))
	if d.IP != 0 {
		text += fmt.Sprintf(" at %#x", d.IP)
	}
	return text
}

// rules is what the rules of a profile say of every call, from their meaning
// alone: how Compile arranges them is not to be known here.
func (d *diagram) rules(p Profile, archs []Arch) (node, error) {
	if err := p.validate(); err != nil {
		return no, err
	}
	if p.empty() {
		return d.number(uint32(Allow)), nil
	}
	result := d.number(uint32(p.BadArch))
	for _, a := range slices.Backward(archs) {
		result = d.choose(d.numbers(a), d.calls(p, a), result)
	}
	return result, nil
}

// numbers is where a call is made by one of the architecture's numbers. Those of
// x86_64 and x32 differ in one bit. -1, of which a tracer makes a call that it
// skips, is a number of both, the other negative ones are x32's.
func (d *diagram) numbers(a Arch) node {
	nr := d.load(0)
	owned := yes
	switch a {
	case AMD64:
		owned = d.or(d.not(d.or(nr[30], nr[31])), d.equal(nr, literal(0xffffffff, 32)))
	case X32:
		owned = d.or(nr[30], nr[31])
	}
	return d.and(owned, d.equal(d.load(1), literal(uint64(a.Audit), 32)))
}

// calls is what the rules say where the numbers are a's.
func (d *diagram) calls(p Profile, a Arch) node {
	named := namedCalls(p, a)
	answers, newest := map[int32]node{}, int32(-1)
	for call, rules := range named {
		nr, ok := decimal(call)
		if !ok {
			nr, ok = a.Number(call)
		}
		switch {
		case !ok || a.Audit == AMD64.Audit && nr&x32Bit != a.bit:
			continue // a call of other architectures alone
		case a != ARM || nr < armPrivate:
			newest = max(newest, nr)
		}
		if _, inTable := a.Name(nr); !inTable {
			answers[nr] = d.firstOf(rules, a, d.number(uint32(p.Default)))
		}
	}
	for nr, call := range a.Calls() {
		rest := d.number(uint32(p.Default))
		if len(named[call]) == 0 && nr > newest {
			rest = d.number(uint32(p.Unknown))
		}
		answers[nr] = d.firstOf(named[call], a, d.multiplexed(p, a, call, named, rest))
	}
	return d.table(answers, d.number(uint32(p.Unknown)))
}

// namedCalls are the rules of each call that one of them names, in their order. A
// number without a name is a call of that name.
func namedCalls(p Profile, a Arch) map[string][]*Rule {
	named := map[string][]*Rule{}
	for _, g := range p.Groups {
		for i := range g.Rules {
			for _, call := range g.Rules[i].Syscalls {
				if nr, ok := decimal(call); ok {
					if name, ok := a.Name(nr); ok {
						call = name
					}
				}
				named[call] = append(named[call], &g.Rules[i])
			}
		}
	}
	return named
}

// decimal is the number that a rule names in the place of a call.
func decimal(call string) (int32, bool) {
	n, err := strconv.ParseUint(call, 10, 31)
	return int32(n), err == nil
}

// firstOf is the answer of the first rule that holds, or rest.
func (d *diagram) firstOf(rules []*Rule, a Arch, rest node) node {
	for _, r := range slices.Backward(rules) {
		all := yes
		for _, c := range r.Args {
			all = d.and(all, d.condition(c, a))
		}
		rest = d.choose(all, d.number(uint32(r.Action)), rest)
	}
	return rest
}

// condition is where a comparison of an argument holds.
func (d *diagram) condition(c Arg, a Arch) node {
	arg, value := d.argument(c.Index, a), literal(c.Value, 64)
	if c.Low32 {
		arg = each(arg, literal(0xffffffff, 64), d.and)
	}
	switch c.Op {
	case Equal:
		return d.equal(arg, value)
	case NotEqual:
		return d.not(d.equal(arg, value))
	case Less:
		return d.not(d.above(arg, value, true))
	case LessEqual:
		return d.not(d.above(arg, value, false))
	case Greater:
		return d.above(arg, value, false)
	case GreaterEqual:
		return d.above(arg, value, true)
	}
	return d.equal(each(arg, literal(c.Mask, 64), d.and), value)
}

// argument is the 64 bits of an argument.
func (d *diagram) argument(index int, a Arch) word {
	low := 4 + 2*index
	high := low + 1
	if a.BigEndian {
		low, high = high, low
	}
	return append(d.load(low), d.load(high)...)
}

// multiplexed is what the rules of the calls behind socketcall and ipc say of
// them, by the first argument; rest is what is said of the others.
func (d *diagram) multiplexed(p Profile, a Arch, call string, named map[string][]*Rule, rest node) node {
	behind, bits, _ := multiplexer(call)
	chosen := each(d.argument(0, a), literal(uint64(bits), 64), d.and)
	for n, name := range behind {
		if len(named[name]) > 0 {
			rest = d.choose(d.equal(chosen, literal(uint64(n), 64)), d.number(uint32(strictest(p, named[name]))), rest)
		}
	}
	return rest
}

// strictest is the answer to a call of which no argument can be seen.
func strictest(p Profile, rules []*Rule) Action {
	possible := []Action{p.Default}
	for i := len(rules) - 1; i >= 0; i-- {
		if len(rules[i].Args) == 0 {
			possible = nil // the later rules and the default are not asked
		}
		possible = append([]Action{rules[i].Action}, possible...)
	}
	answer := possible[0]
	for _, action := range possible[1:] {
		if action.stricter(answer) {
			answer = action
		}
	}
	return answer
}
