package policy

import (
	"errors"
	"strconv"
	"strings"
	"testing"
)

// files is a Loader of files by name.
type files map[string]string

func (f files) load(name string) (string, []byte, error) {
	if text, ok := f[name]; ok {
		return name, []byte(text), nil
	}
	return "", nil, errors.New("no such file")
}

func TestExtends(t *testing.T) {
	p, err := Resolve("/p/child.toml", []byte(`
extends = "../base/a.toml"
[filesystem]
write = ["/usr"]
read = ["/srv"]
remove = ["/opt"]
[limits]
pids = 7
[env]
unset = ["B"]
set.A = "child"
[capabilities]
drop = ["CAP_KILL"]
[namespaces]
share = ["uts"]
[user]
mode = "current"
`), files{"/base/a.toml": `
extends = "default"
name = "a"
description = "d"
[user]
mode = "single"
uid = 5
gid = 6
[capabilities]
add = ["KILL", "NET_RAW"]
[limits]
memory = "1G"
where-available = ["memory"]
[env]
set = { A = "base", B = "base" }
`}.load)
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "" || p.Description != "" {
		t.Errorf("the base's name was inherited: %q %q", p.Name, p.Description)
	}
	if m, _ := p.MountAt("/usr/bin"); m.Kind != Write || m.Origin != "/p/child.toml:4" {
		t.Errorf("/usr is %+v", m)
	}
	if m, ok := p.MountAt("/opt"); ok {
		t.Errorf("/opt is still %+v", m)
	}
	if p.Limits.Pids != 7 || p.Limits.Memory != 1<<30 || strings.Join(p.Limits.WhereAvailable, " ") != "memory" {
		t.Errorf("limits %+v: pids is asked for, so it must hold", p.Limits)
	}
	if p.Env.Set["A"] != "child" || p.Env.Set["HOME"] != "/tmp" {
		t.Errorf("environment %v", p.Env.Set)
	}
	if _, ok := p.Env.Set["B"]; ok {
		t.Error("B is still set")
	}
	if len(p.Capabilities) != 1 || p.Capabilities[0] != "CAP_NET_RAW" {
		t.Errorf("capabilities %v", p.Capabilities)
	}
	if p.Unshare.UTS || p.Hostname != "" {
		t.Errorf("uts shared %v, host name %q", !p.Unshare.UTS, p.Hostname)
	}
	if p.User != (User{Mode: UserCurrent}) {
		t.Errorf("user %+v", p.User)
	}
	if p.Origins["limits.memory"] != "/base/a.toml:12" || p.Origins["cwd"] != "default.toml:7" {
		t.Errorf("origins %v", p.Origins)
	}
	if err := Expand(p, "", "/work"); err != nil {
		t.Error(err)
	}
	if err := Validate(p); err != nil {
		t.Error(err)
	}
}

func TestExtendsFailures(t *testing.T) {
	chain := files{
		"/a.toml":    `extends = "b.toml"`,
		"/b.toml":    `extends = "./a.toml"`,
		"/self.toml": `extends = "/self.toml"`,
		"/bad.toml":  "\n[limits]\npids = 0",
		"mine":       `name = "mine"`,
	}
	for i := range 20 {
		chain["/"+strconv.Itoa(i)+".toml"] = `extends = "` + strconv.Itoa(i+1) + `.toml"`
	}
	for name, c := range map[string]struct{ in, want string }{
		"circle":   {`extends = "/a.toml"`, "/b.toml:1: extends: a circle: /p.toml → /a.toml → /b.toml → /a.toml"},
		"self":     {`extends = "self.toml"`, "/self.toml:1: extends: a circle: /p.toml → /self.toml → /self.toml"},
		"long":     {`extends = "0.toml"`, "/14.toml:1: extends: more than 16 files extend each other"},
		"missing":  {`extends = "x/y.toml"`, `/p.toml:1: extends: can't read "/x/y.toml": no such file`},
		"unknown":  {"\nextends = 'jugde'", `/p.toml:2: extends: unknown profile "jugde": did you mean "judge"? (no such file)`},
		"in base":  {`extends = "bad.toml"`, `/bad.toml:3: limits.pids: out of range: write a whole number from 1 to 4194304, or "none" for no limit`},
		"nul":      {`extends = "a\u0000.toml"`, `/p.toml:1: extends: path "a\x00.toml" holds a NUL byte, which no path can`},
		"empty":    {`extends = ""`, `/p.toml:1: extends: an empty path`},
		"profiles": {`extends = "mine"`, ""},
	} {
		_, err := Resolve("/p.toml", []byte(c.in), chain.load)
		if (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
			t.Errorf("%s: got  %v\nwant %s", name, err, c.want)
		}
	}
}
