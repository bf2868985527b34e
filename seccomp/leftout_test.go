package seccomp

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLeftOut: every call that the default profile never lets pass has a reason, and
// every call with a reason is one that it never lets pass.
func TestLeftOut(t *testing.T) {
	p, _ := Builtin("default")
	why := map[string]string{}
	for _, o := range LeftOut() {
		if o.Reason == "" {
			t.Errorf("%s has no reason", o.Name)
		}
		for _, call := range o.Calls {
			if !Known(call) {
				t.Errorf("%s: there is no call %s", o.Name, call)
			}
			if why[call] != "" {
				t.Errorf("%s: %s and %s", call, why[call], o.Name)
			}
			why[call] = o.Name
		}
	}
	for _, a := range []Arch{AMD64, ARM64} {
		prog, err := Compile(p, a)
		if err != nil {
			t.Fatal(err)
		}
		reachable, err := Reachable(prog, a)
		if err != nil {
			t.Fatal(err)
		}
		open := map[string]bool{}
		for _, w := range reachable {
			open[w.Call] = true
		}
		for _, call := range a.Calls() {
			if reason := why[call]; open[call] == (reason != "") && call != "epoll_ctl_old" && call != "epoll_wait_old" {
				t.Errorf("%s: %s is reachable: %v; left out as %q", a, call, open[call], reason)
			}
			if d := Decide(p, a, Data{NR: mustNumber(t, a, call), Arch: a.Audit}); d.Action == Allow && !open[call] {
				t.Errorf("%s: %s is allowed with zeros and not reachable", a, call)
			}
			if open[call] && !p.MayPass(a, call) {
				t.Errorf("%s: %s is reachable, and MayPass says never", a, call)
			}
		}
	}
}

func mustNumber(t *testing.T, a Arch, call string) int32 {
	t.Helper()
	nr, ok := a.Number(call)
	if !ok {
		t.Fatal(a, call)
	}
	return nr
}

// TestAnnotate: every label is a line, every call of the profile that is tested for
// equality is named, and the way through the program ends with the answer.
func TestAnnotate(t *testing.T) {
	p, _ := Builtin("default")
	prog, err := Compile(p, AMD64)
	if err != nil {
		t.Fatal(err)
	}
	text := Disassemble(prog, AMD64)
	for _, want := range []string{
		"   0         ld   [4]                         ; architecture\n",
		"; x86_64\n", "; system call number\n", "; TIOCSTI\n", "argument 0 of socket, low word\n", "; SECCOMP_FILTER_FLAG_NEW_LISTENER\n",
		"; EAFNOSUPPORT\n", "; the numbers of x32\n", "; from prlimit64 on\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	list := Annotate(prog, AMD64)
	for pc, in := range list {
		for word := range strings.FieldsSeq(strings.ReplaceAll(in.Text, ",", " ")) {
			if strings.HasPrefix(word, "L") && !strings.Contains(text, " "+word+": ") {
				t.Errorf("%d: %s leads nowhere", pc, word)
			}
		}
	}
	for call, want := range map[string]Action{"socket(AF_VSOCK)": Errno(97), "read": Allow, "ioctl(0, TIOCSTI)": Errno(1), "clone3": Errno(38)} {
		d, err := ParseCall(call, AMD64)
		if err != nil {
			t.Fatal(err)
		}
		way, answer, err := Path(prog, d)
		if err != nil || answer != want || len(way) == 0 {
			t.Fatalf("%s: %v, %v", call, answer, err)
		}
		_, steps, _ := Simulate(prog, d)
		if last := way[len(way)-1]; list[last.PC].Comment != want.String() || steps != len(way) {
			t.Errorf("%s: %d steps end with %q", call, len(way), list[last.PC].Comment)
		}
	}
	if got := Annotate([]unix.SockFilter{{Code: 0xffff, K: 7}}, AMD64)[0].Text; got != ".word 0xffff, 0, 0, 0x7" {
		t.Error(got)
	}
}

func TestConstantName(t *testing.T) {
	for _, c := range []struct {
		call  string
		arg   int
		value uint64
		want  string
	}{
		{"socket", 0, 1, "AF_UNIX"},
		{"socket", 0, 99, ""},
		{"socket", 1, 0x80001, "SOCK_STREAM|SOCK_CLOEXEC"},
		{"socket", 2, 0, "NETLINK_ROUTE"},
		{"unshare", 0, 0x10000000, "CLONE_NEWUSER"},
		{"read", 0, 1, ""},
	} {
		got := ConstantName(c.call, c.arg, c.value)
		if got != c.want {
			t.Errorf("%s, argument %d, %#x: %q, want %q", c.call, c.arg, c.value, got, c.want)
		}
		var back uint64
		for word := range strings.SplitSeq(got, "|") {
			v, _ := Constant(word)
			back |= v
		}
		if got != "" && back != c.value {
			t.Errorf("%s is %#x, not %#x", got, back, c.value)
		}
	}
}

// TestDeniesNothing tells a filter from what only looks like one.
func TestDeniesNothing(t *testing.T) {
	deny := Group{Name: "a", Rules: []Rule{{Syscalls: []string{"bpf"}, Action: Errno(1)}}}
	for _, c := range []struct {
		p    Profile
		want bool
	}{
		{Profile{Default: Allow, Unknown: Allow, BadArch: KillProcess}, true},
		{Profile{Default: Log, Unknown: Allow, BadArch: Allow}, true},
		{Profile{Default: Allow, Unknown: Errno(38)}, false},
		{Profile{Default: Allow, Unknown: Allow, Groups: []Group{deny}}, false},
		{Profile{Default: Allow, Unknown: Allow, Groups: []Group{{Name: "e", Rules: []Rule{{Action: Trap}}}}}, true},
		{Profile{Default: Errno(1), Unknown: Allow}, false},
	} {
		if got := c.p.DeniesNothing(); got != c.want {
			t.Errorf("%+v: %v", c.p, got)
		}
	}
}

// TestMayPass: what MayPass says never passes is not reachable, under any rules.
func TestMayPass(t *testing.T) {
	never := 0
	for seed := range uint64(300) {
		g := newIntricate(7, seed)
		p := g.profile()
		prog, err := Compile(p, g.archs...)
		if err != nil {
			continue // too long
		}
		for _, a := range g.archs {
			reachable, err := Reachable(prog, a)
			if err != nil {
				continue // too intricate
			}
			open := map[string]bool{}
			for _, w := range reachable {
				open[w.Call] = true
				if !p.MayPass(a, w.Call) {
					t.Fatalf("seed %d: %s: %s is reachable by %+v, and MayPass says never\n%+v", seed, a, w.Call, w.Data, p)
				}
			}
			for _, call := range a.Calls() {
				if !open[call] && !p.MayPass(a, call) {
					never++
				}
			}
		}
	}
	if never == 0 {
		t.Error("it never says never")
	}
}
