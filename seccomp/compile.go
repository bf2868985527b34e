package seccomp

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// maxInstructions is the kernel's limit of one filter, BPF_MAXINSNS.
const maxInstructions = 4096

// Offsets in struct seccomp_data; both architectures are little-endian.
const (
	offsetNR   = 0
	offsetArch = 4
	offsetArgs = 16
)

// Compile makes the program of p for a: the architecture first, then a balanced
// search over ranges of numbers with one answer, then, for calls with
// conditions, their rules. Calls that are decided without arguments are decided
// by loads of arch and number, jumps and returns alone, which is what the
// kernel's per-filter bitmap (Linux 5.11) can answer in advance. A profile with
// no groups and Allow as its default compiles to nothing at all.
func Compile(p Profile, a Arch) ([]unix.SockFilter, error) {
	if len(p.Groups) == 0 && p.Default == Allow {
		return nil, nil
	}
	chains, err := chainsOf(p, a)
	if err != nil {
		return nil, err
	}
	e := &emitter{returns: map[Action]int{}}
	var spans []span
	for nr := int32(0); nr <= a.Last(); nr++ {
		verdict, rules := p.Default, chains[nr]
		if _, ok := a.Name(nr); !ok {
			verdict, rules = p.Unknown, nil // a hole in the table
		}
		if len(rules) > 0 && len(rules[0].Args) == 0 {
			verdict, rules = rules[0].Action, nil
		}
		if n := len(spans); len(rules) == 0 && n > 0 && spans[n-1].rules == nil && spans[n-1].verdict == verdict {
			continue
		}
		spans = append(spans, span{first: uint32(nr), verdict: verdict, rules: rules})
	}
	spans = append(spans, span{first: uint32(a.Last()) + 1, verdict: p.Unknown})
	if a.x32 {
		spans = append(spans, span{first: x32Bit, verdict: p.BadArch})
	}
	spans = slices.CompactFunc(spans, func(x, y span) bool {
		return x.rules == nil && y.rules == nil && x.verdict == y.verdict
	})

	// From the end to the beginning: what is jumped to exists before the jump.
	for _, s := range spans {
		e.ret(s.verdict)
		for _, r := range s.rules {
			e.ret(r.Action)
		}
	}
	bad, def := e.ret(p.BadArch), e.ret(p.Default)
	for i := len(spans) - 1; i >= 0; i-- {
		s := &spans[i]
		s.at = e.ret(s.verdict)
		if s.rules != nil {
			s.at = e.chain(s.rules, def)
		}
	}
	top := e.search(spans)
	top = e.load(offsetNR, top)
	top = e.jump(unix.BPF_JEQ, a.Audit, top, bad)
	e.load(offsetArch, top)
	if len(e.code) > maxInstructions {
		return nil, fmt.Errorf("seccomp profile %s: its program has %d instructions and the kernel takes %d; use fewer rules with arguments", p.Name, len(e.code), maxInstructions)
	}
	slices.Reverse(e.code)
	return e.code, nil
}

// span is a range of numbers, up to the next span's first, with one answer or
// one list of rules.
type span struct {
	first   uint32
	verdict Action
	rules   []Rule
	at      int
}

// chainsOf lists the rules of each call, up to the first without conditions.
func chainsOf(p Profile, a Arch) (map[int32][]Rule, error) {
	chains := map[int32][]Rule{}
	closed := map[int32]bool{}
	for _, g := range p.Groups {
		for _, r := range g.Rules {
			for _, arg := range r.Args {
				if arg.Index < 0 || arg.Index > 5 {
					return nil, fmt.Errorf("seccomp profile %s, group %s: argument %d: a call has arguments 0 to 5", p.Name, g.Name, arg.Index)
				}
			}
			for _, name := range r.Syscalls {
				nr, ok := a.Number(name)
				if !ok {
					if Known(name) {
						continue // another architecture's
					}
					err := fmt.Errorf("seccomp profile %s, group %s: there is no system call %q", p.Name, g.Name, name)
					if n := Nearest(name); n != "" {
						err = fmt.Errorf("%w; do you mean %s?", err, n)
					}
					return nil, err
				}
				if !closed[nr] {
					chains[nr] = append(chains[nr], r)
					closed[nr] = len(r.Args) == 0
				}
			}
		}
	}
	return chains, nil
}

// emitter collects instructions in reverse order; a position counts from the end.
type emitter struct {
	code    []unix.SockFilter
	returns map[Action]int
}

func (e *emitter) add(i unix.SockFilter) int {
	e.code = append(e.code, i)
	return len(e.code)
}

// ret is the position of the one return of an action.
func (e *emitter) ret(a Action) int {
	at, ok := e.returns[a]
	if !ok {
		at = e.add(unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: uint32(a)})
		e.returns[a] = at
	}
	return at
}

// load loads a word and goes on at next, which must be the last position.
func (e *emitter) load(offset uint32, next int) int {
	e.goOn(next)
	return e.add(unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset})
}

// goOn makes sure that next follows.
func (e *emitter) goOn(next int) {
	if next != len(e.code) {
		e.add(unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JA, K: uint32(len(e.code) - next)})
	}
}

// jump is a conditional jump to positions yes and no. Those too far for its
// eight bits are reached by a jump of their own right behind it.
func (e *emitter) jump(op uint16, k uint32, yes, no int) int {
	if yes == no {
		return yes
	}
	near := func(to int) int {
		// At most one more instruction comes before the jump itself.
		if len(e.code)-to <= 254 {
			return to
		}
		return e.add(unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JA, K: uint32(len(e.code) - to)})
	}
	yes = near(yes)
	no = near(no)
	at := len(e.code)
	return e.add(unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, Jt: uint8(at - yes), Jf: uint8(at - no), K: k})
}

// search is a balanced search for the span of a number.
func (e *emitter) search(spans []span) int {
	if len(spans) == 1 {
		return spans[0].at
	}
	mid := len(spans) / 2
	right := e.search(spans[mid:])
	left := e.search(spans[:mid])
	return e.jump(unix.BPF_JGE, spans[mid].first, right, left)
}

// chain tries rules in order.
func (e *emitter) chain(rules []Rule, otherwise int) int {
	next := otherwise
	for i := len(rules) - 1; i >= 0; i-- {
		at := e.ret(rules[i].Action)
		for j := len(rules[i].Args) - 1; j >= 0; j-- {
			at = e.condition(rules[i].Args[j], at, next)
		}
		next = at
	}
	return next
}

// condition goes to yes when c holds, else to no.
func (e *emitter) condition(c Arg, yes, no int) int {
	lo := uint32(offsetArgs + 8*c.Index)
	hi := lo + 4
	switch c.Op {
	case NotEqual, Less, LessEqual:
		yes, no = no, yes
		c.Op = map[Op]Op{NotEqual: Equal, Less: GreaterEqual, LessEqual: Greater}[c.Op]
	}
	low, high := uint32(c.Value), uint32(c.Value>>32)
	test := func(offset, mask uint32, op uint16, k uint32, yes, no int) int {
		at := e.jump(op, k, yes, no)
		if mask != ^uint32(0) {
			e.goOn(at)
			at = e.add(unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: mask})
		}
		return e.load(offset, at)
	}
	all := ^uint32(0)
	switch c.Op {
	case Equal, MaskedEqual:
		maskLow, maskHigh := all, all
		if c.Op == MaskedEqual {
			maskLow, maskHigh = uint32(c.Mask), uint32(c.Mask>>32)
		}
		if !c.Low32 && !(maskHigh == 0 && high == 0) {
			yes = test(hi, maskHigh, unix.BPF_JEQ, high, yes, no)
		}
		return test(lo, maskLow, unix.BPF_JEQ, low, yes, no)
	default:
		op := uint16(unix.BPF_JGT)
		if c.Op == GreaterEqual {
			op = unix.BPF_JGE
		}
		at := test(lo, all, op, low, yes, no)
		if c.Low32 {
			return at
		}
		same := e.jump(unix.BPF_JEQ, high, at, no)
		above := e.jump(unix.BPF_JGT, high, yes, same)
		return e.load(hi, above)
	}
}
