package seccomp

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// MayPass reports whether some input of the named call may get past the kernel's
// own no: be allowed or logged, or go to a tracer or a supervisor, who may allow it.
// Conditions on arguments are not weighed against each other, so true can be said
// of a rule that never holds; false is certain. False too where a has no such call.
func (p *Profile) MayPass(a Arch, call string) bool {
	nr, ok := a.Number(call)
	if !ok {
		return false
	}
	number, named := strconv.Itoa(int(nr)), false
	for _, g := range p.Groups {
		for _, r := range g.Rules {
			switch {
			case !r.names(call, number):
				continue
			case r.Action.passes():
				return true
			case len(r.Args) == 0:
				return false
			}
			named = true
		}
	}
	for _, r := range blindRules(p, a, call) { // of socketcall and ipc
		if r.Action.passes() {
			return true
		}
	}
	if !named && nr > p.highest(a) {
		return p.Unknown.passes()
	}
	return p.Default.passes()
}

// DeniesNothing reports whether the profile lets every call of the architectures that
// it is for pass: as good as no filter.
func (p *Profile) DeniesNothing() bool {
	if !p.Default.lets() || !p.Unknown.lets() {
		return false
	}
	for _, g := range p.Groups {
		for _, r := range g.Rules {
			if !r.Action.lets() && len(r.Syscalls) > 0 {
				return false
			}
		}
	}
	return true
}

// lets reports whether the call is made, whoever else is there: without a tracer or a
// supervisor the answers that ask them are ENOSYS.
func (a Action) lets() bool { return a == Allow || a == Log }

func (a Action) passes() bool {
	return a.lets() || a == UserNotify || a&unix.SECCOMP_RET_ACTION_FULL == unix.SECCOMP_RET_TRACE
}
