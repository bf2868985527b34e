package seccomp

import "strconv"

// Decision is what a profile says of a call, and which part of it says so.
type Decision struct {
	Action Action
	Group  string // "" when no rule holds: the profile's default decides
	Rule   int    // index of the rule in its group
	Reason string
	Origin string // of the rule
}

// Decide evaluates the rules one by one, with no compiling: slowly and plainly.
// It is what a compiled program is held against.
func Decide(p Profile, a Arch, d Data) Decision {
	if p.empty() {
		return Decision{Action: Allow, Reason: "there is no filter"}
	}
	if d.Arch != a.Audit || !a.owns(d.NR) {
		return Decision{Action: p.BadArch, Reason: "numbers of another architecture are a second door to every call"}
	}
	name, inTable := a.Name(d.NR)
	number, named := strconv.Itoa(int(d.NR)), false
	for _, g := range p.Groups {
		for i, r := range g.Rules {
			if !r.names(name, number) {
				continue
			}
			named = true
			if r.holds(d) {
				return Decision{Action: r.Action, Group: g.Name, Rule: i, Reason: g.Reason, Origin: r.Origin}
			}
		}
	}
	if sub, ok := multiplexed(name, d.Args[0]); ok {
		if decision, ok := decideBlind(p, a, sub); ok {
			return decision
		}
	}
	if !named && (!inTable || d.NR > p.highest(a)) {
		return Decision{Action: p.Unknown, Reason: "a call newer than the profile does not exist, so that programs fall back"}
	}
	return Decision{Action: p.Default, Reason: "no rule of profile " + p.Name + " allows it"}
}

// DecideAmong is Decide for a filter of several architectures.
func DecideAmong(p Profile, archs []Arch, d Data) Decision {
	for _, a := range archs {
		if d.Arch == a.Audit && a.owns(d.NR) {
			return Decide(p, a, d)
		}
	}
	return Decide(p, Arch{Audit: ^d.Arch}, d) // which is not the call's, also where that is 0
}

// decideBlind judges a call whose arguments lie behind a pointer: of the answers
// that could be right, the one that the kernel would prefer. ok is false when no
// rule is about the call.
func decideBlind(p Profile, a Arch, name string) (strictest Decision, ok bool) {
	number := ""
	if nr, has := a.Number(name); has {
		number = strconv.Itoa(int(nr))
	}
	consider := func(d Decision) {
		if !ok || d.Action.stricter(strictest.Action) {
			strictest, ok = d, true
		}
	}
	for _, g := range p.Groups {
		for i, r := range g.Rules {
			if !r.names(name, number) {
				continue
			}
			consider(Decision{Action: r.Action, Group: g.Name, Rule: i, Reason: g.Reason, Origin: r.Origin})
			if len(r.Args) == 0 {
				return strictest, true
			}
		}
	}
	if ok {
		consider(Decision{Action: p.Default, Reason: "no rule of profile " + p.Name + " allows it"})
	}
	return strictest, ok
}

// owns reports whether nr is one of a's numbers, be there a call of that number
// or not. Of x86-64's, x32 has the upper ones; -1, which a tracer leaves of a
// call that it skips, is everybody's.
func (a Arch) owns(nr int32) bool {
	if a.Audit != AMD64.Audit || nr == -1 {
		return true
	}
	return (uint32(nr) >= x32Bit) == (a == X32)
}

// names reports whether the rule is about the call that has this name, or "",
// and this number in decimal.
func (r *Rule) names(name, number string) bool {
	for _, n := range r.Syscalls {
		if n == name || n == number {
			return true
		}
	}
	return false
}

// armPrivate is the first of ARM's own calls (set_tls and others), far above
// the numbers that grow with time.
const armPrivate = 0xf0000

// highest is the highest number that the profile's rules name on a, or -1.
func (p *Profile) highest(a Arch) int32 {
	highest := int32(-1)
	for _, g := range p.Groups {
		for _, r := range g.Rules {
			for _, n := range r.Syscalls {
				if nr, ok := a.number(n); ok && (a != ARM || nr < armPrivate) {
					highest = max(highest, nr)
				}
			}
		}
	}
	return highest
}

// number is the number of a call that a rule names.
func (a Arch) number(name string) (nr int32, ok bool) {
	if name != "" && name[0] >= '0' && name[0] <= '9' {
		n, err := strconv.ParseInt(name, 10, 32)
		return int32(n), err == nil && a.owns(int32(n))
	}
	return a.Number(name)
}

func (r *Rule) holds(d Data) bool {
	for _, c := range r.Args {
		if !c.holds(d.Args[c.Index]) {
			return false
		}
	}
	return true
}

func (c *Arg) holds(arg uint64) bool {
	if c.Low32 {
		arg &= 0xffffffff
	}
	switch c.Op {
	case Equal:
		return arg == c.Value
	case NotEqual:
		return arg != c.Value
	case Less:
		return arg < c.Value
	case LessEqual:
		return arg <= c.Value
	case Greater:
		return arg > c.Value
	case GreaterEqual:
		return arg >= c.Value
	}
	return arg&c.Mask == c.Value
}
