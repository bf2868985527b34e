package sandbox_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/sandbox"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// TestConfine: the default profile holds on every thread.
func TestConfine(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/secret")
	c := confined{}
	c.gives(
		t,
		"read "+dir+"/secret", "EACCES", "personality", "EPERM", "read /etc/passwd", "ok", "read /usr/bin/env", "ok", "list /usr", "ok",
		"read /proc/self/status", "ok", "read /proc/meminfo", "ok", "list /proc", "EACCES", "read /proc/1/status", "EACCES",
		"write /dev/null", "ok", "read /dev/urandom", "ok", "list /dev", "EACCES", "list /dev/shm", "EACCES", "make /tmp", "EACCES",
		"shm", "EACCES", "uring", "ENOSYS", "chmod "+dir+"/secret", "EPERM", "watch "+dir, "EACCES", "capabilities", "ok", "kill", "ok", "raise", "ok", "signal", "EPERM", "child /etc/hostname > /dev/null && echo yes", "yes",
	)
	c.free(
		t,
		"read "+dir+"/secret", "ok", "list /proc", "ok", "read /proc/1/status", "ok", "list /dev", "ok", "list /dev/shm", "ok", "make /tmp", "ok",
		"shm", "ok", "chmod "+dir+"/secret", "ok", "watch "+dir, "ok", "signal", "ok",
	)
}

// TestConfineRoot: uid 0 loses what it owns, on disks and in /proc/sys, and the
// capabilities on every thread.
func TestConfineRoot(t *testing.T) {
	needs.Root(t, "to lose what root owns")
	c := confined{}
	c.gives(
		t,
		"read /etc/shadow", "EACCES", "child /etc/shadow", "refused", "list /etc", "EACCES", "read /etc/hostname", "ok",
		"write /proc/sys/kernel/hostname", "EACCES", "write /proc/self/comm", "ok", "chmod /etc/passwd", "EPERM", "write /etc/passwd", "EACCES", "capabilities", "ok",
	)
	c.free(t, "read /etc/shadow", "ok", "list /etc", "ok", "write /proc/sys/kernel/hostname", "ok", "chmod /etc/passwd", "ok", "write /etc/passwd", "ok")
	if out, err := (confined{env: []string{"UNCONFINED=1", "TRY=capabilities"}}).run("confine"); err != nil || !strings.Contains(out, "has capabilities") {
		t.Errorf("the capabilities are gone without Confine: %s, %v", out, err)
	}
	granted := confined{profile: "default", flags: []string{"share user", "cap-add CAP_CHOWN"}}
	granted.env = append(granted.env, "TRY=capabilities")
	if out, err := granted.run("confine"); err != nil || !strings.Contains(out, "has capabilities") {
		t.Errorf("CAP_CHOWN was granted: %s, %v", out, err)
	}
}

// TestConfineFiles: names that are protected below directories that are shown.
func TestConfineFiles(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/a/shown", dir+"/a/hidden", dir+"/a/in/shown", dir+"/a/in/deep/hidden", dir+"/a/other/shown", dir+"/w/work", dir+"/w/.git/hooks", dir+"/w/sub/work")
	if err := errors.Join(os.Link(dir+"/a/hidden", dir+"/a/second"), os.Symlink(dir+"/a/hidden", dir+"/to-hidden"), os.Symlink("sub", dir+"/w/link")); err != nil {
		t.Fatal(err)
	}
	c := confined{flags: []string{"read " + dir + "/a", "hide " + dir + "/a/in/deep", "hide " + dir + "/to-hidden", "hide " + dir + "/a/other/later"}}
	c.gives(
		t,
		"read "+dir+"/a/hidden", "EACCES", "read "+dir+"/a/second", "EACCES", "read "+dir+"/a/in/deep/hidden", "EACCES", "list "+dir+"/a/in/deep", "EACCES",
		"read "+dir+"/a/shown", "ok", "read "+dir+"/a/in/shown", "ok", "read "+dir+"/a/other/shown", "ok", "list "+dir+"/a", "EACCES", "list "+dir+"/a/other", "EACCES",
		"write "+dir+"/a/shown", "EACCES",
	)
	c.free(t, "read "+dir+"/a/hidden", "ok", "read "+dir+"/a/in/deep/hidden", "ok", "list "+dir+"/a", "ok", "write "+dir+"/a/shown", "ok")

	c = confined{flags: []string{"write " + dir + "/w", "read " + dir + "/w/.git", "read " + dir + "/w/link/work"}}
	c.gives(
		t,
		"write "+dir+"/w/work", "ok", "write "+dir+"/w/.git/hooks", "EACCES", "make "+dir+"/w/.git", "EACCES", "read "+dir+"/w/.git/hooks", "ok",
		"list "+dir+"/w", "ok", "write "+dir+"/w/sub/work", "EACCES", "make "+dir+"/w/sub", "EACCES", "make "+dir+"/w", "EACCES",
	)
	c.free(t, "write "+dir+"/w/.git/hooks", "ok", "make "+dir+"/w/.git", "ok")
	// A link that leads to what is protected can't be replaced.
	if err := errors.Join(os.Mkdir(dir+"/v", 0o755), os.Symlink(dir+"/w/sub", dir+"/v/link")); err != nil {
		t.Fatal(err)
	}
	confined{flags: []string{"write " + dir + "/v"}}.gives(t, "make "+dir+"/v", "ok")
	confined{flags: []string{"write " + dir + "/v", "read " + dir + "/v/link/work"}}.gives(t, "make "+dir+"/v", "EACCES", "list "+dir+"/v", "ok", "read "+dir+"/v/link/work", "ok")
	out, err := confined{flags: []string{"read " + dir + "/a/hidden", "hide " + dir + "/to-hidden"}}.run("confine")
	if err == nil || !strings.Contains(out, "hide "+dir+"/to-hidden") || !strings.Contains(out, "leave one of the two out") {
		t.Errorf("one file is shown and hidden: %v %s", err, out)
	}
	confined{flags: []string{"hide /usr/bin"}}.gives(t, "read /bin/ls", "EACCES", "read /usr/bin/env", "EACCES", "list /usr/share", "ok")
	c = confined{flags: []string{"write " + dir + "/w", "write " + dir + "/w/sub", "read " + dir + "/w/.git"}}
	c.gives(t, "make "+dir+"/w/sub", "ok", "write "+dir+"/w/.git/hooks", "EACCES")
}

// TestConfineNetwork: without a network there is no socket but between the
// program's own threads and children.
func TestConfineNetwork(t *testing.T) {
	dir := t.TempDir()
	abstract := fmt.Sprintf("@cloche-test-%d", os.Getpid())
	for _, name := range []string{dir + "/socket", abstract} {
		l, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = unix.Bind(l, &unix.SockaddrUnix{Name: name})
		}
		if err == nil {
			err = unix.Listen(l, 4096) // nobody accepts
		}
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(l)
	}
	for _, flags := range [][]string{nil, {"net private"}, {"seccomp none"}} {
		confined{flags: flags}.gives(
			t,
			"udp", "EACCES", "listen", "EACCES", "mptcp", "EACCES", "sctp", "EACCES", "raw", "EACCES", "netlink", "EACCES", "packet", "EACCES",
			"vsock", "EACCES", "datagrams", "EACCES", "connect "+dir+"/socket", "EACCES", "connect "+abstract, "EACCES", "pair", "ok", "uring", "ENOSYS",
		)
	}
	confined{}.free(t, "udp", "ok", "listen", "ok", "netlink", "ok", "datagrams", "ok", "connect "+dir+"/socket", "ok", "connect "+abstract, "ok", "pair", "ok")
	confined{flags: []string{"net host"}}.gives(t, "udp", "ok", "listen", "ok", "connect "+dir+"/socket", "EACCES", "connect "+abstract, "EACCES", "datagrams", "EACCES", "pair", "ok")
	// Where no file is protected, no name of a socket is, but for abstract ones.
	scoped := []string{"connect " + dir + "/socket", "ok", "connect " + abstract, "EPERM", "datagrams", "ok", "udp", "EACCES", "chmod " + dir + "/socket", "ok", "list /", "ok"}
	confined{profile: "all"}.gives(t, scoped...)
	confined{profile: "all", flags: []string{"landlock off"}}.gives(t, "connect "+dir+"/socket", "EACCES", "connect "+abstract, "EACCES", "udp", "EACCES", "list /", "ok")
}

// TestConfineProfiles: a filter by any name or file has the rest of the policy before it.
func TestConfineProfiles(t *testing.T) {
	own := filepath.Join(t.TempDir(), "own.json")
	if err := os.WriteFile(own, []byte(`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["bpf"], "action": "SCMP_ACT_ERRNO"}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(own), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"docker", own} {
		confined{flags: []string{"seccomp " + name}}.gives(t, "udp", "EACCES", "pair", "ok")
	}
}

// TestConfineProof: a filter that was loaded before does not pass for another one.
func TestConfineProof(t *testing.T) {
	out, err := confined{}.run("confine-fooled")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if err != nil || len(lines) != 4 || lines[0] != "<nil>" || !strings.Contains(lines[1], "seccomp filters, not 2") || lines[2] != "after: <nil>" || lines[3] != "confine: <nil>" {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestConfineRefuses: what a running program can't have is refused by name, and
// nothing has changed then.
func TestConfineRefuses(t *testing.T) {
	few := filepath.Join(t.TempDir(), "few.toml")
	if err := os.WriteFile(few, []byte("default = 'EPERM'\nuse = ['@io', '@memory', '@file']\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(few), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ profile, flag, names, says string }{
		{"judge", "", "time.wall", "sandbox.Command"},
		{"default", "memory 64M", "limits.memory (--memory 64M)", "where-available"},
		{"default", "pids 10", "limits.pids", "where-available"},
		{"default", "max-output 1M", "max-output", "sandbox.Command"},
		{"default", "cpu-time 1s", "time.cpu", "rlimits.cpu"},
		{"default", "map-root ", "user.mode", "keeps its ids"},
		{"default", "cap-add CAP_CHOWN", "capabilities", "user namespace"},
		{"default", "tty ", "terminal", "keeps its terminal"},
		{"default", "seccomp strict", "seccomp.profile", "default"},
		{"default", "seccomp " + few, "seccomp.profile (--seccomp ", "never lets clone pass"},
		{"default", "landlock off", "landlock.mode", "where-available"},
		{"default", "bind /usr:/other", "/other", "own path"},
		{"default", "read /does/not/exist", "/does/not/exist", "leave the entry out"},
		{"open", "", "landlock.mode", "Landlock is off"},
	} {
		out, err := confined{profile: c.profile, flags: []string{c.flag}, env: []string{"TRY=udp"}}.run("confine")
		if err == nil || !strings.HasPrefix(out, "sandbox: confine: ") || !strings.Contains(out, c.names) || !strings.Contains(out, c.says) || strings.Count(out, "\n") != 1 || strings.Contains(out, "in part") {
			t.Errorf("%s %s: %v %s", c.profile, c.flag, err, out)
		}
	}
}

// TestConfineFilter: the filters of kernels and architectures that this is not.
func TestConfineFilter(t *testing.T) {
	for _, arch := range []seccomp.Arch{seccomp.AMD64, seccomp.ARM64} {
		for _, profile := range []string{"default", "build", "none", "docker", "own"} {
			for _, c := range []struct {
				net  policy.Network
				open bool
				abi  int
				call string
				want seccomp.Action
			}{
				{policy.NetworkNone, false, 7, "socket(AF_INET, SOCK_DGRAM)", seccomp.Errno(unix.EACCES)},
				{policy.NetworkNone, false, 7, "socket(AF_VSOCK, SOCK_STREAM|SOCK_CLOEXEC)", seccomp.Errno(unix.EACCES)},
				{policy.NetworkNone, false, 7, "socket(0x100000002, SOCK_STREAM)", seccomp.Errno(unix.EACCES)}, // an int to the kernel: AF_INET
				{policy.NetworkNone, false, 7, "socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC)", seccomp.Allow},
				{policy.NetworkNone, false, 7, "socket(AF_UNIX, SOCK_DGRAM|SOCK_NONBLOCK)", seccomp.Errno(unix.EACCES)},
				{policy.NetworkNone, false, 7, "socketpair(AF_UNIX, SOCK_RAW)", seccomp.Errno(unix.EACCES)},
				{policy.NetworkPrivate, false, 7, "connect(3)", seccomp.Errno(unix.EACCES)},
				{policy.NetworkPrivate, true, 7, "connect(3)", seccomp.Allow},
				{policy.NetworkPrivate, true, 5, "connect(3)", seccomp.Errno(unix.EACCES)},
				{policy.NetworkHost, false, 7, "connect(3)", seccomp.Allow},
				{policy.NetworkHost, false, 7, "socket(AF_INET, SOCK_STREAM)", seccomp.Allow},
				{policy.NetworkHost, false, 7, "socket(AF_UNIX, SOCK_STREAM)", seccomp.Errno(unix.EACCES)},
				{policy.NetworkHost, false, 7, "socketpair(AF_UNIX, SOCK_STREAM)", seccomp.Allow},
				{policy.NetworkHost, true, 7, "socket(AF_UNIX, SOCK_DGRAM)", seccomp.Allow},
				{policy.NetworkHost, false, 7, "truncate", seccomp.Allow},
				{policy.NetworkHost, false, 2, "truncate", seccomp.Errno(unix.EACCES)},
				{policy.NetworkHost, false, 7, "fchmodat", seccomp.Errno(unix.EPERM)},
				{policy.NetworkHost, true, 7, "fchmodat", seccomp.Allow},
				{policy.NetworkNone, false, 7, "io_uring_setup", seccomp.Errno(unix.ENOSYS)},
				{policy.NetworkNone, false, 7, "read", seccomp.Allow},
			} {
				p := &policy.Policy{Seccomp: profile, Network: c.net, Landlock: policy.LandlockRequire}
				if profile == "own" { // allows all but a call that nobody asks about
					p.Seccomp, p.SeccompProfile = "", &seccomp.Profile{
						Name: profile, Default: seccomp.Allow, Unknown: seccomp.Allow, BadArch: seccomp.KillProcess,
						Groups: []seccomp.Group{{Name: "@a", Rules: []seccomp.Rule{{Syscalls: []string{"bpf"}, Action: seccomp.Errno(unix.EPERM)}}}},
					}
				}
				prog, err := sandbox.CompileConfinement(p, c.open, c.abi, arch.GOARCH)
				if err != nil {
					t.Fatal(err)
				}
				if len(prog) == 0 && c.want == seccomp.Allow {
					continue // nothing is refused, so there is no filter
				}
				d, err := seccomp.ParseCall(c.call, arch)
				if err != nil {
					t.Fatal(err)
				}
				if got, _, err := seccomp.Simulate(prog, d); err != nil || got != c.want {
					t.Errorf("%s %s: %+v: %v, %v", arch.GOARCH, profile, c, got, err)
				}
			}
		}
	}
}

// TestConfineOldProc: before Linux 5.9 the number of filters is not told.
func TestConfineOldProc(t *testing.T) {
	sets := "NoNewPrivs:\t1\nCapInh:\t0\nCapPrm:\t0\nCapEff:\t0\nCapBnd:\t0\nCapAmb:\t0\n"
	for status, want := range map[string]int{
		sets + "Seccomp:\t0\n": 0, sets + "Seccomp:\t2\n": 1, sets + "Seccomp:\t2\nSeccomp_filters:\t3\n": 3,
	} {
		if n, err := sandbox.FiltersIn(status); n != want || err != nil {
			t.Errorf("%q: %d filters, %v", status, n, err)
		}
	}
	for _, status := range []string{"", sets, "Seccomp:\t2\n"} {
		if _, err := sandbox.FiltersIn(status); err == nil {
			t.Errorf("%q tells the confinement", status)
		}
	}
}
