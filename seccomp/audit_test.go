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

// TestAuditedAllowsNothingMore: the audited program allows what the profile's own
// allows, and notifies of all else but kills of foreign numbers and traces.
func TestAuditedAllowsNothingMore(t *testing.T) {
	profiles := []Profile{everyAction()}
	for _, name := range []string{"default", "build", "strict"} {
		p, _ := Builtin(name)
		profiles = append(profiles, p)
	}
	values := []uint64{0, 1, 2, 10, 16, 38, 99, 100, 0x5412, 1 << 28, 1 << 31, 1 << 32, 1<<32 | 2, ^uint64(0)}
	for _, p := range profiles {
		for _, arch := range []Arch{AMD64, ARM64} { // those that sandboxes run on
			prog, err := Compile(Audited(p), arch)
			if err != nil {
				t.Fatal(err)
			}
			for nr := int32(-1); nr < 600; nr++ {
				for _, v := range values {
					for _, w := range values {
						d := Data{NR: nr, Arch: arch.Audit, Args: [6]uint64{v, w, v}}
						got, _, err := Simulate(prog, d)
						if err != nil {
							t.Fatal(err)
						}
						want := audited(Decide(p, arch, d).Action)
						if got != want && !got.kills() {
							t.Fatalf("%s: %+v: the audited program says %s, want %s", p.Name, d, got, want)
						}
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
