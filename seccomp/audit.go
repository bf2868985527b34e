package seccomp

import "golang.org/x/sys/unix"

// Audited is p with a notification in the place of each answer that denies a call
// or logs it, so that a supervisor sees them all. It is for a supervisor that
// answers what Decide says of p: by itself the profile allows nothing that p does not.
//
// What stays is BadArch, if it kills: such numbers come from nothing but an
// attack, or a program that this filter is not for. Trace stays too, as it is
// for a tracer to see.
func Audited(p Profile) Profile {
	a := p
	a.Default, a.Unknown = audited(p.Default), audited(p.Unknown)
	if !p.BadArch.kills() {
		a.BadArch = audited(p.BadArch)
	}
	a.Groups = make([]Group, len(p.Groups))
	for i, g := range p.Groups {
		a.Groups[i] = g
		a.Groups[i].Rules = make([]Rule, len(g.Rules))
		for k, r := range g.Rules {
			r.Action = audited(r.Action)
			a.Groups[i].Rules[k] = r
		}
	}
	return a
}

func audited(a Action) Action {
	if a == Allow || a&unix.SECCOMP_RET_ACTION_FULL == unix.SECCOMP_RET_TRACE {
		return a
	}
	return UserNotify
}

func (a Action) kills() bool { return a == KillProcess || a == KillThread }
