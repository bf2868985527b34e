package policy

import (
	"strings"
	"testing"

	"github.com/cloche-sandbox/cloche/seccomp"
)

// says is what the policy's filter answers to a call on amd64, and where the rule is from.
func says(t *testing.T, p *Policy, call string) string {
	t.Helper()
	f, _, _, err := p.Filter(seccomp.AMD64, [2]int{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := seccomp.ParseCall(call, seccomp.AMD64)
	if err != nil {
		t.Fatal(err)
	}
	got := seccomp.Decide(f, seccomp.AMD64, d)
	return strings.TrimSpace(got.Action.String() + " " + got.Origin)
}

const (
	allowPtrace = "[[seccomp.group]]\nname = '@mine'\nwhy = 'a tracer'\nrule = [{ action = 'allow', calls = ['ptrace', 'socket(AF_VSOCK)'] }]\n"
	onlyRead    = "default = 'EPERM'\n[[group]]\nname = 'r'\nrule = [{ action = 'allow', calls = ['read'] }]\n"
	ociRead     = "{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"defaultErrnoRet\": 5, \"syscalls\": [\n{\"names\": [\"read\"], \"action\": \"SCMP_ACT_ALLOW\"},\n{\"names\": [\"mount\"], \"action\": \"SCMP_ACT_ALLOW\", \"includes\": {\"caps\": [\"CAP_SYS_ADMIN\"]}}]}"
)

// TestSeccompTable: what a policy file says of system calls, alone and inherited.
func TestSeccompTable(t *testing.T) {
	load := files{
		"dir/base.toml": "[seccomp]\nprofile = './p/x.toml'\n", "dir/p/x.toml": onlyRead, "dir/oci.json": ociRead, "dir/plain/oci": ociRead,
		"dir/groups.toml": allowPtrace,
		"dir/whole.toml":  "[seccomp]\ndefault = 'EIO'\nunknown = 'EPERM'\nbad-arch = 'trap'\nflags = ['log']\nuse = ['@random']\n",
	}.load
	for _, c := range []struct {
		text string
		call string
		want string
	}{
		{allowPtrace, "ptrace", "allow dir/p.toml:4"},
		{allowPtrace, "socket(AF_VSOCK)", "allow dir/p.toml:4"},
		{allowPtrace, "socket(AF_ALG)", "EAFNOSUPPORT"},
		{allowPtrace, "keyctl", "EPERM"},
		{"[seccomp]\nprofile = 'strict'\n" + allowPtrace, "keyctl", "kill-process"},
		{"[seccomp]\nprofile = 'strict'\n" + allowPtrace, "ptrace", "allow dir/p.toml:6"},
		{"[seccomp]\nuse = ['@debug']\n", "ptrace", "allow dir/p.toml:2"},
		{"[seccomp]\nprofile = 'docker'", "keyctl", "EPERM"},
		{"[seccomp]\nprofile = 'docker'", "ptrace", "allow docker.json:61"},
		{"[seccomp]\nprofile = './p/x.toml'", "read", "allow dir/p/x.toml:4"},
		{"[seccomp]\nprofile = 'oci.json'", "read", "allow dir/oci.json:2"},
		{"[seccomp]\nprofile = 'oci.json'", "mount", "ENOSYS"},
		{"[seccomp]\nprofile = 'oci.json'\n[capabilities]\nadd = ['SYS_ADMIN']", "mount", "allow dir/oci.json:3"},
		{"[seccomp]\nprofile = 'plain/oci'", "write", "ENOSYS"},
		{"extends = './base.toml'", "write", "ENOSYS"},
		{"extends = './base.toml'\n" + allowPtrace, "ptrace", "allow dir/p.toml:5"},
		{"extends = './base.toml'\n" + allowPtrace, "read", "allow dir/p/x.toml:4"},
		{"extends = './groups.toml'\n[seccomp]\nprofile = 'default'", "ptrace", "EPERM"},
		{"extends = './groups.toml'\n[[seccomp.group]]\nname = 'a'\nrule = [{ action = 'trap', calls = ['ptrace(0)'] }]", "ptrace(1)", "allow dir/groups.toml:4"},
		{"extends = './groups.toml'\n[[seccomp.group]]\nname = 'a'\nrule = [{ action = 'trap', calls = ['ptrace(0)'] }]", "ptrace(0)", "trap dir/p.toml:4"},
		{"extends = './whole.toml'", "read", "EIO"},
		{"extends = './whole.toml'", "getrandom", "allow dir/whole.toml:6"},
		{"extends = './whole.toml'\n" + allowPtrace, "ptrace", "allow dir/p.toml:5"},
		{"extends = './whole.toml'\n[seccomp]\nprofile = 'default'", "read", "allow"},
	} {
		p, err := Resolve("dir/p.toml", []byte(c.text), load)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		if got := says(t, p, c.call); got != c.want {
			t.Errorf("%q: %s: %s, want %s", c.text, c.call, got, c.want)
		}
		roundTrip(t, p)
		if q := p.Clone(); says(t, q, c.call) != c.want {
			t.Errorf("%q: a clone says %s", c.text, says(t, q, c.call))
		}
	}
}

// TestSeccompMistakes: what can't be meant is refused, with the place where it is written.
func TestSeccompMistakes(t *testing.T) {
	load := files{
		"bad.toml": "default = 'EPERM'\n[[group]]\nname = 'r'\nrule = [{ action = 'allow', calls = ['raed'] }]\n", "empty.toml": "",
		"cut.json": "{\"defaultAction\": \"SCMP_ACT_ERRNO\",\n\"syscalls\": [", "all.toml": "default = 'allow'\n",
		"all.json": "{\"defaultAction\": \"SCMP_ACT_ALLOW\"}",
	}.load
	for text, want := range map[string]string{
		"[seccomp]\nprofile = 'x.toml'":                                                 "p.toml:2: seccomp.profile: no such file",
		"[seccomp]\nprofile = 'bad.toml'":                                               "bad.toml:4: group.rule.calls: there is no system call \"raed\": did you mean read?",
		"[seccomp]\nprofile = 'cut.json'":                                               "cut.json:2: not JSON: it ends in the middle",
		"[seccomp]\nprofile = 'empty.toml'":                                             "p.toml:2: seccomp.profile: \"empty.toml\" is empty",
		"[seccomp]\nprofile = 'all.toml'":                                               "p.toml:2: seccomp.profile: it denies no call, so it is no filter",
		"[seccomp]\nprofile = 'all.json'":                                               "it denies no call",
		"[seccomp]\ndefault = 'log'":                                                    "p.toml:2: seccomp.profile: it denies no call",
		"[seccomp]\nprofile = 'none'\n" + allowPtrace:                                   "it denies no call",
		"[seccomp]\nprofile = 'strict'\ndefault = 'EPERM'":                              "p.toml:3: seccomp.default: the profile on line 2 has a default",
		"[seccomp]\nunknown = 'EPERM'":                                                  "p.toml:2: seccomp.unknown: it belongs to a whole profile",
		"[[seccomp.group]]\nname = 'a'\nrule = [{ action = 'alow', calls = ['read'] }]": "p.toml:3: seccomp.group.rule.action: unknown action \"alow\"",
		"[seccomp]\nprofile = 'none'\n[capabilities]\nadd = ['SYS_ADMIN']":              "without a seccomp filter",
		"[seccomp]\nprofile = 'docker'\n[capabilities]\nadd = ['SYS_ADMIN']":            "a seccomp filter that lets mount_setattr pass",
		"[capabilities]\nadd = ['SYS_ADMIN']\n[[seccomp.group]]\nname = 'a'\nrule = [{ action = 'allow', calls = ['umount2(_, 8)'] }]": "a seccomp filter that lets umount2 pass",
		"[capabilities]\nadd = ['SYS_ADMIN']\n[[seccomp.group]]\nname = 'a'\nrule = [{ action = 'allow', calls = ['165'] }]":           "a seccomp filter that lets mount pass",
		"[capabilities]\nadd = ['SYS_ADMIN']\n[seccomp]\ndefault = 'EPERM'\nbad-arch = 'allow'\nuse = ['@io']":                         "p.toml:4: seccomp.profile: bad-arch lets calls pass",
	} {
		p, err := Resolve("p.toml", []byte(text+"\n"), load)
		if err == nil {
			p.Mounts = append(p.Mounts, Mount{Kind: Read, Path: "/usr"})
			if err = Expand(p, "/home/u", "/usr"); err == nil {
				err = Validate(p)
			}
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", text, err, want)
		}
	}
}

// TestSeccompFlag: --seccomp takes a file, and the place of what the policy says.
func TestSeccompFlag(t *testing.T) {
	load := files{"x.toml": onlyRead}.load
	p, err := Parse("p.toml", []byte(allowPtrace))
	if err != nil {
		t.Fatal(err)
	}
	if err := FlagNamed("seccomp").Apply(p, "x.toml"); err != nil {
		t.Fatal(err)
	}
	if err := Validate(p); err == nil || !strings.Contains(err.Error(), "LoadSeccomp") {
		t.Errorf("a file that was not read: %v", err)
	}
	for range 2 {
		if err := p.LoadSeccomp(load); err != nil {
			t.Fatal(err)
		}
		load = nil // it is not read again
	}
	if got := says(t, p, "ptrace"); got != "ENOSYS" {
		t.Errorf("ptrace: %s", got)
	}
	if err := FlagNamed("seccomp").Apply(p, "missing.json"); err != nil {
		t.Fatal(err)
	}
	if err := p.LoadSeccomp(files(nil).load); err == nil || !strings.HasPrefix(err.Error(), "--seccomp missing.json: no such file") {
		t.Error(err)
	}
	// An allowed ptrace is no way to mount, and a filter that denies is one.
	q, _ := Builtin("default")
	q.Capabilities, q.SeccompGroups = []string{"CAP_SYS_ADMIN"}, []seccomp.Group{{Name: "a", Rules: []seccomp.Rule{{Syscalls: []string{"ptrace"}, Action: seccomp.Allow}}}}
	if err := Expand(q, "/home/u", "/srv"); err != nil {
		t.Fatal(err)
	}
	if err := Validate(q); err != nil {
		t.Error(err)
	}
}
