package policy

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// every is a file with every key.
const every = `
extends = "open"
name = "every"
description = "all there is"
cwd = "/work"
hostname = "box.example"
terminal = "never"
init = false
keyring = true
max-output = "1.5G"

[filesystem]
remove = ["/"]
read = ["/usr", { path = "/opt", optional = true }]
write = ["."]
hide = ["~/.ssh", { path = "/etc/shadow", optional = true }]
bind = [
	{ source = "/data", target = "/mnt", write = true },
	{ source = "/data", target = "/ro", optional = true },
]
tmpfs = ["/run", { path = "/tmp", size = "512M", mode = "1777" }]
overlay = [
	"/srv",
	{ path = "/work", lower = ["/a", "/b"], upper = "/u", work = "/w" },
]
file = [
	{ path = "/etc/hosts", data = "127.0.0.1 localhost\n", mode = "0600" },
	{ path = "/etc/blob", base64 = "/wA=" },
]
symlink = [{ path = "/bin", to = "usr/bin" }]
dev = "private"
proc = { subset = "pid", hidepid = "invisible" }
show-command = true

[network]
mode = "private"
[namespaces]
unshare = ["time"]
share = ["ipc"]
[user]
mode = "single"
uid = 1_000
gid = 0x3e8
[capabilities]
add = ["cap_kill", "NET_RAW", "CAP_CHOWN"]
drop = []
[seccomp]
profile = "strict"
[landlock]
mode = "require"
[limits]
memory = 0x1000_0000
swap = 0
cpus = 0.5
cpu-weight = 200
pids = 64
cpuset = "0-2,7"
parent = "/sys/fs/cgroup/mine"
where-available = ["pids", "io"]
io = [{ device = "/dev/sda", rbps = "10M", wbps = 4096, riops = 5, wiops = 6 }]
[time]
wall = "10s"
cpu = "1500ms"
[rlimits]
nofile = 256
core = "0"
stack = "unlimited"
fsize = { soft = "64M", hard = "unlimited" }
[env]
inherit = false
keep = ["TERM", "LC_*"]
unset = ["LD_PRELOAD"]
set.PATH = "/bin"
[env.set.nothing]
`

func TestParseEveryKey(t *testing.T) {
	p, err := Parse("e.toml", []byte(strings.TrimSuffix(every, "[env.set.nothing]\n")))
	if err != nil {
		t.Fatal(err)
	}
	want := &Policy{
		Name: "every", Description: "all there is",
		Mounts: []Mount{
			{Kind: Read, Path: "/usr", Origin: "e.toml:14"},
			{Kind: Read, Path: "/opt", Optional: true, Origin: "e.toml:14"},
			{Kind: Write, Path: ".", Origin: "e.toml:15"},
			{Kind: Hide, Path: "~/.ssh", Origin: "e.toml:16"},
			{Kind: Hide, Path: "/etc/shadow", Optional: true, Origin: "e.toml:16"},
			{Kind: Write, Path: "/mnt", Source: "/data", Origin: "e.toml:18"},
			{Kind: Read, Path: "/ro", Source: "/data", Optional: true, Origin: "e.toml:19"},
			{Kind: Tmpfs, Path: "/run", Origin: "e.toml:21"},
			{Kind: Tmpfs, Path: "/tmp", Size: 512 << 20, Mode: 0o1777, Origin: "e.toml:21"},
			{Kind: Overlay, Path: "/srv", Origin: "e.toml:23"},
			{Kind: Overlay, Path: "/work", Lower: []string{"/a", "/b"}, Upper: "/u", Work: "/w", Origin: "e.toml:24"},
			{Kind: File, Path: "/etc/hosts", Data: "127.0.0.1 localhost\n", Mode: 0o600, Origin: "e.toml:27"},
			{Kind: File, Path: "/etc/blob", Data: "\xff\x00", Origin: "e.toml:28"},
			{Kind: Symlink, Path: "/bin", Source: "usr/bin", Origin: "e.toml:30"},
			{Kind: Dev, Path: "/dev", Origin: "e.toml:31"},
			{Kind: Proc, Path: "/proc", Subset: "pid", Hidepid: "invisible", Origin: "e.toml:32"},
		},
		ShowCommand:  true,
		Network:      NetworkPrivate,
		Unshare:      Namespaces{User: true, Mount: true, PID: true, Net: true, UTS: true, Cgroup: true, Time: true},
		User:         User{UserSingle, 1000, 1000},
		Capabilities: []string{"CAP_KILL", "CAP_NET_RAW", "CAP_CHOWN"},
		Seccomp:      "strict", Landlock: LandlockRequire, Keyring: true,
		Rlimits: map[string]Rlimit{
			"nofile": {256, 256}, "core": {0, 0}, "stack": {Unlimited, Unlimited}, "fsize": {64 << 20, Unlimited},
		},
		Limits: Limits{
			Memory: 256 << 20, Swap: new(Size(0)), CPUs: 0.5, CPUWeight: 200, Pids: 64, Cpuset: "0-2,7",
			IO:             []IOLimit{{"/dev/sda", 10 << 20, 4096, 5, 6}},
			WhereAvailable: []string{"pids", "io"}, Parent: "/sys/fs/cgroup/mine",
		},
		Time:   TimeLimits{10 * time.Second, 1500 * time.Millisecond},
		Output: 3 << 29,
		Env:    Env{Keep: []string{"TERM", "LC_*"}, Set: map[string]string{"PATH": "/bin"}, Unset: []string{"LD_PRELOAD"}},
		Cwd:    "/work", Hostname: "box.example", Terminal: TerminalNever,
	}
	origins := p.Origins
	p.Origins = nil
	if d := cmp.Diff(want, p); d != "" {
		t.Error(d)
	}
	for key, line := range map[string]int{
		"cwd": 5, "filesystem.show-command": 33, "max-output": 10, "network.mode": 36, "namespaces.time": 38, "namespaces.ipc": 39, "user.uid": 42,
		"capabilities.CAP_KILL": 45, "limits.memory": 52, "limits.io": 60, "time.cpu": 63, "rlimits.core": 66,
		"env.inherit": 70, "env.keep.TERM": 71, "env.set.PATH": 73,
	} {
		if want := fmt.Sprintf("e.toml:%d", line); origins[key] != want {
			t.Errorf("%s comes from %q, want %q", key, origins[key], want)
		}
	}
}

// Every key that the schema has is in the file above, so none is untested.
func TestEveryKeyIsThere(t *testing.T) {
	root, err := readTree("e.toml", []byte(every))
	if err != nil {
		t.Fatal(err)
	}
	for _, section := range append(sections(), "") {
		if section == "rlimits" || section == "seccomp" { // a whole profile can't be named too: TestSeccompTable
			continue
		}
		keys, _ := sectionKeys(section)
		for _, k := range keys {
			at := root
			if section != "" {
				at = root.Get(section)
			}
			if at.Get(k) == nil {
				t.Errorf("%s.%s is in no test", section, k)
			}
		}
	}
}

// mistakes are one of each kind.
var mistakes = []string{
	"[limits]\nmemroy = 5",
	"[limits]\nwall-time = '5s'",
	"memory = '64M'",
	"netwrok.mode = 'none'",
	"[limits]\nextends = 'default'",
	"[rlimits]\nnofiles = 3",
	"frobnicate = 1",
	"\"a\\nb\" = 1",
	"limits = 5",
	"[[limits]]",
	"[limits]\nmemory = true",
	"[limits]\nmemory = 0",
	"[limits]\nmemory = -1",
	"[limits]\nmemory = 100",
	"[limits]\nmemory = '9999P'",
	"[limits]\nmemory = '64MB'",
	"[limits]\nmemory = 99999999999999999999",
	"[limits]\nmemory = [\"64M\"]",
	"[limits]\nswap = -1",
	"[limits]\npids = 0",
	"[limits]\npids = -5",
	"[limits]\npids = 1.5",
	"[limits]\ncpus = 0",
	"[limits]\ncpus = nan",
	"[limits]\ncpus = inf",
	"[limits]\ncpus = 1e300",
	"[limits]\ncpus = -0.5",
	"[limits]\ncpu-weight = 10001",
	"[limits]\ncpuset = '3-1'",
	"[limits]\nparent = 'mine'",
	"[limits]\nwhere-available = ['pid']",
	"[limits]\nio = [{ device = '/dev/sda' }]",
	"[limits]\nio = [{ device = '/dev/sda', rbs = 5 }]",
	"[limits]\nio = [{ device = '/dev/sda', rbps = 5 }, { device = '/dev/sda', rbps = 6 }]",
	"[time]\nwall = 10",
	"[time]\nwall = '0s'",
	"[time]\nwall = '-3s'",
	"[time]\nwall = '9999999h'",
	"[time]\nwall = 1979-05-27",
	"max-output = 0",
	"[network]\nmode = 'hots'",
	"[network]\nmode = ['none']",
	"[namespaces]\nunshare = ['pids']",
	"[namespaces]\nunshare = 'pid'",
	"[namespaces]\nunshare = ['pid']\nshare = ['pid']",
	"[namespaces]\nunshare = ['pid', 'pid']",
	"[user]\nmode = 'single'",
	"[user]\nuid = 4294967295",
	"[capabilities]\nadd = ['NET_ADMN']",
	"[capabilities]\nadd = ['NET_ADMIN', 'CAP_NET_ADMIN']",
	"[seccomp]\nprofile = 'defualt'",
	"[landlock]\nmode = 'on'",
	"hostname = '-x'",
	"hostname = 'a b'",
	"hostname = '" + strings.Repeat("a", 65) + "'",
	"terminal = 'yes'",
	"init = 'no'",
	"cwd = ''",
	"cwd = \"a\\u0000b\"",
	"name = \"a\\u001bb\"",
	"[rlimits]\nnofile = -1",
	"[rlimits]\nnofile = '5:3'",
	"[rlimits]\nnofile = { soft = 5 }",
	"[rlimits]\nnofile = { soft = 5, hard = 5, had = 5 }",
	"[rlimits]\nas = 4611686018427387905",
	"[env]\nset.'A=B' = 'x'",
	"[env]\nset.A = 5",
	"[env]\nset.A = \"x\\u0000\"",
	"[env]\nset.A = 'x'\nunset = ['A']",
	"[env]\nkeep = ['*']",
	"[env]\nkeep = ['A*B']",
	"[env]\ninherit = true\nkeep = ['A']",
	"[filesystem]\nread = '/usr'",
	"[filesystem]\nread = [5]",
	"[filesystem]\nread = ['']",
	"[filesystem]\nread = [\"/a\\u0000\"]",
	"[filesystem]\nread = ['/" + strings.Repeat("a", 5000) + "']",
	"[filesystem]\nread = ['/usr', '/usr/']",
	"[filesystem]\nread = ['/usr']\nwrite = ['/usr']",
	"[filesystem]\nread = [{ path = '/usr', option = true }]",
	"[filesystem]\nread = [{ optional = true }]",
	"[filesystem]\nread = [{ path = '/a', optional = 'yes' }]",
	"[filesystem]\nbind = [{ source = '/a' }]",
	"[filesystem]\nbind = [{ target = '/a' }]",
	"[filesystem]\nbind = ['/a:/b']",
	"[filesystem]\ntmpfs = [{ path = '/tmp', size = 0 }]",
	"[filesystem]\ntmpfs = [{ path = '/tmp', mode = '999' }]",
	"[filesystem]\ntmpfs = [{ path = '/tmp', mode = 755 }]",
	"[filesystem]\ntmpfs = [{ path = '/tmp', mode = '17777' }]",
	"[filesystem]\noverlay = [{ path = '/a', work = '/w' }]",
	"[filesystem]\noverlay = [{ path = '/a', upper = '/w', work = '/w/' }]",
	"[filesystem]\nfile = [{ path = '/a', data = 'x', base64 = 'eA==' }]",
	"[filesystem]\nfile = [{ path = '/a', base64 = '!' }]",
	"[filesystem]\nsymlink = [{ path = '/a' }]",
	"[filesystem]\ndev = 'new'",
	"[filesystem]\nproc = { subset = 'pids' }",
	"[filesystem]\nproc = { hidepid = '2' }",
	"[filesystem]\ndev = 'private'\ntmpfs = ['/dev']",
	"show-command = true",
	"[filesystem]\nshow-command = 'yes'",
	"[filesystem]\nremove = ['/usr']",
	"extends = 'default'\n[filesystem]\nremove = ['/urs']",
	"[filesystem]\nreads = ['/usr']",
	"extends = 'defualt'",
	"extends = './base.toml'",
	"extends = ['default']",
	"[limits]\npids = 5\npids = 6",
	"[limits]\n[limits]",
	"[limits]\npids = ",
	"[limits",
	"a = \"\\q\"",
	"limits = { pids = 3 }\n[limits]\nmemory = 5",
	"[limits]\nmemory = 0_1",
	"init = tru",
	"x = \"abc",
}

func TestMistakesGolden(t *testing.T) {
	var b bytes.Buffer
	for _, in := range mistakes {
		_, err := Parse("p.toml", []byte(in))
		if err == nil {
			t.Errorf("accepted: %q", in)
			continue
		}
		var e *Error
		if !errors.As(err, &e) || e.File != "p.toml" || e.Line == 0 {
			t.Errorf("%q: an error without a place: %v", in, err)
		}
		if s := err.Error(); strings.ContainsAny(s, "\n\x00") || len(s) > 600 {
			t.Errorf("%q: not one short line: %q", in, s)
		}
		if len(in) > 100 {
			in = in[:60] + "…"
		}
		fmt.Fprintf(&b, "%s\n    %v\n\n", strings.ReplaceAll(in, "\n", " ⏎ "), err)
	}
	golden(t, "mistakes.txt", b.Bytes())
}

func TestHugeInput(t *testing.T) {
	for name, in := range map[string]string{
		"10 MB":         strings.Repeat("# a line of a log\n", 600_000),
		"paths":         "[filesystem]\nread = [" + manyNames("'/%d',", 100_000) + "]",
		"twice":         "[filesystem]\nread = ['/a'," + manyNames("'/%d',", 100_000) + "'/a']",
		"names":         "[env]\nkeep = [" + manyNames("'A%d',", 100_000) + "]",
		"variables":     "[env.set]\n" + manyNames("A%d=''\n", 90_000),
		"devices":       "[limits]\nio = [" + manyNames("{device='/%d',rbps=1},", 30_000) + "]",
		"keys":          manyNames("a%d=1\n", 90_000),
		"dots":          strings.Repeat("a.", 400_000) + "a = 1",
		"nested lists":  "[filesystem]\nread = " + strings.Repeat("[", 500_000),
		"nested tables": "a = " + strings.Repeat("{a=", 300_000),
		"long key":      strings.Repeat("k", 1_000_000) + " = 1",
		"long value":    "cwd = '" + strings.Repeat("k", 1_000_000) + "'",
		"one line":      strings.Repeat("x", 1<<20),
		"headers":       strings.Repeat("[[a]]\n", 150_000),
	} {
		start := time.Now()
		_, err := Parse("p.toml", []byte(in))
		if name == "paths" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		} else if err == nil || len(err.Error()) > 600 || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: want a short error, got %.700v", name, err)
		}
		if d := time.Since(start); d > 30*time.Second {
			t.Errorf("%s took %v", name, d)
		}
	}
	_, err := Parse("p.toml", make([]byte, 10<<20))
	if err == nil || !strings.Contains(err.Error(), "p.toml: 10485760 bytes: a policy file may have 1 MiB") {
		t.Errorf("10 MB: %v", err)
	}
}

func manyNames(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}
