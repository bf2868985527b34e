package seccomp

import "golang.org/x/sys/unix"

// Offsets in struct seccomp_data.
const (
	offsetNR   = 0
	offsetArch = 4
	offsetArgs = 16
)

// noMask is the mask of a test that looks at a whole word.
const noMask = ^uint32(0)

// test asks something of a word of struct seccomp_data.
type test struct {
	offset uint32 // of the word
	mask   uint32 // laid over the word first
	jump   uint16 // BPF_JEQ, BPF_JGT, BPF_JGE or BPF_JSET
	k      uint32
}

// step is a test and where to go on from it, or an answer. Two are equal when
// their pointers are: steps makes each but once, so that calls with the same
// conditions share their instructions.
type step struct {
	test
	yes, no *step // nil for an answer
	answer  Action
}

func (s *step) final() bool { return s.yes == nil }

// steps is all steps of a program.
type steps map[step]*step

func (all steps) once(s step) *step {
	made, ok := all[s]
	if !ok {
		made = &s
		all[s] = made
	}
	return made
}

func (all steps) answer(a Action) *step { return all.once(step{answer: a}) }

func (all steps) test(t test, yes, no *step) *step {
	if yes == no {
		return yes
	}
	return all.once(step{test: t, yes: yes, no: no})
}

// compare goes to yes where the word is op k: BPF_JEQ, BPF_JGT or BPF_JGE.
func (all steps) compare(offset uint32, op uint16, k uint32, yes, no *step) *step {
	return all.test(test{offset: offset, mask: noMask, jump: op, k: k}, yes, no)
}

// masked goes to yes where the word under a mask is value, if it can by a test
// that leaves the accumulator as it is.
func (all steps) masked(offset, mask, value uint32, yes, no *step) *step {
	switch {
	case mask == 0:
		return yes
	case mask == noMask:
		return all.compare(offset, unix.BPF_JEQ, value, yes, no)
	case value == 0:
		return all.compare(offset, unix.BPF_JSET, mask, no, yes)
	case value == mask && mask&(mask-1) == 0:
		return all.compare(offset, unix.BPF_JSET, mask, yes, no)
	}
	return all.test(test{offset: offset, mask: mask, jump: unix.BPF_JEQ, k: value}, yes, no)
}

// reachable counts the steps that a step leads to, itself included.
func (s *step) reachable(seen map[*step]bool) int {
	if seen[s] {
		return 0
	}
	seen[s] = true
	if s.final() {
		return 1
	}
	return 1 + s.yes.reachable(seen) + s.no.reachable(seen)
}
