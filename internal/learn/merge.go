package learn

import (
	"slices"

	"github.com/cloche-sandbox/cloche/seccomp"
)

// Missing returns of the learned groups what the old ones do not allow yet, which
// is what a further run adds to the policy of the runs before it. Groups of which
// nothing is left are left out.
func Missing(old, learned []seccomp.Group) []seccomp.Group {
	var have []seccomp.Rule
	for _, g := range old {
		have = append(have, g.Rules...)
	}
	var added []seccomp.Group
	for _, g := range learned {
		if g.Rules = missing(have, g.Rules); len(g.Rules) > 0 {
			added = append(added, g)
		}
	}
	return added
}

// missing are the rules, a call each, that none of those had covers.
func missing(have, want []seccomp.Rule) []seccomp.Rule {
	var left []seccomp.Rule
	for _, w := range want {
		var calls []string
		for _, name := range w.Syscalls {
			if !slices.ContainsFunc(have, func(h seccomp.Rule) bool { return covers(h, name, w) }) {
				calls = append(calls, name)
			}
		}
		if len(calls) > 0 {
			w.Syscalls = calls
			left = append(left, w)
		}
	}
	return left
}

// covers reports whether h allows each call by that name that w allows. Where it
// can't tell, it says no: then a rule stands in the policy twice.
func covers(h seccomp.Rule, name string, w seccomp.Rule) bool {
	if h.Action != seccomp.Allow || !slices.Contains(h.Syscalls, name) {
		return false
	}
	for _, condition := range h.Args {
		if !slices.ContainsFunc(w.Args, func(a seccomp.Arg) bool { return implies(a, condition) }) {
			return false
		}
	}
	return true
}

// implies reports whether b holds wherever a does. Fewer bits to be zero are a
// weaker condition.
func implies(a, b seccomp.Arg) bool {
	if a == b {
		return true
	}
	zero := func(c seccomp.Arg) bool { return c.Op == seccomp.MaskedEqual && c.Value == 0 && !c.Low32 }
	return a.Index == b.Index && zero(a) && zero(b) && b.Mask&^a.Mask == 0
}
