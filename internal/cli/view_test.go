package cli

import (
	"encoding/binary"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

func oracleOf(p *policy.Policy, h hostFS, who credentials) *oracle {
	return &oracle{p: p, v: viewOf(p, h, who), arch: "amd64", cwd: "/home/u/proj", abi: 7}
}

func TestCanFiles(t *testing.T) {
	for _, c := range []struct {
		ask    string
		mounts []policy.Mount
		who    *credentials // nil: user
		want   string       // "yes" or "no", then what the answer holds
	}{
		{ask: "read /usr/bin/sh", want: "yes read /usr (small.toml:1)"},
		{ask: "read /bin/sh", want: "yes read /usr (small.toml:1)"},
		{ask: "read /bin", want: "yes /usr"},
		{ask: "write /usr/bin/sh", want: "no read-only (small.toml:1)"},
		{ask: "write /usr", want: "no read-only"},
		{ask: "exec /usr/bin/sh", want: "yes"},
		{ask: "exec /usr/bin/root-only", want: "no mode"},
		{ask: "exec /usr/bin/root-only", who: &credentials{}, want: "yes"},
		{ask: "exec /usr", want: "no directory"},
		{ask: "read /etc/passwd", want: "no nothing shows it --read /etc/passwd"},
		{ask: "read /nowhere", want: "no does not exist outside"},
		{ask: "read out", want: "no nothing shows it"},
		{ask: "read in", want: "yes"},
		{ask: "read sub/../plain", want: "yes"},
		{ask: "read circle", want: "no circles"},
		{ask: "write dangling", want: "yes can be made tmpfs /tmp (small.toml:4)"},
		{ask: "write plain", want: "no --write /home/u/proj/plain"},
		{ask: "write .", want: "no --write /home/u/proj"},
		{ask: "write new", want: "no read-only"},
		{ask: "write new", mounts: []policy.Mount{{Kind: policy.Write, Path: "/home/u/proj", Origin: "--write ."}}, want: "yes --write ."},
		{ask: "write sub/x", mounts: []policy.Mount{{Kind: policy.Write, Path: "/home/u/proj"}}, want: "no mode"},
		{ask: "write sub/x", mounts: []policy.Mount{{Kind: policy.Write, Path: "/home/u/proj"}}, who: &credentials{}, want: "yes"},
		{ask: "read /home", want: "yes"},
		{ask: "write /home", want: "no root is read-only"},
		{ask: "write /", want: "no root is read-only"},
		{ask: "read /home/u/.ssh/id", want: "no nothing shows it"},
		{ask: "read /home/u/.ssh/id", mounts: []policy.Mount{{Kind: policy.Read, Path: "/home/u"}, {Kind: policy.Hide, Path: "/home/u/.ssh", Origin: "--hide ~/.ssh"}}, want: "no hidden --hide ~/.ssh"},
		{ask: "read /home/u/.ssh", mounts: []policy.Mount{{Kind: policy.Read, Path: "/home/u"}, {Kind: policy.Hide, Path: "/home/u/.ssh"}}, want: "no hidden"},
		{ask: "read /home/u/bin/tool", mounts: []policy.Mount{{Kind: policy.Read, Path: "/home/u"}, {Kind: policy.Hide, Path: "/home/u/.ssh"}}, want: "yes"},
		{ask: "write /tmp", want: "yes small.toml:4"},
		{ask: "write /tmp/a", want: "yes"},
		{ask: "write /tmp/a/b", want: "no"},
		{ask: "read /tmp/a", want: "no exists neither"},
		{ask: "read /data", mounts: []policy.Mount{{Kind: policy.File, Path: "/data", Data: "x"}}, want: "yes file /data"},
		{ask: "write /data", mounts: []policy.Mount{{Kind: policy.File, Path: "/data", Data: "x"}}, want: "no read-only"},
		{ask: "read /data/x", mounts: []policy.Mount{{Kind: policy.File, Path: "/data", Data: "x"}}, want: "no not a directory"},
		{ask: "read /link", mounts: []policy.Mount{{Kind: policy.Symlink, Path: "/link", Source: "usr/bin/sh"}}, want: "yes read /usr"},
		{ask: "write /home/u/proj/plain", mounts: []policy.Mount{{Kind: policy.Overlay, Path: "/home/u/proj"}}, who: &credentials{}, want: "yes overlay"},
		{ask: "read /dev/null", want: "yes dev /dev"},
		{ask: "write /dev/null", want: "yes dev /dev"},
		{ask: "write /dev", want: "no read-only"},
		{ask: "write /dev/shm", want: "yes"},
		{ask: "write /dev/shm/x", want: "yes"},
		{ask: "read /dev/sda", want: "no"},
		{ask: "read /dev/tty", want: "no no terminal"},
		{ask: "read /dev/ptmx", want: "yes"},
		{ask: "read /proc", want: "yes"},
		{ask: "write /proc", want: "no"},
		{ask: "read /proc/cpuinfo", want: "yes"},
		{ask: "read /proc/self/status", want: "yes"},
		{ask: "write /proc/self/mem", want: "yes"},
		{ask: "read /proc/1/mem", want: "no"},
		{ask: "read /proc/kcore", who: &credentials{}, want: "no"},
		{ask: "read /proc/sys/kernel/x", want: "yes"},
		{ask: "write /proc/sys/kernel/x", who: &credentials{}, want: "no read-only"},
		{ask: "read /etc/shadow", mounts: []policy.Mount{{Kind: policy.Read, Path: "/etc"}}, want: "no mode"},
		{ask: "read /etc/shadow", mounts: []policy.Mount{{Kind: policy.Read, Path: "/etc"}}, who: &credentials{uid: 5, groups: []uint32{42}}, want: "yes"},
		{ask: "write /dev/null", mounts: []policy.Mount{{Kind: policy.Read, Path: "/x", Source: "/dev"}}, want: "yes"},
		{ask: "write /x/null", mounts: []policy.Mount{{Kind: policy.Read, Path: "/x", Source: "/dev"}}, want: "yes"},
		{ask: "read /x/sda", mounts: []policy.Mount{{Kind: policy.Read, Path: "/x", Source: "/dev"}}, want: "no mode"},
	} {
		who := user
		if c.who != nil {
			who = *c.who
		}
		verb, about, _ := strings.Cut(c.ask, " ")
		a, err := oracleOf(small(c.mounts...), someHost(), who).answer(question{verb, about})
		if err != nil {
			t.Errorf("%s: %v", c.ask, err)
			continue
		}
		all := a.Why + " " + a.Rule + " " + a.Fix
		word, holds, _ := strings.Cut(c.want, " ")
		if a.Yes != (word == "yes") || !holdsWords(all, holds) {
			t.Errorf("%s: got %v: %s; want %s", c.ask, a.Yes, all, c.want)
		}
	}
}

// holdsWords reports whether all the words are in text.
func holdsWords(text, words string) bool {
	for _, w := range strings.Fields(words) {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

func TestPermissions(t *testing.T) {
	reg := func(mode, uid, gid uint32) inode { return inode{mode: unix.S_IFREG | mode, uid: uid, gid: gid} }
	dir := func(mode, uid, gid uint32) inode { return inode{mode: unix.S_IFDIR | mode, uid: uid, gid: gid} }
	acl := func(entries ...uint32) []byte {
		b := []byte{2, 0, 0, 0}
		for i := 0; i < len(entries); i += 3 {
			b = binary.LittleEndian.AppendUint16(b, uint16(entries[i]))
			b = binary.LittleEndian.AppendUint16(b, uint16(entries[i+1]))
			b = binary.LittleEndian.AppendUint32(b, entries[i+2])
		}
		return b
	}
	for i, c := range []struct {
		who  credentials
		n    inode
		acl  []byte
		want uint32
		ok   bool
	}{
		{user, reg(0o400, 1000, 1), nil, mayRead, true},
		{user, reg(0o400, 1000, 1), nil, mayWrite, false},
		{user, reg(0o077, 1000, 1000), nil, mayRead, false}, // the owner's digit alone counts
		{user, reg(0o040, 1, 1000), nil, mayRead, true},
		{user, reg(0o004, 1, 1000), nil, mayRead, false},
		{user, reg(0o004, 1, 1), nil, mayRead, true},
		{credentials{}, reg(0o600, 1000, 1000), nil, mayRead, false},
		{credentials{overrides: true}, reg(0o600, 1000, 1000), nil, mayRead, false}, // not mapped
		{credentials{overrides: true, everywhere: true}, reg(0o600, 1000, 1000), nil, mayRead | mayWrite, true},
		{credentials{overrides: true, everywhere: true}, reg(0o600, 1000, 1000), nil, mayExec, false},
		{credentials{overrides: true, everywhere: true}, reg(0o610, 1000, 1000), nil, mayExec, true},
		{credentials{overrides: true, everywhere: true}, dir(0o000, 1000, 1000), nil, mayExec | mayWrite, true},
		{credentials{searches: true, everywhere: true}, dir(0o000, 1000, 1000), nil, mayExec | mayRead, true},
		{credentials{searches: true, everywhere: true}, dir(0o000, 1000, 1000), nil, mayWrite, false},
		{credentials{searches: true, everywhere: true}, reg(0o000, 1000, 1000), nil, mayRead, true},
		{credentials{overrides: true, uid: 5, gid: 5}, reg(0o000, 5, 5), nil, mayRead, true},
		{user, reg(0o640, 1, 1), acl(1, 6, 0, aclUser, 4, 1000, aclGroupObj, 0, 0, aclMask, 4, 0, aclOther, 0, 0), mayRead, true},
		{user, reg(0o640, 1, 1), acl(1, 6, 0, aclUser, 6, 1000, aclGroupObj, 0, 0, aclMask, 4, 0, aclOther, 0, 0), mayWrite, false},
		{user, reg(0o644, 1, 1), acl(1, 6, 0, aclUser, 0, 1000, aclGroupObj, 4, 0, aclMask, 4, 0, aclOther, 4, 0), mayRead, false},
		{user, reg(0o640, 1, 1), acl(1, 6, 0, aclGroupObj, 0, 0, aclGroup, 4, 1000, aclMask, 4, 0, aclOther, 0, 0), mayRead, true},
	} {
		if got := c.who.permits(c.n, c.acl, c.want); got != c.ok {
			t.Errorf("%d: %v", i, got)
		}
	}
}

func TestCanSignal(t *testing.T) {
	ask := func(change func(*policy.Policy), who credentials, abi int) answer {
		t.Helper()
		p := small()
		p.Unshare.PID = false
		p.Landlock, p.Seccomp = policy.LandlockOff, "none"
		change(p)
		o := oracleOf(p, someHost(), who)
		o.abi = abi
		o.proc = func(string) (uint32, string, error) { return 1000, "sh", nil }
		a, err := o.answer(question{"signal", "77"})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if a := ask(func(p *policy.Policy) {}, user, 7); !a.Yes {
		t.Error(a)
	}
	own := func(p *policy.Policy) { p.Unshare.PID = true }
	if a := ask(own, user, 7); a.Yes || a.Fix != "--share pid --read /proc" {
		t.Error(a)
	}
	if a := ask(func(p *policy.Policy) { own(p); p.Landlock = policy.LandlockRequire }, user, 7); a.Yes || a.Fix != "--share pid --read /proc --landlock off" {
		t.Error(a)
	}
	if a := ask(own, credentials{uid: 7}, 7); a.Yes || a.Fix != "" { // another user's process
		t.Error(a)
	}
	if a := ask(func(p *policy.Policy) { own(p); p.Init = false }, user, 7); a.Yes || a.Fix != "" {
		t.Error(a)
	}
	if a := ask(func(p *policy.Policy) {}, credentials{uid: 7}, 7); a.Yes {
		t.Error(a)
	}
	if a := ask(func(p *policy.Policy) { p.Landlock = policy.LandlockRequire }, user, 7); a.Yes {
		t.Error(a)
	}
	if a := ask(func(p *policy.Policy) { p.Landlock = policy.LandlockRequire }, user, 5); !a.Yes {
		t.Error(a)
	}
}

func TestCanConnect(t *testing.T) {
	for _, c := range []struct {
		net policy.Network
		to  string
		yes bool
	}{
		{policy.NetworkNone, "127.0.0.1:80", false},
		{policy.NetworkNone, "example.org:443", false},
		{policy.NetworkPrivate, "127.0.0.1:80", true},
		{policy.NetworkPrivate, "localhost:80", true},
		{policy.NetworkPrivate, "[::1]:80", true},
		{policy.NetworkPrivate, "example.org:443", false},
		{policy.NetworkHost, "example.org:443", true},
		{policy.NetworkHost, "[2001:db8::1]:443", true},
	} {
		p := small()
		p.Network, p.Unshare.Net = c.net, c.net != policy.NetworkHost
		p.Seccomp = "none"
		a, err := oracleOf(p, someHost(), user).answer(question{"connect", c.to})
		if err != nil || a.Yes != c.yes {
			t.Errorf("%s, %s: %v %v", c.net, c.to, a, err)
		}
	}
}
