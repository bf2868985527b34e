package seccomp

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"
)

// part is which 32 bits of an argument a condition is about.
type part uint8

const (
	low part = iota
	high
	both // all 64, in a comparison that neither half decides alone
)

// condition is a comparison of an argument or of half of it.
type condition struct {
	arg         uint8
	part        part
	op          Op
	value, mask uint64
}

// half is a word of struct seccomp_data.
type half struct {
	arg  uint8
	part part
}

// alternative is a rule as far as it is not decided yet.
type alternative struct {
	conditions []condition
	action     Action
}

// chain makes steps of the rules of one call.
type chain struct {
	steps
	bigEndian bool
	made      map[string]*step // by the alternatives that are left
	budget    int
}

// chainBudget is the number of conditions that may be looked at for one call.
// Rules about many arguments can have more outcomes than a program has room for.
const chainBudget = 200_000

// conditions are the comparisons of a rule, those of 64 bits taken apart where
// that is possible.
func conditions(args []Arg) []condition {
	var list []condition
	for _, a := range args {
		c := condition{arg: uint8(a.Index), op: a.Op, value: a.Value, mask: a.Mask}
		switch {
		case a.Low32:
			c.part = low
			list = append(list, c)
		case a.Op == Equal || a.Op == MaskedEqual:
			lower, upper := c, c
			lower.part, lower.value, lower.mask = low, c.value&0xffffffff, c.mask&0xffffffff
			upper.part, upper.value, upper.mask = high, c.value>>32, c.mask>>32
			list = append(list, lower, upper)
		default:
			c.part = both
			list = append(list, c)
		}
	}
	return slices.DeleteFunc(list, func(c condition) bool { return c.part != both && c.constant() == always })
}

// constant is the outcome of a condition that every value of its word gives.
func (c *condition) constant() outcome {
	a := Arg{Op: c.op, Value: c.value, Mask: c.mask}
	switch c.op {
	case MaskedEqual:
		if c.mask == 0 {
			return always
		}
	case Less, LessEqual, Greater, GreaterEqual:
		if lowest := a.holds(0); lowest == a.holds(0xffffffff) {
			return known(lowest)
		}
	}
	return open
}

// offset is where a half is in struct seccomp_data.
func (c *chain) offset(h half) uint32 {
	offset := offsetArgs + 8*uint32(h.arg)
	if (h.part == high) != c.bigEndian {
		offset += 4
	}
	return offset
}

// decide makes the steps that find the first alternative that holds; the last
// one has no conditions. It divides the values of one word into ranges for which
// the conditions on it have one outcome, and goes on with what is left in each.
// ok is false when that takes too long.
func (c *chain) decide(list []alternative) (at *step, ok bool) {
	if len(list[0].conditions) == 0 {
		return c.answer(list[0].action), true
	}
	key := keyOf(list)
	if at, ok := c.made[key]; ok {
		return at, true
	}
	for i := range list {
		c.budget -= 1 + len(list[i].conditions)
	}
	if c.budget < 0 {
		return nil, false
	}
	h := c.choose(list)
	if cuts := cutsOf(list, h); len(cuts) > 0 {
		at, ok = c.divide(list, h, cuts)
	} else {
		at, ok = c.mask(list, h)
	}
	if ok {
		c.made[key] = at
	}
	return at, ok
}

// keyOf is equal for lists that are.
func keyOf(list []alternative) string {
	var key []byte
	for _, a := range list {
		key = binary.LittleEndian.AppendUint32(key, uint32(a.action))
		key = append(key, byte(len(a.conditions)))
		for _, c := range a.conditions {
			key = append(key, c.arg, byte(c.part), byte(c.op))
			key = binary.LittleEndian.AppendUint64(key, c.value)
			key = binary.LittleEndian.AppendUint64(key, c.mask)
		}
	}
	return string(key)
}

// choose is the word to look at first: of those that the first alternative
// depends on, the one that most alternatives have conditions on. Which half of
// an argument is larger is decided by the upper one, if by one alone.
func (c *chain) choose(list []alternative) half {
	var uses [6][2]int
	var ordered [6]bool
	for _, a := range list {
		for _, cond := range a.conditions {
			switch {
			case cond.part != both:
				uses[cond.arg][cond.part]++
			case cond.op == NotEqual:
				uses[cond.arg][low]++
				uses[cond.arg][high]++
			default:
				uses[cond.arg][high]++
				ordered[cond.arg] = true
			}
		}
	}
	var best half
	most := 0
	for _, cond := range list[0].conditions {
		h := half{arg: cond.arg, part: cond.part}
		if h.part == both {
			h.part = low
		}
		if ordered[cond.arg] {
			h.part = high
		}
		if n := uses[h.arg][h.part]; n > most {
			best, most = h, n
		}
	}
	return best
}

// cutsOf are the first values of the ranges into which conditions divide a word.
func cutsOf(list []alternative, h half) []uint32 {
	var cuts []uint32
	cut := func(v uint64) {
		if v <= 0xffffffff {
			cuts = append(cuts, uint32(v))
		}
	}
	for _, a := range list {
		for _, c := range a.conditions {
			if !c.about(h) || c.op == MaskedEqual {
				continue
			}
			value := c.value
			if c.part == both && h.part == high {
				value >>= 32
			}
			if c.part == both {
				value &= 0xffffffff
			}
			switch {
			case c.op == Equal || c.op == NotEqual || c.part == both:
				cut(value)
				cut(value + 1)
			case c.op == Less || c.op == GreaterEqual:
				cut(value)
			default:
				cut(value + 1)
			}
		}
	}
	if len(cuts) == 0 {
		return nil
	}
	cuts = append(cuts, 0)
	slices.Sort(cuts)
	return slices.Compact(cuts)
}

// about reports whether the half decides something of the condition.
func (c *condition) about(h half) bool {
	return c.arg == h.arg && (c.part == h.part || c.part == both && (h.part == high || c.op == NotEqual))
}

// mostCuts is how many ranges of a word are worth looking at: more than this many that
// differ fit into no program, and the time grows with their square.
const mostCuts = 2 * maxInstructions

// divide goes on in each range of a word.
func (c *chain) divide(list []alternative, h half, cuts []uint32) (*step, bool) {
	if len(cuts) > mostCuts {
		return nil, false
	}
	spans := make([]span, len(cuts))
	for i, first := range cuts {
		last := ^uint32(0)
		if i+1 < len(cuts) {
			last = cuts[i+1] - 1
		}
		at, ok := c.decide(c.left(list, func(cond condition) (condition, outcome) { return cond.within(h, first, last) }))
		if !ok {
			return nil, false
		}
		spans[i] = span{first: first, to: at, weight: 1}
	}
	offset := c.offset(h)
	return c.search(offset, c.foldBits(offset, spans)), true
}

// mask goes on with and without the first masked comparison of a word.
func (c *chain) mask(list []alternative, h half) (*step, bool) {
	i := slices.IndexFunc(list[0].conditions, func(c condition) bool { return c.about(h) })
	first := list[0].conditions[i]
	yes, ok := c.decide(c.left(list, func(cond condition) (condition, outcome) {
		switch {
		case cond == first:
			return cond, always
		case cond.about(h) && cond.mask == first.mask:
			return cond, never
		}
		return cond, open
	}))
	if !ok {
		return nil, false
	}
	no, ok := c.decide(c.left(list, func(cond condition) (condition, outcome) {
		if cond == first {
			return cond, never
		}
		return cond, open
	}))
	return c.masked(c.offset(h), uint32(first.mask), uint32(first.value), yes, no), ok
}

// outcome is what is known of a condition.
type outcome uint8

const (
	open outcome = iota
	always
	never
)

func known(holds bool) outcome {
	if holds {
		return always
	}
	return never
}

// left is what is left of the alternatives when more is known of their
// conditions: up to the first one that is sure to hold.
func (c *chain) left(list []alternative, learn func(condition) (condition, outcome)) []alternative {
	var left []alternative
next:
	for _, a := range list {
		c.budget -= len(a.conditions)
		var pending []condition
		for _, cond := range a.conditions {
			cond, outcome := learn(cond)
			switch outcome {
			case never:
				continue next
			case open:
				pending = append(pending, cond)
			}
		}
		left = append(left, alternative{conditions: pending, action: a.action})
		if len(pending) == 0 {
			break
		}
	}
	return left
}

// within is what is known of a condition when a word lies in a range that
// cutsOf found; of a comparison of 64 bits the other half may be left.
func (c condition) within(h half, first, last uint32) (condition, outcome) {
	if !c.about(h) {
		return c, open
	}
	if c.part != both {
		if c.op == MaskedEqual && first != last {
			return c, open
		}
		a := Arg{Op: c.op, Value: c.value, Mask: c.mask}
		return c, known(a.holds(uint64(first)))
	}
	value, other := uint32(c.value>>32), uint32(c.value)
	rest := condition{arg: c.arg, part: low, op: c.op}
	if h.part == low {
		value, other = other, value
		rest.part = high
	}
	rest.value = uint64(other)
	if first == value && last == value {
		return rest, rest.constant()
	}
	switch c.op {
	case Less, LessEqual:
		return c, known(last < value)
	case Greater, GreaterEqual:
		return c, known(first > value)
	}
	return c, always // NotEqual
}

// inOrder makes the steps of alternatives one after the other: more slowly than
// decide, but never more instructions than the conditions ask for.
func (c *chain) inOrder(list []alternative) *step {
	var at *step
	for _, a := range slices.Backward(list) {
		next := at
		at = c.answer(a.action)
		for _, cond := range slices.Backward(a.conditions) {
			at = c.condition(cond, at, next)
		}
	}
	return at
}

func (c *chain) condition(cond condition, yes, no *step) *step {
	lower, upper := c.offset(half{cond.arg, low}), c.offset(half{cond.arg, high})
	offset := lower
	if cond.part == high {
		offset = upper
	}
	switch cond.op {
	case Less:
		cond.op, yes, no = GreaterEqual, no, yes
	case LessEqual:
		cond.op, yes, no = Greater, no, yes
	case NotEqual:
		cond.op, yes, no = Equal, no, yes
	}
	value := uint32(cond.value)
	if cond.op == MaskedEqual {
		return c.masked(offset, uint32(cond.mask), value, yes, no)
	}
	jump := map[Op]uint16{Equal: unix.BPF_JEQ, Greater: unix.BPF_JGT, GreaterEqual: unix.BPF_JGE}[cond.op]
	at := c.compare(offset, jump, value, yes, no)
	if cond.part != both {
		return at
	}
	above := uint32(cond.value >> 32)
	at = c.compare(upper, unix.BPF_JEQ, above, at, no)
	if cond.op != Equal {
		at = c.compare(upper, unix.BPF_JGT, above, yes, at)
	}
	return at
}
