package profile

import (
	"slices"

	"github.com/cloche-sandbox/cloche/seccomp"
)

// cube is the values of which the bits under mask are those of value. Every
// comparison is a union of few of them, at most one for each bit, and two
// intersect in one or none.
type cube struct{ mask, value uint64 }

// allOf are the cubes of the values for which all comparisons hold.
func allOf(args []seccomp.Arg) []cube {
	all := []cube{{}}
	for i := range args {
		var both []cube
		for _, x := range all {
			for _, y := range cubes(args[i]) {
				if (x.value^y.value)&x.mask&y.mask == 0 {
					both = append(both, cube{x.mask | y.mask, x.value | y.value})
				}
			}
		}
		all = both
	}
	return all
}

// cubes are those of one comparison. They do not overlap.
func cubes(a seccomp.Arg) []cube {
	most := ^uint64(0)
	if a.Low32 {
		most = 1<<32 - 1
	}
	value, mask := a.Value&most, a.Mask&most
	switch a.Op {
	case seccomp.Equal:
		return []cube{{most, value}}
	case seccomp.MaskedEqual:
		if value&^mask != 0 {
			return nil
		}
		return []cube{{mask, value}}
	case seccomp.NotEqual:
		return append(below(value, most), above(value, most)...)
	case seccomp.Less:
		return below(value, most)
	case seccomp.LessEqual:
		return append(below(value, most), cube{most, value})
	case seccomp.Greater:
		return above(value, most)
	}
	return append(above(value, most), cube{most, value})
}

// below are the values less than v: alike down to a bit that v has and they do not.
func below(v, most uint64) []cube {
	var all []cube
	for bit := uint64(1); bit != 0 && bit <= most; bit <<= 1 {
		if v&bit != 0 {
			upper := most &^ (bit - 1)
			all = append(all, cube{upper, v & upper &^ bit})
		}
	}
	return all
}

// above are the values greater than v: alike down to a bit that they have and v
// does not.
func above(v, most uint64) []cube {
	var all []cube
	for bit := uint64(1); bit != 0 && bit <= most; bit <<= 1 {
		if v&bit == 0 {
			upper := most &^ (bit - 1)
			all = append(all, cube{upper, v&upper | bit})
		}
	}
	return all
}

// remainder is where r holds and none of the rules before it with another action
// does: lists of conditions, of which one must hold. ok is false when they are more
// than any runtime loads.
func remainder(r seccomp.Rule, before []seccomp.Rule) (rest [][]seccomp.Arg, ok bool) {
	rest = [][]seccomp.Arg{r.Args}
	for _, b := range before {
		if b.Action == r.Action {
			continue
		}
		var less [][]seccomp.Arg
		for _, conditions := range rest {
			for i, c := range b.Args {
				// Where the conditions before the i-th hold, and the i-th does not.
				for _, not := range opposites(c) {
					if here := slices.Concat(conditions, b.Args[:i], []seccomp.Arg{not}); satisfiable(here) {
						less = append(less, here)
					}
				}
			}
			if len(less) > maxEntries {
				return nil, false
			}
		}
		rest = less
	}
	return rest, true
}

// satisfiable reports whether some call meets all conditions.
func satisfiable(conditions []seccomp.Arg) bool {
	for i := range maxArgs {
		if len(allOf(about(conditions, i))) == 0 {
			return false
		}
	}
	return true
}

// about are the conditions on one argument.
func about(conditions []seccomp.Arg, index int) []seccomp.Arg {
	return slices.DeleteFunc(slices.Clone(conditions), func(a seccomp.Arg) bool { return a.Index != index })
}

// opposites are comparisons of which one holds where c does not.
func opposites(c seccomp.Arg) []seccomp.Arg {
	switch c.Op {
	case seccomp.Equal:
		c.Op = seccomp.NotEqual
	case seccomp.NotEqual:
		c.Op = seccomp.Equal
	case seccomp.Less:
		c.Op = seccomp.GreaterEqual
	case seccomp.GreaterEqual:
		c.Op = seccomp.Less
	case seccomp.Greater:
		c.Op = seccomp.LessEqual
	case seccomp.LessEqual:
		c.Op = seccomp.Greater
	default:
		var all []seccomp.Arg
		for bit := uint64(1); bit != 0; bit <<= 1 {
			if c.Mask&bit != 0 {
				upper := c.Mask &^ (bit - 1)
				all = append(all, seccomp.Arg{
					Index: c.Index, Op: seccomp.MaskedEqual, Low32: c.Low32, Mask: upper, Value: (c.Value ^ bit) & upper,
				})
			}
		}
		return all
	}
	return []seccomp.Arg{c}
}
