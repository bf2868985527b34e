package cli

import (
	"encoding/binary"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

func TestHiddenCommand(t *testing.T) {
	for _, c := range []struct {
		name, command string
		mounts        []policy.Mount
		host          fakeHost
		errno         unix.Errno
		want          string
	}{
		{name: "hidden in PATH", command: "tool", want: "/home/u/bin/tool exists outside but is hidden inside; to show it: --read /home/u/bin/tool"},
		{name: "hidden by path", command: "/home/u/bin/tool", want: "/home/u/bin/tool exists outside but is hidden inside; to show it: --read /home/u/bin/tool"},
		{name: "hidden by relative path", command: "../bin/tool", want: "--read /home/u/bin/tool"},
		{name: "interpreter hidden", command: "./hidden.sh", want: "./hidden.sh: its script interpreter /opt/tool/bin/sh exists outside but is hidden inside; to show it: --read /opt/tool/bin/sh"},
		{name: "interpreter missing", command: "./nowhere.sh", want: "its script interpreter /opt/nowhere does not exist, outside or inside"},
		{name: "interpreter relative", command: "./relative.sh", want: "bin/sh is not a whole path"},
		{name: "nowhere", command: "nope", want: "nope: no such command, inside or outside"},
		{name: "no such file", command: "./nope", want: "./nope: no such file, inside or outside"},
		{name: "directory", command: "./sub", errno: unix.EACCES, want: "./sub: it is a directory"},
		{name: "not executable", command: "./plain", errno: unix.EACCES, want: "chmod +x /home/u/proj/plain"},
		{name: "without ./", command: "run.py", want: "write ./run.py"},
		{name: "hidden by name", command: "/usr/bin/sh", mounts: []policy.Mount{{Kind: policy.Hide, Path: "/usr/bin/sh", Origin: "--hide /usr/bin/sh"}}, errno: unix.EACCES, want: "/usr/bin/sh exists outside but is hidden inside by --hide /usr/bin/sh"},
		{name: "the file of a link hidden by name", command: "sh", mounts: hide("/usr/bin/dash"), host: fakeHost{"/usr/bin/sh": {link: "dash"}, "/usr/bin/dash": executable("")}, errno: unix.EACCES, want: "/usr/bin/sh exists outside but is hidden inside by --hide /usr/bin/dash; take that out"},
		{name: "its directory hidden by name", command: "/bin/sh", mounts: hide("/usr/bin"), errno: unix.EACCES, want: "/bin/sh exists outside but is hidden inside by --hide /usr/bin; take that out"},
		{name: "interpreter hidden by name", command: "./run.py", mounts: hide("/usr/bin/env"), errno: unix.EACCES, want: "./run.py: its script interpreter /usr/bin/env exists outside but is hidden inside by --hide /usr/bin/env; take that out"},
		{name: "interpreter's directory hidden by name", command: "/usr/bin/x", host: fakeHost{"/usr/bin/x": executable("#!/usr/lib64/sh"), "/usr/lib64/sh": executable("")}, mounts: hide("/usr/lib64"), errno: unix.EACCES, want: "its script interpreter /usr/lib64/sh exists outside but is hidden inside by --hide /usr/lib64; take that out"},
		{name: "not for these ids", command: "/usr/bin/root-only", errno: unix.EACCES, want: "the ids inside may not execute it"},
		{name: "not in the PATH inside", command: "tool", mounts: []policy.Mount{{Kind: policy.Read, Path: "/home/u/bin"}}, want: "tool: it is at /home/u/bin/tool, which is not in the PATH inside"},
		{name: "flag is quoted", command: "/home/u/my dir/t", host: fakeHost{"/home/u/my dir/t": executable("")}, want: "--read '/home/u/my dir/t'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := someHost()
			for k, v := range c.host {
				h[k] = v
			}
			if c.errno == 0 {
				c.errno = unix.ENOENT
			}
			v := viewOf(small(c.mounts...), h, user)
			s := &search{v: v, inside: "/usr/bin:/bin", outside: "/home/u/bin:/usr/bin:/bin", cwd: "/home/u/proj"}
			if got := s.hiddenCommand(c.command, c.errno); !strings.Contains(got, c.want) {
				t.Errorf("%s:\n got %q\nwant %q", c.command, got, c.want)
			}
		})
	}
}

func hide(p string) []policy.Mount {
	return []policy.Mount{{Kind: policy.Hide, Path: p, Origin: "--hide " + p}}
}

// What env(1) and shells did not find.
func TestHiddenInWords(t *testing.T) {
	for _, c := range []struct {
		args   []string
		mounts []policy.Mount
		want   string
	}{
		{args: []string{"./run.py"}, want: "./run.py: its script interpreter python3: no such command, inside or outside"},
		{args: []string{"./tool.sh", "x"}, want: "./tool.sh: its script interpreter /home/u/bin/tool exists outside but is hidden inside; to show it: --read /home/u/bin/tool"},
		{args: []string{"./sh.sh"}, mounts: hide("/usr/bin/sh"), want: "./sh.sh: its script interpreter /usr/bin/sh exists outside but is hidden inside by --hide /usr/bin/sh"},
		{args: []string{"env", "-i", "A=b", "tool"}, want: "/home/u/bin/tool exists outside but is hidden inside"},
		{args: []string{"sh", "-c", "true; tool | sh"}, want: "/home/u/bin/tool exists outside but is hidden inside"},
		{args: []string{"sh", "-c", "nowhere"}},
		{args: []string{"sh"}},
		{args: []string{"./plain"}},
	} {
		h := someHost()
		h["/home/u/proj/tool.sh"] = executable("#!/usr/bin/env -S tool -x\n")
		h["/home/u/proj/sh.sh"] = executable("#!/usr/bin/env sh\n")
		s := &search{v: viewOf(small(c.mounts...), h, user), inside: "/usr/bin:/bin", outside: "/home/u/bin:/usr/bin:/bin", cwd: "/home/u/proj"}
		if got := s.hiddenInWords(c.args); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%q:\n got %q\nwant %q", c.args, got, c.want)
		}
	}
}

// Numbers of elf(5).
const (
	ptLoad, ptDynamic, ptInterp   = 1, 2, 3
	dtNeeded, dtStrtab, dtRunpath = 1, 5, 29
)

// elfWith is a 64-bit ELF file with a loader, needed libraries and a runpath.
func elfWith(loader string, runpath string, needed ...string) string {
	le := binary.LittleEndian
	const headers, table, strings = 0x200, 0x400, 0x800
	f := make([]byte, 0x1000)
	copy(f, "\x7fELF\x02\x01\x01")
	le.PutUint64(f[32:], 64)
	le.PutUint16(f[54:], 56)
	le.PutUint16(f[56:], 3)
	segment := func(i int, kind uint32, at, address, size uint64) {
		h := f[64+56*i:]
		le.PutUint32(h, kind)
		le.PutUint64(h[8:], at)
		le.PutUint64(h[16:], address)
		le.PutUint64(h[32:], size)
	}
	segment(0, ptLoad, 0, 0x10000, uint64(len(f)))
	copy(f[headers:], loader+"\x00")
	segment(1, ptInterp, headers, 0x10000+headers, uint64(len(loader)+1))
	segment(2, ptDynamic, table, 0x10000+table, 0x400)
	at, text := table, 1
	entry := func(tag, value uint64) {
		le.PutUint64(f[at:], tag)
		le.PutUint64(f[at+8:], value)
		at += 16
	}
	put := func(s string) uint64 {
		copy(f[strings+text:], s)
		text += len(s) + 1
		return uint64(text - len(s) - 1)
	}
	for _, n := range needed {
		entry(dtNeeded, put(n))
	}
	if runpath != "" {
		entry(dtRunpath, put(runpath))
	}
	entry(dtStrtab, 0x10000+strings)
	return string(f)
}

func TestHiddenLibraries(t *testing.T) {
	h := someHost()
	h["/home/u/proj/app"] = executable(elfWith("/lib64/ld.so", "$ORIGIN/../lib", "libone.so", "libtwo.so", "libsys.so", "libnowhere.so"))
	h["/home/u/lib/libone.so"] = fakeFile{}
	h["/home/u/lib/libtwo.so"] = fakeFile{}
	h["/usr/lib/libsys.so"] = fakeFile{text: elfWith("", "", "libdeep.so")}
	h["/opt/deep/libdeep.so"] = fakeFile{}
	h["/etc/ld.so.conf"] = fakeFile{text: "include /etc/ld.so.conf.d/*.conf # more\n"}
	h["/etc/ld.so.conf.d/deep.conf"] = fakeFile{text: "# a comment\n/opt/deep\n"}
	v := viewOf(small(), h, user)
	s := &search{v: v, inside: "/usr/bin"}
	want := "./app: its libraries /home/u/lib/libone.so, /home/u/lib/libtwo.so, /opt/deep/libdeep.so exist outside but are hidden inside; to show them:" +
		" --read /home/u/lib/libone.so --read /home/u/lib/libtwo.so --read /opt/deep/libdeep.so"
	if got := s.hiddenLibraries("./app"); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got := s.hiddenLibraries("sh"); got != "" {
		t.Errorf("a program that lacks nothing: %q", got)
	}

	// Its loader is hidden: the kernel says ENOENT about a file that is there.
	if got := s.hiddenCommand("./app", unix.ENOENT); !strings.Contains(got, "its dynamic loader /lib64/ld.so does not exist") {
		t.Errorf("loader nowhere: %q", got)
	}
	h["/usr/lib64/ld.so"] = executable("")
	if got := s.hiddenCommand("./app", unix.ENOENT); !strings.Contains(got, "its dynamic loader /lib64/ld.so exists outside but is hidden inside; to show it: --read /lib64/ld.so") {
		t.Errorf("loader hidden: %q", got)
	}
}

func TestBrokenELF(t *testing.T) {
	good := elfWith("/lib64/ld.so", "x", "a", "b")
	for n := range len(good) {
		if n > 0x220 && n%61 != 0 {
			continue
		}
		h := fakeHost{"/f": executable(good[:n]), "/g": executable("\x7fELF\x02\x01" + strings.Repeat("\xff", n))}
		for _, p := range []string{"/f", "/g"} {
			interpreterOf(h, p)
			neededBy(h, p)
		}
	}
}

func TestShellWord(t *testing.T) {
	for in, want := range map[string]string{"/a/b": "/a/b", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$x": "'$x'", "/é": "/é", "-x=1": "-x=1"} {
		if got := shellWord(in); got != want {
			t.Errorf("shellWord(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestComplaintsHoldNoControlCharacters(t *testing.T) {
	if got := string(appendPlain(nil, "a\x1b[31m\nb\x7f")); got != `a\x1b[31m\x0ab\x7f` {
		t.Error(got)
	}
}
