package seccomp

import (
	"cmp"
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

// Compile makes the program of p for one or several architectures; calls by the
// numbers of all others get p.BadArch.
func Compile(p Profile, archs ...Arch) ([]unix.SockFilter, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	if len(archs) == 0 {
		return nil, fmt.Errorf("seccomp profile %s: no architecture to compile it for", p.Name)
	}
	if p.empty() {
		return nil, nil
	}
	e := &emitter{returns: map[Action]int{}}
	bad := e.ret(p.BadArch)
	next := bad
	spans := map[uint32][]span{}
	var audits []uint32
	for _, a := range archs {
		if spans[a.Audit] == nil {
			audits = append(audits, a.Audit)
			spans[a.Audit] = []span{{first: 0, verdict: p.Unknown}}
			if a.Audit == AMD64.Audit {
				spans[a.Audit] = []span{{first: 0, verdict: p.BadArch}, {first: x32Bit, verdict: p.BadArch}, {first: ^uint32(0), verdict: p.Unknown}}
			}
		}
		list := spans[a.Audit]
		for i := range list {
			if list[i].first == uint32(a.bit) {
				list[i].verdict = p.Unknown
			}
		}
		for _, entry := range resolve(&p, a) {
			list = append(list, span{first: uint32(entry.nr), rules: entry.rules, otherwise: entry.otherwise, one: true})
		}
		slices.SortStableFunc(list, func(x, y span) int { return cmp.Compare(x.first, y.first) })
		spans[a.Audit] = list
	}
	for _, audit := range slices.Backward(audits) {
		top := next
		var list []span
		for i, s := range spans[audit] {
			if s.one {
				if n := len(list); n > 0 && list[n-1].first == s.first {
					list = list[:n-1]
				}
				s.at = e.chain(s.rules, e.ret(s.otherwise))
				list = append(list, s)
				after := s.first + 1
				if i+1 == len(spans[audit]) || spans[audit][i+1].first != after {
					list = append(list, span{first: after, at: e.ret(p.Unknown)})
				}
				continue
			}
			list = append(list, span{first: s.first, at: e.ret(s.verdict)})
		}
		top = e.load(offsetNR, e.search(list))
		next = e.load(offsetArch, e.jump(unix.BPF_JEQ, audit, top, next))
	}
	if len(e.code) > maxInstructions {
		return nil, fmt.Errorf("seccomp profile %s: its program has %d instructions and the kernel takes %d; use fewer rules with arguments", p.Name, len(e.code), maxInstructions)
	}
	slices.Reverse(e.code)
	return e.code, nil
}

// span is a range of numbers, up to the next span's first, with one answer or
// one list of rules.
type span struct {
	first     uint32
	verdict   Action
	rules     []Rule
	otherwise Action
	one       bool
	at        int
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
