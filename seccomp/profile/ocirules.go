package profile

import (
	"fmt"
	"slices"

	"github.com/cloche-sandbox/cloche/internal/document"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// libseccomp's rules have no order: one without conditions beats those with
// conditions on the same call, and of two without conditions the first stays. runc
// leaves out rules whose action is the default one, skips names that it does not
// know, and makes an entry with two conditions on one argument a rule for each
// condition. In a [seccomp.Profile] the first rule decides, so what libseccomp
// would drop is dropped here, with a warning where it changes something.

// profile makes of the entries what runc and libseccomp would.
func (r *ociReader) profile() seccomp.Profile {
	p := seccomp.Profile{
		Name: r.file, Default: r.byDefault, Unknown: unknownFor(r.byDefault), BadArch: seccomp.KillProcess, Flags: r.flags,
	}
	always := r.unconditional()
	redundant := seccomp.Group{Name: "default", Reason: "rules that say what the default says: they tell that the profile knows the calls"}
	lastKey := ""
	for i := range r.entries {
		e := &r.entries[i]
		if !e.applies {
			continue
		}
		names := r.known(e)
		if e.action == r.byDefault {
			mention(&redundant, r.byDefault, names)
			continue
		}
		names = slices.DeleteFunc(names, func(v *document.Value) bool { return r.beaten(e, v, always[v.Text]) })
		var rules []seccomp.Rule
		for _, conditions := range alternatives(e.args) {
			rules = append(rules, r.narrowed(e, names, conditions)...)
		}
		if len(rules) == 0 {
			mention(&redundant, r.byDefault, names)
			continue
		}
		key := e.comment + "\x00" + e.condition
		if n := len(p.Groups); n > 0 && key == lastKey {
			p.Groups[n-1].Rules = append(p.Groups[n-1].Rules, rules...)
			continue
		}
		lastKey = key
		p.Groups = append(p.Groups, seccomp.Group{Name: fmt.Sprintf("syscalls[%d]", e.index), Reason: reason(e), Rules: rules})
	}
	if len(redundant.Rules) > 0 {
		p.Groups = append(p.Groups, redundant)
	}
	return p
}

func reason(e *ociEntry) string {
	if e.comment == "" || e.condition == "" {
		return e.comment + e.condition
	}
	return e.comment + " (" + e.condition + ")"
}

// unconditional are the rules without conditions, by call. The first of each counts.
func (r *ociReader) unconditional() map[string]*ociEntry {
	always := map[string]*ociEntry{}
	for i := range r.entries {
		e := &r.entries[i]
		if !e.applies || len(e.args) > 0 || e.action == r.byDefault {
			continue
		}
		for _, v := range e.names {
			if always[v.Text] == nil {
				always[v.Text] = e
			}
		}
	}
	return always
}

// beaten reports whether a rule without conditions takes a call away from an entry.
func (r *ociReader) beaten(e *ociEntry, name *document.Value, by *ociEntry) bool {
	if by == nil || by == e {
		return false
	}
	if by.action != e.action {
		r.warn(name.Line, "%s: the rule without conditions in syscalls[%d] beats this one in runc and here: give that one conditions too, or leave one out", name.Text, by.index)
	}
	return true
}

// known are the names of an entry that some architecture has.
func (r *ociReader) known(e *ociEntry) []*document.Value {
	names := make([]*document.Value, 0, len(e.names))
	for _, v := range e.names {
		if seccomp.Known(v.Text) {
			names = append(names, v)
			continue
		}
		hint := "a typo, or newer than Linux " + seccomp.Kernel
		if near := seccomp.Nearest(v.Text); near != "" {
			hint = "did you mean " + near + "?"
		}
		r.warn(v.Line, "%s: unknown call, left out: %s", document.Clip(v.Text), hint)
	}
	return names
}

// mention adds a rule that changes nothing but which calls are newer than the profile.
func mention(g *seccomp.Group, byDefault seccomp.Action, names []*document.Value) {
	if len(names) == 0 {
		return
	}
	r := seccomp.Rule{Action: byDefault}
	for _, v := range names {
		r.Syscalls = append(r.Syscalls, v.Text)
	}
	g.Rules = append(g.Rules, r)
}

// alternatives are the rules that one entry is: one, or one for each condition
// where two are about the same argument.
func alternatives(args []seccomp.Arg) [][]seccomp.Arg {
	var seen [maxArgs]bool
	for _, a := range args {
		if seen[a.Index] {
			var each [][]seccomp.Arg
			for _, a := range args {
				each = append(each, []seccomp.Arg{a})
			}
			return each
		}
		seen[a.Index] = true
	}
	return [][]seccomp.Arg{args}
}

// narrowed makes rules of the same conditions on several calls, each compared with
// the width of its own arguments. Neighbours that come out alike are one rule.
func (r *ociReader) narrowed(e *ociEntry, names []*document.Value, conditions []seccomp.Arg) []seccomp.Rule {
	var rules []seccomp.Rule
	for _, v := range names {
		args, ok := r.narrow(v, conditions)
		if !ok {
			continue
		}
		if n := len(rules); n > 0 && slices.Equal(rules[n-1].Args, args) {
			rules[n-1].Syscalls = append(rules[n-1].Syscalls, v.Text)
			continue
		}
		rules = append(rules, seccomp.Rule{Syscalls: []string{v.Text}, Action: e.action, Args: args, Origin: (&Error{File: r.file, Line: v.Line}).Where()})
	}
	return rules
}

// narrow gives the conditions on a call the kernel's width. ok is false when one of
// them can never hold.
func (r *ociReader) narrow(name *document.Value, conditions []seccomp.Arg) (args []seccomp.Arg, ok bool) {
	for _, a := range conditions {
		if seccomp.Width(name.Text, a.Index) == 0 {
			r.warn(name.Line, "%s", noSuchArgument(name.Text, a.Index))
		}
		if !r.host.Exact && narrow(name.Text, a.Index) {
			a = lowWord(a)
		}
		if err := possible(&a); err != nil {
			r.warn(name.Line, "%s: argument %d: the rule can never hold, left out: %v", name.Text, a.Index, err)
			return nil, false
		}
		args = append(args, a)
	}
	return args, true
}

// lowWord narrows a comparison to 32 bits, if it means the same for every argument
// with no bit above: an order with more than 32 bits does not.
func lowWord(a seccomp.Arg) seccomp.Arg {
	const most = 1<<32 - 1
	low := a
	low.Low32, low.Value, low.Mask = true, a.Value&most, a.Mask&most
	switch a.Op {
	case seccomp.Equal, seccomp.NotEqual:
		if a.Value > most && a.Value>>31 != 1<<33-1 { // but a negative int, sign-extended
			return a
		}
	case seccomp.MaskedEqual:
		if a.Value > most && (a.Value>>31 != 1<<33-1 || a.Mask>>31 != 1<<33-1) {
			return a
		}
		if low.Mask == most {
			low.Op, low.Mask = seccomp.Equal, 0
		}
	default:
		if a.Value > most {
			return a
		}
	}
	return low
}
