package seccomp

import "golang.org/x/sys/unix"

// Widening is a call that one filter allows for more inputs than another.
type Widening struct {
	// Arch and Call name the call. They are empty for numbers that no table has and
	// for architectures without a table, all of which are one Widening.
	Arch Arch
	Call string

	Data          Data   // an input that is allowed now and was not; as few bits as possible are set
	Before, After Action // the answers to it
	Whole         bool   // all inputs of the call are allowed now, and none was
}

// Widenings lists what program b allows that program a does not, by
// architecture and number: each call for which there is such an input, be it a
// single value of one argument. Nothing is missed: where the list is empty, b
// allows nothing that a does not. Allowed are the answers Allow and Log; what a
// tracer or a supervisor would answer is not known. No program allows every
// call.
//
// It fails on programs that Verify fails on.
func Widenings(a, b []unix.SockFilter) ([]Widening, error) {
	d := newDiagram()
	before, err := d.program(a)
	if err != nil {
		return nil, err
	}
	after, err := d.program(b)
	if err != nil {
		return nil, err
	}
	allowedBefore, allowedAfter := d.apply(before, allowed), d.apply(after, allowed)
	widened := d.and(allowedAfter, d.not(allowedBefore))
	var list []Widening
	add := func(w Widening, words [sizeofData / 4]uint32) {
		w.Data = dataOf(words)
		w.Before, w.After = Action(d.at(before, words)), Action(d.at(after, words))
		list = append(list, w)
	}
	for _, arch := range Archs() {
		inTable := map[int32]node{}
		for nr, call := range arch.Calls() {
			inTable[nr] = yes
			of := func(n node) node { return d.fix(d.fix(n, 1, arch.Audit), 0, uint32(nr)) }
			if of(widened) == no {
				continue
			}
			words := d.difference(of(widened), no)
			words[0], words[1] = uint32(nr), arch.Audit
			whole := of(allowedBefore) == no && of(allowedAfter) == yes
			add(Widening{Arch: arch, Call: call, Whole: whole}, words)
		}
		known := d.and(d.equal(d.load(1), literal(uint64(arch.Audit), 32)), d.table(inTable, no))
		widened = d.and(widened, d.not(known))
	}
	if widened != no {
		add(Widening{}, d.difference(widened, no))
	}
	if d.full {
		return nil, errTooLarge
	}
	return list, nil
}

// allowed is whether an answer lets the kernel make the call.
func allowed(answer uint32) node {
	if action := Action(answer & unix.SECCOMP_RET_ACTION_FULL); action == Allow || action == Log {
		return yes
	}
	return no
}
