package seccomp

import (
	"testing"

	"golang.org/x/sys/unix"
)

// everyAction is a profile with each kind of answer, under conditions and without.
func everyAction() Profile {
	rule := func(a Action, call string, args ...Arg) Rule {
		return Rule{Syscalls: []string{call}, Action: a, Args: args}
	}
	return Profile{
		Name: "every action", Default: Trap, Unknown: Errno(unix.ENOSYS), BadArch: Errno(unix.EPERM),
		Groups: []Group{{Name: "@all", Rules: []Rule{
			rule(Allow, "read"),
			rule(Errno(unix.EPERM), "socket", is(0, unix.AF_INET)),
			rule(Allow, "socket", is(0, unix.AF_UNIX)),
			rule(KillProcess, "socket"),
			rule(KillThread, "keyctl"),
			rule(Trap, "ptrace", is(0, 16)),
			rule(Trace(3), "ptrace"),
			rule(Log, "bind"),
			rule(UserNotify, "connect"),
			rule(Allow, "ioctl", Arg{Index: 1, Op: Less, Value: 100, Low32: true}),
		}}},
	}
}

// TestAuditedAllowsNothingMore proves it for every input: of the programs, and
// of what a supervisor does with a notification, which is what Decide says of the
// profile.
func TestAuditedAllowsNothingMore(t *testing.T) {
	profiles := []Profile{everyAction()}
	for _, name := range Builtins() {
		profiles = append(profiles, builtin(t, name))
	}
	for _, p := range profiles {
		a := Audited(p)
		for _, arch := range []Arch{AMD64, ARM64} { // those that sandboxes run on
			before, err := Compile(p, arch)
			if err != nil {
				t.Fatal(err)
			}
			after, err := Compile(a, arch)
			if err != nil {
				t.Fatal(err)
			}
			if err := Verify(a, []Arch{arch}, after); err != nil {
				t.Errorf("%s on %s: %v", p.Name, arch, err)
			}
			if len(before) == 0 {
				continue // no filter at all
			}
			wider, err := Widenings(before, after)
			if err != nil || len(wider) > 0 {
				t.Errorf("%s on %s: Audited allows more: %+v, %v", p.Name, arch, wider, err)
			}
			// And nothing is denied without a notification that was not before.
			if narrower, err := Widenings(after, before); err != nil {
				t.Error(err)
			} else {
				for _, w := range narrower {
					if w.Before != UserNotify || w.After != Log {
						t.Errorf("%s on %s: Audited denies %+v", p.Name, arch, w)
					}
				}
			}
		}
	}
}

// TestAuditedSeesDenials holds that each answer but allow and trace becomes a
// notification, and a kill of foreign architectures stays.
func TestAuditedSeesDenials(t *testing.T) {
	p := everyAction()
	a := Audited(p)
	if a.Default != UserNotify || a.Unknown != UserNotify || a.BadArch != UserNotify {
		t.Errorf("default %s, unknown %s, other architecture %s", a.Default, a.Unknown, a.BadArch)
	}
	for i, r := range p.Groups[0].Rules {
		want := UserNotify
		if r.Action == Allow || r.Action == Trace(3) {
			want = r.Action
		}
		if got := a.Groups[0].Rules[i].Action; got != want {
			t.Errorf("%v %s: %s, want %s", r.Syscalls, r.Action, got, want)
		}
	}
	if p.Groups[0].Rules[1].Action != Errno(unix.EPERM) {
		t.Error("Audited changed the profile that it was given")
	}
	p.BadArch = KillProcess
	if a := Audited(p); a.BadArch != KillProcess {
		t.Errorf("the kill of other architectures became %s", a.BadArch)
	}
}
