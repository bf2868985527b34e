package profile

import (
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cloche-sandbox/cloche/seccomp"
)

var amd64 = Host{Arch: seccomp.AMD64}

const example = `
name = "server"
description = "a server"
default = "EPERM"
unknown = "errno 38"
bad-arch = "trap"
flags = ["log", "wait-killable-recv"]
use = ["@random"]

[[group]]
name = "@network"
why = "sockets"
[[group.rule]]
action = "allow"
calls = ["bind", "listen", "socket(AF_UNIX)", "socket(AF_NETLINK, _, NETLINK_ROUTE)", "435"]
[[group.rule]]
action = "trace 7"
calls = [
	"clone(!& CLONE_NEWUSER|CLONE_NEWNS)",
	"ioctl(_, != TIOCSTI)",
	"personality(-1)",
	"read(> 2 && <= 9, _, >= 0x100000000)",
	"close(3:64)",
	"mmap(& 7 == 4:32)",
]
`

func TestReadTOML(t *testing.T) {
	random, _ := seccomp.Builtin("default")
	i := slices.IndexFunc(random.Groups, func(g seccomp.Group) bool { return g.Name == "@random" })
	trace := func(call string, args ...seccomp.Arg) seccomp.Rule {
		return seccomp.Rule{Syscalls: []string{call}, Action: seccomp.Trace(7), Args: args}
	}
	want := seccomp.Profile{
		Name: "server", Description: "a server",
		Default: seccomp.Errno(1), Unknown: seccomp.Errno(38), BadArch: seccomp.Trap, Flags: 1<<1 | 1<<5,
		Groups: []seccomp.Group{
			{Name: "@network", Reason: "sockets", Rules: []seccomp.Rule{
				{Syscalls: []string{"bind", "listen"}, Action: seccomp.Allow},
				{Syscalls: []string{"socket"}, Action: seccomp.Allow, Args: []seccomp.Arg{{Value: 1, Low32: true}}},
				{Syscalls: []string{"socket"}, Action: seccomp.Allow, Args: []seccomp.Arg{{Value: 16, Low32: true}, {Index: 2, Low32: true}}},
				{Syscalls: []string{"435"}, Action: seccomp.Allow},
				trace("clone", seccomp.Arg{Op: seccomp.MaskedEqual, Mask: 0x10020000}),
				trace("ioctl", seccomp.Arg{Index: 1, Op: seccomp.NotEqual, Value: 0x5412, Low32: true}),
				trace("personality", seccomp.Arg{Value: 0xffffffff, Low32: true}),
				trace("read", seccomp.Arg{Op: seccomp.Greater, Value: 2, Low32: true}, seccomp.Arg{Op: seccomp.LessEqual, Value: 9, Low32: true},
					seccomp.Arg{Index: 2, Op: seccomp.GreaterEqual, Value: 1 << 32}),
				trace("close", seccomp.Arg{Value: 3}),
				trace("mmap", seccomp.Arg{Op: seccomp.MaskedEqual, Mask: 7, Value: 4, Low32: true}),
			}},
			random.Groups[i],
		},
	}
	p, warnings, err := ReadTOML("f.toml", []byte(example), amd64)
	if got := p.Groups[0].Rules[0].Origin; got != "f.toml:15" {
		t.Errorf("the first rule is from %q", got)
	}
	if err != nil || !reflect.DeepEqual(anonymous(p), anonymous(want)) {
		t.Errorf("%v\n%+v\nwant\n%+v", err, p, want)
	}
	for _, w := range warnings {
		t.Error(w)
	}
	sameAfterWriting(t, p)
}

// anonymous is a copy of a profile whose rules do not tell where they are from.
func anonymous(p seccomp.Profile) seccomp.Profile {
	p.Groups = slices.Clone(p.Groups)
	for i := range p.Groups {
		p.Groups[i].Rules = slices.Clone(p.Groups[i].Rules)
		for k := range p.Groups[i].Rules {
			p.Groups[i].Rules[k].Origin = ""
		}
	}
	return p
}

// sameAfterWriting holds a profile that was read against what Write makes of it.
func sameAfterWriting(t *testing.T, p seccomp.Profile) {
	t.Helper()
	text, err := Write(p)
	if err != nil {
		t.Fatal(err)
	}
	back, _, err := ReadTOML("back.toml", text, Host{})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(anonymous(back), anonymous(p)) {
		t.Fatalf("%+v\ncomes back as\n%+v\nfrom\n%s", p, back, text)
	}
}

func TestWriteBuiltins(t *testing.T) {
	for _, name := range seccomp.Builtins() {
		p, _ := seccomp.Builtin(name)
		for i := range p.Groups {
			for j := range p.Groups[i].Rules {
				r := &p.Groups[i].Rules[j]
				r.Args = sorted(r.Args)
			}
		}
		sameAfterWriting(t, p)
	}
}

// TestWriteRefuses is about profiles that no file can say: they must not come back
// as something else.
func TestWriteRefuses(t *testing.T) {
	rule := func(call string, args ...seccomp.Arg) seccomp.Profile {
		return seccomp.Profile{
			Default: seccomp.Allow, Unknown: seccomp.Allow, BadArch: seccomp.Allow,
			Groups: []seccomp.Group{{Name: "@a", Rules: []seccomp.Rule{{Syscalls: []string{call}, Action: seccomp.Trap, Args: args}}}},
		}
	}
	for want, p := range map[string]seccomp.Profile{
		"action":                      {Default: 0x12340000},
		"flags 0x100":                 {Default: seccomp.Allow, Unknown: seccomp.Allow, BadArch: seccomp.Allow, Flags: 0x100},
		"reed":                        rule("reed"),
		"argument 6":                  rule("read", seccomp.Arg{Index: 6}),
		"comparison 9":                rule("read", seccomp.Arg{Op: 9}),
		"more than the 32 bits":       rule("read", seccomp.Arg{Value: 1 << 33, Low32: true}),
		"which has other bits":        rule("read", seccomp.Arg{Op: seccomp.MaskedEqual, Mask: 1, Value: 2}),
		"holds a control character":   {Name: "\x1b[2J", Default: seccomp.Allow, Unknown: seccomp.Allow, BadArch: seccomp.Allow},
		"missing: call the group som": {Default: seccomp.Allow, Unknown: seccomp.Allow, BadArch: seccomp.Allow, Groups: []seccomp.Group{{}}},
	} {
		out, err := Write(p)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v\n%s", want, err, out)
		}
	}
}

func TestWarnings(t *testing.T) {
	text := "default = 'EPERM'\n[[group]]\nname = 'a'\n[[group.rule]]\naction = 'allow'\ncalls = ['read',\n'open', 'getpid(3)']"
	_, warnings, err := ReadTOML("f.toml", []byte(text), Host{Arch: seccomp.ARM64})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range warnings {
		got = append(got, w.String())
	}
	want := []string{
		"f.toml:7: open exists only on ",
		"f.toml:7: getpid takes no argument 0 ",
	}
	for i, w := range want {
		if len(got) != len(want) || !strings.HasPrefix(got[i], w) {
			t.Fatalf("%q, want %q", got, want)
		}
	}
}

// TestMistakes reads testdata/mistakes.txt: TOML and JSON with a mistake each, and
// what must be said of it. A profile ends with a line of hyphens.
func TestMistakes(t *testing.T) {
	text, err := os.ReadFile("testdata/mistakes.txt")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(text), "----\n")
	if len(blocks) < 60 {
		t.Fatalf("only %d mistakes", len(blocks))
	}
	for _, block := range blocks {
		want, data, _ := strings.Cut(block, "\n")
		p, _, _, err := Read("f", []byte(data), amd64)
		var at *Error
		if err == nil || !errors.As(err, &at) || err.Error() != want {
			t.Errorf("%s\n%v\nwant\n%v\n%v", data, err, want, p)
		}
	}
}

// TestUseless: rules that say nothing, and those that open a way around the others, are
// warnings with their line.
func TestUseless(t *testing.T) {
	old := Host{Arch: seccomp.AMD64, Kernel: [2]int{4, 4}}
	group := func(rules ...string) string {
		return "default = 'EPERM'\n[[group]]\nname = 'a'\nrule = [\n" + strings.Join(rules, ",\n") + "\n]"
	}
	rule := func(action string, call string) string {
		return "{ action = '" + action + "', calls = ['" + call + "'] }"
	}
	for _, c := range []struct {
		text string
		host Host
		want string // "": no warning
	}{
		{group(rule("allow", "read"), rule("EPERM", "read(0)")), amd64, "f:6: read(0): the rule on line 5 is about every read and comes first: it answers allow"},
		{group(rule("allow", "read"), rule("EPERM", "read")), amd64, "f:6: read: the rule on line 5 is about every read"},
		{group(rule("EPERM", "read(0)"), rule("allow", "read")), amd64, ""},
		{group(rule("EPERM", "read(0)"), rule("allow", "read(0)")), amd64, "f:6: read(0): the rule on line 5 says the contrary and comes first: it answers EPERM"},
		{group(rule("allow", "read(0)"), rule("allow", "read(0)")), amd64, ""},
		{group(rule("allow", "ptrace")), old, "f:5: ptrace: before Linux 4.8"},
		{group(rule("allow", "ptrace")), amd64, ""},
		{group(rule("allow", "ptrace(0)")), old, ""},
		{group(rule("EPERM", "ptrace")), old, ""},
		{group(rule("notify", "seccomp")), amd64, "f:5: seccomp: its program lies behind a pointer"},
		{group(rule("allow", "seccomp"), rule("log", "bpf")), amd64, "f:5: seccomp: a filter with a listener"},
		{group(rule("allow", "seccomp")), amd64, ""},
		{group(rule("allow", "seccomp(1, !& SECCOMP_FILTER_FLAG_NEW_LISTENER)"), rule("log", "bpf")), amd64, ""},
		{group(rule("allow", "seccomp(SECCOMP_SET_MODE_STRICT)"), rule("trace 1", "bpf")), amd64, ""},
		{"bad-arch = 'allow'\n" + group(rule("allow", "read")), amd64, "f:1: bad-arch: what the profile denies passes"},
		{"default = 'allow'", amd64, "f:1: the profile denies no call"},
		{"default = 'log'\nunknown = 'EPERM'", amd64, ""},
		{`{"defaultAction": "SCMP_ACT_ALLOW"}`, amd64, "f:1: the profile denies no call"},
		{`{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [` + "\n" + `{"names": ["ptrace"], "action": "SCMP_ACT_ALLOW"}]}`, old, "f:2: ptrace: before Linux 4.8"},
		{`{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [` + "\n" + `{"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}}]}`, old, ""},
		{`{"defaultAction": "SCMP_ACT_LOG", "syscalls": [` + "\n" + `{"names": ["bpf"], "action": "SCMP_ACT_ERRNO"}, {"names": ["seccomp"], "action": "SCMP_ACT_NOTIFY"}]}`, amd64, "f:2: seccomp: its program"},
	} {
		_, _, warnings, err := Read("f", []byte(c.text), c.host)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, w := range warnings {
			got = append(got, w.String())
		}
		if text := strings.Join(got, "\n"); len(got) > 1 || (text == "") != (c.want == "") || !strings.HasPrefix(text, c.want) {
			t.Errorf("%s\nwarns %q, want %q", c.text, got, c.want)
		}
	}
	p, _, err := Docker(amd64)
	if err != nil || p.DeniesNothing() {
		t.Error(err)
	}
}
