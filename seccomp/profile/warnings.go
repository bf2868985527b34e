package profile

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/document"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// warnings are about what can be read and is hardly meant: rules that say nothing, on
// the host or at all, and those that open a way around the others.
func (r *reader) warnings(host Host, t *document.Value) []Warning {
	var all []Warning
	warn := func(line int, text string) { all = append(all, Warning{File: r.file, Line: line, Text: text}) }
	asks := asksOthers(&r.p)
	always := map[string]written{}  // rules without conditions, by call
	decided := map[string]written{} // rules, by call with conditions
	for _, c := range r.calls {
		if first, ok := always[c.name]; ok {
			warn(c.line, fmt.Sprintf("%s: the rule on line %d is about every %s and comes first: it answers %s, and this rule says nothing", FormatCall(c.name, c.args), first.line, c.name, first.action))
			continue
		}
		key := FormatCall(c.name, c.args)
		if first, ok := decided[key]; ok && first.action != c.action {
			warn(c.line, fmt.Sprintf("%s: the rule on line %d says the contrary and comes first: it answers %s, and this rule says nothing", key, first.line, first.action))
			continue
		}
		decided[key] = c
		if len(c.args) == 0 {
			always[c.name] = c
		}
		if why := around(asks, c.name, c.args, c.action, host); why != "" {
			warn(c.line, why)
		}
		if host.Arch == (seccomp.Arch{}) {
			continue
		}
		if why := elsewhere(c.name, host.Arch); why != "" {
			warn(c.line, why)
		}
		for _, a := range c.args {
			if seccomp.Width(c.name, a.Index) == 0 {
				warn(c.line, noSuchArgument(c.name, a.Index))
			}
		}
	}
	if v := t.Get("bad-arch"); v != nil && passes(r.p.BadArch) && !r.p.DeniesNothing() {
		warn(v.Line, "bad-arch: what the profile denies passes by the numbers of another architecture, such as i386's on x86_64: write bad-arch = \"kill-process\"")
	}
	if v := t.Get("default"); v != nil && r.p.DeniesNothing() {
		warn(v.Line, denyNothing)
	}
	return all
}

const denyNothing = "the profile denies no call, so it is no filter: give it a default such as EPERM, or rules that deny"

// around says how a rule lets a process get around the others, or ""; asks is what
// asksOthers says of the profile.
func around(asks bool, name string, args []seccomp.Arg, action seccomp.Action, host Host) string {
	switch {
	case name == "ptrace" && len(args) == 0 && passes(action) && !host.hasKernel([2]int{4, 8}):
		return "ptrace: before Linux 4.8 a tracer changes a call after the filter judged it, so that this rule undoes all others: deny it, or ask for a newer kernel"
	case name == "seccomp" && action == seccomp.UserNotify:
		return "seccomp: its program lies behind a pointer, and a supervisor that lets it go on lets the command load a listener of its own: allow it or deny it"
	case name == "seccomp" && passes(action) && !refusesListener(args) && asks:
		return "seccomp: a filter with a listener of the command's own answers in the place of this one's log and trace: allow seccomp(_, !& SECCOMP_FILTER_FLAG_NEW_LISTENER) alone"
	}
	return ""
}

// refusesListener reports whether conditions keep SECCOMP_FILTER_FLAG_NEW_LISTENER out, or
// let only operations pass that take no flags.
func refusesListener(args []seccomp.Arg) bool {
	for _, a := range args {
		switch {
		case a.Index == 0 && a.Op == seccomp.Equal && a.Value != unix.SECCOMP_SET_MODE_FILTER:
			return true
		case a.Index == 1 && a.Op == seccomp.Equal && a.Value&unix.SECCOMP_FILTER_FLAG_NEW_LISTENER == 0:
			return true
		case a.Index == 1 && a.Op == seccomp.MaskedEqual && a.Mask&^a.Value&unix.SECCOMP_FILTER_FLAG_NEW_LISTENER != 0:
			return true
		}
	}
	return false
}

// asksOthers reports whether a profile has answers that one of a listener goes before:
// seccomp(2) has their order.
func asksOthers(p *seccomp.Profile) bool {
	asks := func(a seccomp.Action) bool {
		return a == seccomp.Log || a&unix.SECCOMP_RET_ACTION_FULL == unix.SECCOMP_RET_TRACE
	}
	found := asks(p.Default) || asks(p.Unknown)
	for _, g := range p.Groups {
		for _, r := range g.Rules {
			found = found || asks(r.Action)
		}
	}
	return found
}

func noSuchArgument(name string, index int) string {
	return fmt.Sprintf("%s takes no argument %d (they count from 0): the condition is about a register that the call does not read", name, index)
}
