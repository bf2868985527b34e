package policy

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/cloche-sandbox/cloche/internal/document"
)

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		change func(p *Policy)
		err    string
	}{
		{func(p *Policy) {}, ""},
		{func(p *Policy) { *p = Policy{} }, `network.mode: empty network`},
		{func(p *Policy) { p.Unshare = Namespaces{} }, "namespaces.mount: the sandbox needs a mount namespace"},
		{func(p *Policy) { p.Unshare.Mount = false }, "the sandbox needs a mount namespace"},
		{func(p *Policy) { p.Unshare.Net = false }, `network "none" needs a net namespace`},
		{func(p *Policy) { p.Network = NetworkPrivate; p.Unshare.Net = false }, `network "private" needs a net namespace`},
		{func(p *Policy) { p.Network = NetworkHost }, `a new net namespace contradicts network "host"`},
		{func(p *Policy) { p.Init = false }, ""},
		{func(p *Policy) { p.Init = false; p.Unshare.PID = false }, "init: without init the command is pid 1 of a pid namespace"},
		{func(p *Policy) { p.Unshare.PID = false }, "proc \"/proc\": a fresh proc needs a pid namespace"},
		{func(p *Policy) { p.Unshare.UTS = false }, "the host's name would change"},
		{func(p *Policy) { p.User.Mode = UserRoot }, ""},
		{func(p *Policy) { p.User.Mode = UserRoot; p.Unshare.User = false }, `user.mode: "root" maps ids, which needs a user namespace`},
		{func(p *Policy) { p.User.Mode = UserRanges; p.Unshare.User = false }, `"ranges" maps ids`},
		{func(p *Policy) { p.User = User{UserSingle, 5, 5}; p.Unshare.User = false }, ""},
		{func(p *Policy) { p.User.UID = 5 }, `"current" takes no uid`},
		{func(p *Policy) { p.User = User{UserSingle, 1<<32 - 1, 5} }, "out of range"},
		{func(p *Policy) { p.User.Mode = "roots" }, `unknown user mode "roots": did you mean "root"?`},
		{func(p *Policy) { p.Seccomp = "docker" }, ""},
		{func(p *Policy) { p.Seccomp = "dokker" }, `seccomp.profile: unknown seccomp profile "dokker": did you mean "docker"?`},
		{func(p *Policy) { p.Landlock = "x" }, `landlock.mode: unknown landlock mode`},
		{func(p *Policy) { p.Terminal = "x" }, `terminal: unknown terminal mode`},
		{func(p *Policy) { p.Hostname = "a..b" }, "empty"},
		{func(p *Policy) { p.Name = "a\x1b[31m" }, "control character"},
		{func(p *Policy) { p.Capabilities = []string{"CAP_KIL"} }, `did you mean "CAP_KILL"?`},
		{func(p *Policy) { p.Capabilities = []string{"kill"} }, "write it as CAP_KILL"},
		{func(p *Policy) { p.Capabilities = []string{"CAP_KILL", "CAP_KILL"} }, "there twice"},
		{func(p *Policy) { p.Rlimits["nofiles"] = Rlimit{} }, `did you mean "nofile"?`},
		{func(p *Policy) { p.Rlimits["nofile"] = Rlimit{2, 1} }, "rlimits.nofile: the soft limit 2 is above the hard limit 1"},
		{func(p *Policy) { p.Rlimits["nofile"] = Rlimit{1, 1<<62 + 1} }, "2^62"},
		{func(p *Policy) { p.Limits.Memory = -1 }, "limits.memory: a size can't be negative"},
		{func(p *Policy) { p.Limits.Memory = 5 }, "less than the smallest"},
		{func(p *Policy) { p.Limits.Memory = math.MaxInt64 }, "2^62"},
		{func(p *Policy) { p.Limits.Swap = new(Size(0)) }, ""},
		{func(p *Policy) { p.Limits.Swap = new(Size(-1)) }, "limits.swap"},
		{func(p *Policy) { p.Limits.CPUs = math.NaN() }, "limits.cpus"},
		{func(p *Policy) { p.Limits.CPUs = math.Inf(1) }, "limits.cpus"},
		{func(p *Policy) { p.Limits.CPUs = -1 }, "limits.cpus"},
		{func(p *Policy) { p.Limits.CPUWeight = 10001 }, "limits.cpu-weight"},
		{func(p *Policy) { p.Limits.Pids = -1 }, "default.toml:78: limits.pids: out of range"},
		{func(p *Policy) { p.Limits.Pids = 1 << 40 }, "limits.pids: out of range"},
		{func(p *Policy) { p.Limits.Cpuset = "," }, "limits.cpuset"},
		{func(p *Policy) { p.Limits.Parent = "x" }, "limits.parent"},
		{func(p *Policy) { p.Limits.IO = []IOLimit{{Device: "/d"}} }, "limits.io: no limit"},
		{func(p *Policy) { p.Limits.IO = []IOLimit{{Device: "/d", ReadIOPS: -1}} }, "limits.io"},
		{func(p *Policy) { p.Limits.WhereAvailable = []string{"mem"} }, `did you mean "memory"?`},
		{func(p *Policy) { p.Limits.WhereAvailable = []string{"memory"} }, `no limit "memory" that could be left out`},
		{func(p *Policy) { p.Time.Wall = -time.Second }, "time.wall"},
		{func(p *Policy) { p.Time.CPU = -time.Second }, "time.cpu"},
		{func(p *Policy) { p.Output = -1 }, "max-output"},
		{func(p *Policy) { p.Env.Keep = []string{"*"} }, "env.keep"},
		{func(p *Policy) { p.Env.Unset = []string{""} }, "env.unset"},
		{func(p *Policy) { p.Env.Set["A=B"] = "" }, "env.set.A=B"},
		{func(p *Policy) { p.Env.Set["A"] = "\x00" }, "NUL"},
		{func(p *Policy) { p.Cwd = "" }, ""},
		{func(p *Policy) { p.Cwd = "/usr/lib" }, ""},
		{func(p *Policy) { p.Cwd = "/home" }, ""},
		{func(p *Policy) { p.Cwd = "/tmp" }, ""},
		{func(p *Policy) { p.Cwd = "/dev/shm" }, ""},
		{func(p *Policy) { p.Cwd = "/dev/x" }, "has no such directory"},
		{func(p *Policy) { p.Cwd = "/tmp/x" }, "is empty"},
		{func(p *Policy) { p.Cwd = "/home/bob" }, "default.toml:7: cwd: the working directory \"/home/bob\" is not in the sandbox, as nothing shows \"/home/bob\" inside: show it with --read /home/bob"},
		{func(p *Policy) { p.Cwd = "/etc/sudoers.d" }, "hide \"/etc/sudoers.d\" (default.toml:38) hides it"},
		{func(p *Policy) { p.Cwd = "x" }, "policy.Expand makes it one"},
		{func(p *Policy) { p.Cwd = "/usr/../home" }, "policy.Expand makes it one"},
		{func(p *Policy) { p.Cwd = "/\x00" }, "NUL"},
		{mount(Mount{Kind: "bind", Path: "/a"}), `unknown kind "bind"`},
		{mount(Mount{Kind: Read, Path: "a"}), "policy.Expand makes it so"},
		{mount(Mount{Kind: Read, Path: "/a", Source: "b"}), "its source"},
		{mount(Mount{Kind: Read, Path: "/a\x00"}), "NUL"},
		{mount(Mount{Kind: Read, Path: "/a", Size: 5}), "a read has no size"},
		{mount(Mount{Kind: Tmpfs, Path: "/a", Source: "/b"}), "a tmpfs has no source"},
		{mount(Mount{Kind: Tmpfs, Path: "/a", Size: -5}), "negative"},
		{mount(Mount{Kind: Tmpfs, Path: "/a", Mode: 0o10000}), "more than permission bits"},
		{mount(Mount{Kind: Hide, Path: "/a", Mode: 5}), "a hide has no mode"},
		{mount(Mount{Kind: Tmpfs, Path: "/"}), ""},
		{mount(Mount{Kind: Hide, Path: "/"}), "/ can't be a hide"},
		{mount(Mount{Kind: Proc, Path: "/"}), "/ can't be a proc"},
		{mount(Mount{Kind: Proc, Path: "/p", Subset: "all"}), "subset"},
		{mount(Mount{Kind: Proc, Path: "/p", Hidepid: "all"}), "hidepid"},
		{mount(Mount{Kind: Symlink, Path: "/l"}), "needs what it points to"},
		{mount(Mount{Kind: Overlay, Path: "/o", Work: "/w"}), "work without upper"},
		{mount(Mount{Kind: Overlay, Path: "/o", Lower: []string{"x"}}), "policy.Expand makes it so"},
		{mount(Mount{Kind: Overlay, Path: "/o", Lower: []string{"/x\x00"}}), "NUL"},
		{mount(Mount{Kind: Read, Path: "/etc/sudoers.d/x", Origin: "--read /etc/sudoers.d/x"}), `--read /etc/sudoers.d/x: it lies in what is hidden by hide "/etc/sudoers.d" (default.toml:38)`},
		{mount(Mount{Kind: File, Path: "/f"}, Mount{Kind: Read, Path: "/f/x"}), "which is no directory"},
		{mount(Mount{Kind: Hide, Path: "/h"}, Mount{Kind: Hide, Path: "/h/x"}), ""},
	} {
		p, _ := Builtin("default")
		if err := Expand(p, "/root", "/home/ann/src"); err != nil {
			t.Fatal(err)
		}
		c.change(p)
		if err := Validate(p); !matches(err, c.err) {
			t.Errorf("got %v, want %q", err, c.err)
		}
	}
}

func mount(ms ...Mount) func(*Policy) {
	return func(p *Policy) { p.Mounts = append(p.Mounts, ms...) }
}

func TestExpandFillsModes(t *testing.T) {
	p := &Policy{Unshare: New().Unshare}
	if err := Expand(p, "", "/"); err != nil {
		t.Fatal(err)
	}
	if err := Validate(p); err != nil {
		t.Fatal(err)
	}
	if p.Network != NetworkNone || p.Landlock != LandlockRequire || p.Seccomp != "default" || p.Terminal != TerminalNever {
		t.Errorf("%+v", p)
	}
}

func TestNearest(t *testing.T) {
	for in, want := range map[string]string{
		"pid": "pids", "memroy": "memory", "swpa": "swap", "cpu": "cpus", "xyz": "", "": "", "mem": "memory",
		strings.Repeat("pids", 100): "",
	} {
		if got := document.Nearest(in, LimitNames()); got != want {
			t.Errorf("nearest to %q is %q, want %q", in, got, want)
		}
	}
}

func TestClean(t *testing.T) {
	for name, want := range map[string]bool{
		"/": true, "/a": true, "/a/b": true, "/.a": true, "/a/..b": true, "/a/...": true, "/a./b": true,
		"": false, "a": false, "//": false, "/a/": false, "/a//b": false, "/.": false, "/..": false, "/a/./b": false, "/a/../b": false,
	} {
		if clean(name) != want {
			t.Errorf("clean(%q) is %v", name, !want)
		}
	}
}
