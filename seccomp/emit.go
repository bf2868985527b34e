package seccomp

import (
	"slices"

	"golang.org/x/sys/unix"
)

// emitter writes steps as instructions, from the last to the first: what is
// jumped to exists before the jump. A position counts from the end.
type emitter struct {
	code    []unix.SockFilter
	tests   map[*step]int  // where the test of a step is, or the latest return of an answer
	jumps   map[int]int    // the latest jump to a position that is far from here
	reloads map[*step]bool // some way to the step comes without its word in the accumulator
	sizes   map[*step]int
}

// emit is the program that begins at a step.
func emit(root *step) []unix.SockFilter {
	e := &emitter{tests: map[*step]int{}, jumps: map[int]int{}, reloads: map[*step]bool{root: true}, sizes: map[*step]int{}}
	e.measure(root)
	e.step(root)
	slices.Reverse(e.code)
	return e.code
}

// measure finds which steps must load their word, and how large each is when
// all that it leads to is written out.
func (e *emitter) measure(s *step) int {
	size, ok := e.sizes[s]
	if !ok {
		size = 1
		if !s.final() {
			size = min(1+e.measure(s.yes)+e.measure(s.no), 1<<40)
			for _, next := range []*step{s.yes, s.no} {
				if !next.final() && !next.holds(s.test) {
					e.reloads[next] = true
				}
			}
		}
		e.sizes[s] = size
	}
	return size
}

// holds reports whether the accumulator that another test leaves is what s needs,
// at most under a further mask.
func (s *step) holds(left test) bool { return s.offset == left.offset && s.mask&^left.mask == 0 }

func (e *emitter) add(code uint16, k uint32) int {
	e.code = append(e.code, unix.SockFilter{Code: code, K: k})
	return len(e.code)
}

// step writes a step, and before it what it leads to. The larger half goes
// first, to the end, so that jumps are short.
func (e *emitter) step(s *step) {
	if _, ok := e.tests[s]; ok {
		return
	}
	if s.final() {
		e.tests[s] = e.add(unix.BPF_RET|unix.BPF_K, uint32(s.answer))
		return
	}
	first, second := s.yes, s.no
	if e.sizes[first] < e.sizes[second] {
		first, second = second, first
	}
	e.step(first)
	e.step(second)
	yes := e.near(s, s.yes)
	no := e.near(s, s.no)
	at := len(e.code)
	e.tests[s] = e.add(unix.BPF_JMP|s.jump|unix.BPF_K, s.k)
	e.code[at].Jt, e.code[at].Jf = uint8(at-yes), uint8(at-no)
	if s.mask != noMask {
		e.add(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, s.mask)
	}
	if e.reloads[s] {
		e.add(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, s.offset)
	}
}

// entry is where step next begins after s: at its test, at the mask before that,
// or at the load.
func (e *emitter) entry(s, next *step) int {
	at := e.tests[next]
	if next.final() || next.offset == s.offset && next.mask == s.mask {
		return at
	}
	if next.mask != noMask {
		at++
	}
	if !next.holds(s.test) {
		at++
	}
	return at
}

// farthest is how far a conditional jump reaches from the next position, with
// one more instruction between.
const farthest = 254

// near is a position from which s goes on at next, close enough for the eight
// bits of a conditional jump: a copy of an answer, or a jump.
func (e *emitter) near(s, next *step) int {
	to := e.entry(s, next)
	if len(e.code)-to <= farthest {
		return to
	}
	if next.final() {
		e.tests[next] = e.add(unix.BPF_RET|unix.BPF_K, uint32(next.answer))
		return e.tests[next]
	}
	if at, ok := e.jumps[to]; ok && len(e.code)-at <= farthest {
		return at
	}
	e.jumps[to] = e.add(unix.BPF_JMP|unix.BPF_JA, uint32(len(e.code)-to))
	return e.jumps[to]
}
