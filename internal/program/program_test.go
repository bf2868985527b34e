package program

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cloche-sandbox/cloche/policy"
)

// elfWith is a 64-bit ELF file with a loader, needed libraries and a runpath.
func elfWith(machine uint16, loader, runpath string, needed ...string) string {
	le := binary.LittleEndian
	const interp, table, strings = 0x200, 0x400, 0x800
	f := make([]byte, 0x1000)
	copy(f, "\x7fELF\x02\x01\x01")
	le.PutUint16(f[18:], machine)
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
	if loader != "" {
		copy(f[interp:], loader+"\x00")
		segment(1, ptInterp, interp, 0x10000+interp, uint64(len(loader)+1))
	}
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

func TestELF(t *testing.T) {
	text := elfWith(62, "/lib64/ld.so", "$ORIGIN/lib:/opt/${LIB}", "liba.so", "libb.so")
	e := ReadELF(strings.NewReader(text))
	if e == nil || e.Interpreter() != "/lib64/ld.so" {
		t.Fatalf("%+v", e)
	}
	needed, lists := e.Dynamic()
	if d := cmp.Diff([]string{"liba.so", "libb.so"}, needed); d != "" {
		t.Error(d)
	}
	dirs := Searched(lists, "/home/u")
	if dirs[0] != "/home/u/lib" || !slices.Contains(dirs, "/opt/lib64") || !slices.Contains(dirs, "/opt/lib/x86_64-linux-gnu") {
		t.Errorf("%q", dirs)
	}
	if e.Matches(ReadELF(strings.NewReader(elfWith(183, "", "")))) {
		t.Error("a library of another machine matches")
	}
	// No cut and no nonsense makes it fail.
	for n := range len(text) {
		for _, s := range []string{text[:n], "\x7fELF\x02\x01" + strings.Repeat("\xff", n)} {
			if e := ReadELF(strings.NewReader(s)); e != nil {
				e.Interpreter()
				e.Dynamic()
				e.Damage()
				e.Memory()
			}
		}
	}
}

func TestScript(t *testing.T) {
	for text, want := range map[string][]string{
		"#!/bin/sh\n":                    {"/bin/sh"},
		"#! /bin/sh":                     {"/bin/sh"},
		"#!/usr/bin/env  python3 -u \nx": {"/usr/bin/env", "python3 -u"},
		"#!\t/bin/sh\t-e\n":              {"/bin/sh", "-e"},
		"#!\n/bin/sh":                    {},
		"# /bin/sh":                      nil,
		"":                               nil,
	} {
		if got := Script(strings.NewReader(text)); !slices.Equal(got, want) || (got == nil) != (want == nil) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for argument, want := range map[string]string{"python3": "python3", "-S A=b python3 -u": "python3", "-i": "", "": ""} {
		if got := envCommand(argument); got != want {
			t.Errorf("env %q: %q, want %q", argument, got, want)
		}
	}
}

func TestDamage(t *testing.T) {
	good := []byte(elfWith(62, "/lib64/ld.so", ""))
	binary.LittleEndian.PutUint64(good[24:], 0x10040)   // entry
	binary.LittleEndian.PutUint64(good[64+40:], 0x1800) // p_memsz, of which 0x800 are zeros
	binary.LittleEndian.PutUint32(good[64+4:], 6)
	if d := ReadELF(strings.NewReader(string(good))).Damage(); d != "" {
		t.Errorf("a good file: %s", d)
	}
	if all, writable := ReadELF(strings.NewReader(string(good))).Memory(); all != 0x2000 || writable != 0x2000 {
		t.Errorf("memory %#x, writable %#x", all, writable)
	}
	for want, text := range map[string]string{
		"cut short": string(good[:0xfff]),
		"nothing":   strings.Replace(string(good), "\x01\x00\x00\x00\x06", "\x07\x00\x00\x00\x06", 1),
		"outside":   elfWith(62, "", ""),
	} {
		if d := ReadELF(strings.NewReader(text)).Damage(); !strings.Contains(d, want) {
			t.Errorf("%q, want %q", d, want)
		}
	}
}

// tree makes files below a directory: a name that ends in * is executable, a text
// that begins with -> is a link.
func tree(t *testing.T, files func(dir string) map[string]string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files(dir) {
		name, executable := strings.CutSuffix(name, "*")
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if to, ok := strings.CutPrefix(text, "->"); ok {
			err = os.Symlink(to, name)
		} else {
			mode := os.FileMode(0o644)
			if executable {
				mode = 0o755
			}
			err = os.WriteFile(name, []byte(text), mode)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// within lists the entries below dir by kind and path relative to it.
func within(dir string, mounts []policy.Mount) (all []string) {
	for _, m := range mounts {
		if rest, ok := strings.CutPrefix(m.Path, dir+"/"); ok {
			line := string(m.Kind) + " " + rest
			if m.Kind == policy.Symlink {
				line += " -> " + strings.ReplaceAll(m.Source, dir, "@")
			}
			all = append(all, line)
		}
	}
	slices.Sort(all)
	return all
}

func read(paths ...string) (all []policy.Mount) {
	for _, p := range paths {
		all = append(all, policy.Mount{Kind: policy.Read, Path: p})
	}
	return all
}

func TestShow(t *testing.T) {
	const machine = 62
	files := func(dir string) map[string]string {
		return map[string]string{
			"work/app*":          elfWith(machine, "", "$ORIGIN/lib", "libone.so", "libtwo.so", "libnowhere.so"),
			"work/lib/libone.so": elfWith(machine, "", dir+"/far", "libdeep.so", "libone.so"), // needs itself, too
			"work/lib/libtwo.so": elfWith(183, "", ""),                                        // of another machine
			"env/libtwo.so":      "->libtwo.so.2",
			"env/libtwo.so.2":    elfWith(machine, "", ""),
			"far/libdeep.so":     elfWith(machine, "", ""),
			"bin/app*":           "->../work/app",
			"bin/static*":        "\x7fELF",
			"bin/text*":          "just text",
			"bin/plain":          "not executable",
			"bin/shell*":         elfWith(machine, dir+"/ld/loader", ""),
			"ld/loader*":         elfWith(machine, "", ""),
			"bin/script*":        "#!" + dir + "/bin/shell -e\n",
			"bin/deep*":          "#!" + dir + "/bin/script\n",
			"bin/env*":           "\x7fELF",
			"bin/envscript*":     "#!" + dir + "/bin/env -S X=1 static -u\n",
			"bin/loop*":          "#!" + dir + "/bin/loop\n",
			"bin/circle*":        "->circle",
		}
	}
	for _, c := range []struct {
		name    string
		command string
		mounts  func(dir string) []policy.Mount
		want    []string
		arg     string // args[0] afterwards; "": as it was
	}{
		{name: "libraries", command: "@/work/app", want: []string{
			"read env/libtwo.so.2", "read far/libdeep.so", "read work/app", "read work/lib/libone.so", "symlink env/libtwo.so -> libtwo.so.2",
		}},
		{name: "a link keeps its origin", command: "app", want: []string{
			"read env/libtwo.so.2", "read far/libdeep.so", "read work/app", "read work/lib/libone.so",
			"symlink bin/app -> ../work/app", "symlink env/libtwo.so -> libtwo.so.2",
		}},
		{name: "what is shown already", command: "app", mounts: func(d string) []policy.Mount { return read(d+"/bin", d+"/work", d+"/env") }, want: []string{"read far/libdeep.so"}},
		{name: "a link out of what is shown", command: "app", mounts: func(d string) []policy.Mount { return read(d+"/bin", d+"/far", d+"/env", d+"/work/lib") }, want: []string{"read work/app"}},
		{name: "static", command: "static", want: []string{"read bin/static"}},
		{name: "relative", command: "bin/static", want: []string{"read bin/static"}, arg: "@/bin/static"},
		{name: "no program at all", command: "text", want: []string{"read bin/text"}},
		{name: "not executable", command: "@/bin/plain"},
		{name: "not there", command: "nothing"},
		{name: "a circle", command: "circle"},
		{name: "script", command: "script", want: []string{"read bin/script", "read bin/shell", "read ld/loader"}},
		{name: "script of a script", command: "deep", want: []string{"read bin/deep", "read bin/script", "read bin/shell", "read ld/loader"}},
		{name: "script of env", command: "envscript", want: []string{"read bin/env", "read bin/envscript", "read bin/static"}},
		{name: "script of itself", command: "loop", want: []string{"read bin/loop"}},
		{name: "hidden stays hidden", command: "static", mounts: func(d string) []policy.Mount { return []policy.Mount{{Kind: policy.Hide, Path: d + "/bin/static"}} }},
		{name: "hidden with all around it", command: "static", mounts: func(d string) []policy.Mount { return []policy.Mount{{Kind: policy.Hide, Path: d + "/bin"}} }},
		{name: "something else is bound there", command: "static", mounts: func(d string) []policy.Mount {
			return []policy.Mount{{Kind: policy.Read, Path: d + "/bin", Source: d + "/far"}}
		}},
		{name: "a tmpfs around it", command: "static", mounts: func(d string) []policy.Mount { return []policy.Mount{{Kind: policy.Tmpfs, Path: d}} }, want: []string{"read bin/static"}},
		{name: "a tmpfs in its place", command: "static", mounts: func(d string) []policy.Mount {
			return []policy.Mount{{Kind: policy.Tmpfs, Path: d + "/bin/static"}}
		}},
		{name: "a link of the policy's own", command: "static", mounts: func(d string) []policy.Mount {
			return []policy.Mount{{Kind: policy.Symlink, Path: d + "/bin", Source: "work"}}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := tree(t, files)
			p := policy.New()
			p.ShowCommand = true
			p.Origins = map[string]string{"filesystem.show-command": "--show-command"}
			var own []policy.Mount
			if c.mounts != nil {
				own = c.mounts(dir)
			}
			p.Mounts = slices.Clone(own)
			args := []string{strings.ReplaceAll(c.command, "@", dir), "more"}
			got := Show(p, args, []string{"PATH=" + dir + "/bin", "LD_LIBRARY_PATH=" + dir + "/env"}, "/", dir)
			added := p.Mounts[len(own):]
			if d := cmp.Diff(c.want, within(dir, added)); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			for _, m := range added {
				if m.Origin != "--show-command" {
					t.Errorf("%s comes from %q", m.Path, m.Origin)
				}
			}
			want := args[0]
			if c.arg != "" {
				want = strings.ReplaceAll(c.arg, "@", dir)
			}
			if got[0] != want || got[1] != "more" {
				t.Errorf("args %q, want %s", got, want)
			}
			if noted := len(p.Notes) == 1 && strings.Contains(p.Notes[0], "$ORIGIN"); noted != strings.HasSuffix(args[0], "app") {
				t.Errorf("notes %q", p.Notes)
			}
			if err := policy.Expand(p, "/", dir); err != nil {
				t.Fatal(err)
			}
			if err := policy.Validate(p); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestShowBelowALinkThatIsADirectoryInside: the policy puts something into what
// is a link outside.
func TestShowBelowALinkThatIsADirectoryInside(t *testing.T) {
	dir := tree(t, func(string) map[string]string {
		return map[string]string{"real/tool*": "\x7fELF", "link": "->real", "data/x": ""}
	})
	p := policy.New()
	p.ShowCommand = true
	p.Mounts = []policy.Mount{{Kind: policy.Read, Path: dir + "/link/data", Source: dir + "/data"}}
	Show(p, []string{dir + "/link/tool"}, nil, "/", dir)
	if d := cmp.Diff([]string{"read link/data", "read link/tool"}, within(dir, p.Mounts)); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// TestShowIsAskedFor: without the setting nothing is added.
func TestShowIsAskedFor(t *testing.T) {
	p := policy.New()
	if got := Show(p, []string{"sh"}, nil, "/", "/"); len(p.Mounts) != 0 || got[0] != "sh" {
		t.Errorf("%v, %v", p.Mounts, got)
	}
	p.ShowCommand = true
	if Show(p, nil, nil, "/", "/"); len(p.Mounts) != 0 {
		t.Errorf("%v", p.Mounts)
	}
}
