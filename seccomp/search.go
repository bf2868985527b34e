package seccomp

import (
	"math/bits"
	"slices"

	"golang.org/x/sys/unix"
)

// span is a range of a word's values, up to the next span's first, that all lead
// to the same step.
type span struct {
	first  uint32
	to     *step
	weight int // how often it is to be expected, compared with others
}

// stretch is a range of spans that one run of equality tests decides: what is
// none of a few values leads to rest.
type stretch struct {
	first  uint32
	tests  []span // of one value each
	rest   *step
	weight int
}

// longestStretch bounds the spans that are looked at together.
const longestStretch = 16

// search finds the span of a word's value. Where a range with one answer holds
// single values with others, testing these for equality takes one instruction
// each; splitting the range around each would take two. So the spans are first
// divided into stretches, in the way that takes the fewest instructions, and
// then the stretch is found by halves.
func (all steps) search(offset uint32, spans []span) *step {
	spans = joined(spans)
	best := make([]struct{ cost, from int }, len(spans)+1)
	for end := 1; end <= len(spans); end++ {
		best[end].cost = 1 << 60
		for from := end - 1; from >= max(0, end-longestStretch); from-- {
			cost, ok := stretchCost(spans, from, end)
			if !ok {
				break
			}
			if cost += best[from].cost; cost < best[end].cost {
				best[end].cost, best[end].from = cost, from
			}
		}
	}
	var stretches []stretch
	for end := len(spans); end > 0; end = best[end].from {
		stretches = append(stretches, stretchOf(spans, best[end].from, end))
	}
	slices.Reverse(stretches)
	return all.halve(offset, stretches)
}

// joined merges neighbours that lead to the same step.
func joined(spans []span) []span {
	var merged []span
	for _, s := range spans {
		if n := len(merged); n > 0 && merged[n-1].to == s.to {
			merged[n-1].weight += s.weight
			continue
		}
		merged = append(merged, s)
	}
	return merged
}

// width is the number of values of spans[i], at most limit.
func width(spans []span, i, limit int) int {
	last := ^uint32(0)
	if i+1 < len(spans) {
		last = spans[i+1].first - 1
	}
	if d := last - spans[i].first; d < uint32(limit) {
		return int(d) + 1
	}
	return limit
}

// rest is the step that most values of spans[from:end] lead to, when all others
// are few: ranges of one or two values.
func rest(spans []span, from, end int) (to *step, ok bool) {
	const wide = 3
	for i := from; i < end; i++ {
		if width(spans, i, wide) < wide {
			continue
		}
		if to != nil && to != spans[i].to {
			return nil, false
		}
		to = spans[i].to
	}
	if to == nil {
		to = spans[end-1].to
	}
	return to, true
}

// stretchCost is what deciding spans[from:end] in one run costs, in eighths of
// an instruction: the test that finds the stretch, one for each value, and a
// little for the time that a long run takes.
func stretchCost(spans []span, from, end int) (cost int, ok bool) {
	to, ok := rest(spans, from, end)
	tests := 0
	for i := from; i < end; i++ {
		if spans[i].to != to {
			tests += width(spans, i, 3)
		}
	}
	return 8 + 8*tests + tests*tests, ok
}

func stretchOf(spans []span, from, end int) stretch {
	to, _ := rest(spans, from, end)
	s := stretch{first: spans[from].first, rest: to, weight: 1}
	for i := from; i < end; i++ {
		s.weight += spans[i].weight
		if spans[i].to == to {
			continue
		}
		for n := range width(spans, i, 3) {
			s.tests = append(s.tests, span{first: spans[i].first + uint32(n), to: spans[i].to, weight: spans[i].weight})
		}
	}
	slices.SortStableFunc(s.tests, func(a, b span) int { return b.weight - a.weight })
	return s
}

// halve finds the stretch of a value by halves of equal weight.
func (all steps) halve(offset uint32, list []stretch) *step {
	if len(list) == 1 {
		at := list[0].rest
		for _, t := range slices.Backward(list[0].tests) {
			at = all.compare(offset, unix.BPF_JEQ, t.first, t.to, at)
		}
		return at
	}
	total, left := 0, 0
	for i := range list {
		total += list[i].weight
	}
	cut := 0
	for cut < len(list)-1 && (cut == 0 || 2*left+list[cut].weight <= total) {
		left += list[cut].weight
		cut++
	}
	upper, lower := all.halve(offset, list[cut:]), all.halve(offset, list[:cut])
	return all.compare(offset, unix.BPF_JGE, list[cut].first, upper, lower)
}

// foldBits looks among spans of single values for some that differ in a few bits
// only, with every combination of them, and lead to the same step: a test of the
// other bits decides them together. It is put where all other values lead.
func (all steps) foldBits(offset uint32, spans []span) []span {
	to, ok := rest(spans, 0, len(spans))
	if !ok || len(spans) > 128 {
		return spans
	}
	values := map[*step][]uint32{}
	var targets []*step
	for i, s := range spans {
		if s.to != to && width(spans, i, 2) == 1 {
			if values[s.to] == nil {
				targets = append(targets, s.to)
			}
			values[s.to] = append(values[s.to], s.first)
		}
	}
	folded := slices.Clone(spans)
	for _, target := range targets {
		value, free := cube(values[target])
		count := 1 << bits.OnesCount32(free)
		if !(count >= 4 || count == 2 && value == 0) { // a test for zero takes one instruction, others two
			continue
		}
		next := all.masked(offset, ^free, value, target, to)
		for i := range folded {
			if folded[i].to == to || spans[i].to == target && spans[i].first&^free == value && width(spans, i, 2) == 1 {
				folded[i].to = next
			}
		}
		to = next
	}
	return folded
}

// cube finds the most values that are one value and all combinations of some
// other bits; values ascend.
func cube(values []uint32) (value, free uint32) {
	value = values[0]
	for _, low := range values {
		covered, bitsOfLow := []uint32{low}, uint32(0)
		for _, v := range values {
			bit := v ^ low
			if bit&(bit-1) != 0 || bit == 0 || v < low {
				continue
			}
			complete := true
			for _, c := range covered {
				_, has := slices.BinarySearch(values, c|bit)
				complete = complete && has
			}
			if complete {
				for _, c := range covered {
					covered = append(covered, c|bit)
				}
				bitsOfLow |= bit
			}
		}
		if bits.OnesCount32(bitsOfLow) > bits.OnesCount32(free) {
			value, free = low, bitsOfLow
		}
	}
	return value, free
}
