package policy

import (
	"strings"
	"testing"
)

func TestExpandPaths(t *testing.T) {
	p := New()
	p.Mounts = []Mount{
		{Kind: Read, Path: "/usr/../usr/lib/"},
		{Kind: Write, Path: "~/x"},
		{Kind: Read, Path: "sub/dir"},
		{Kind: Read, Path: "/mnt", Source: "../data"},
		{Kind: Overlay, Path: "o", Lower: []string{"l", "~/l"}, Upper: "u", Work: "./w"},
		{Kind: Symlink, Path: "/bin", Source: "usr/bin"},
		{Kind: Tmpfs, Path: "/mnt/"},
		{Kind: Write, Path: "/a", Source: "/one"},
		{Kind: Read, Path: "/a", Source: "/two"},
	}
	p.Limits.IO = []IOLimit{{Device: "disk", ReadBPS: 1}}
	p.Cwd = "sub"
	if err := Expand(p, "/home/ann/", "/work/"); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range p.Mounts {
		got = append(got, strings.Join(append([]string{string(m.Kind), m.Path, m.Source, m.Upper, m.Work}, m.Lower...), " "))
	}
	want := `read /a /two  
symlink /bin usr/bin  
write /home/ann/x   
tmpfs /mnt   
read /usr/lib   
overlay /work/o  /work/u /work/w /work/l /home/ann/l
read /work/sub/dir   `
	if s := strings.Join(got, "\n"); s != want {
		t.Errorf("got\n%s\nwant\n%s", s, want)
	}
	if p.Cwd != "/work/sub" || p.Limits.IO[0].Device != "/work/disk" {
		t.Errorf("cwd %s, device %s", p.Cwd, p.Limits.IO[0].Device)
	}
	if err := Validate(p); err != nil {
		t.Error(err)
	}
}

// What "." is, for every profile that has one, in the places where it would
// show too much.
func TestWorkingDirectories(t *testing.T) {
	for _, c := range []struct {
		profile, home, cwd string
		entry              string // what decides at the working directory
		inside             string // the working directory inside
		note, err          string
	}{
		{profile: "default", cwd: "/home/ann/src", entry: "read /home/ann/src", inside: "/home/ann/src"},
		{profile: "build", cwd: "/home/ann/src", entry: "write /home/ann/src", inside: "/home/ann/src"},
		{profile: "default", cwd: "/", inside: "/", note: "it is /, which is the whole host"},
		{profile: "build", cwd: "/", err: `build.toml:11: write ".": it is /, which is the whole host: change to another directory, or ask for it by name with --write /`},
		{profile: "default", cwd: "/home/ann", inside: "/", note: "--read /home/ann"},
		{profile: "default", cwd: "/home", inside: "/", note: "holds all of your home"},
		{profile: "build", cwd: "/home/ann", err: "holds all of your home"},
		{profile: "default", home: "/root", cwd: "/root", inside: "/", note: "holds all of your home"},
		{profile: "default", home: "/", cwd: "/srv", entry: "read /srv", inside: "/srv"},
		{profile: "default", cwd: "/usr", entry: "read /usr", inside: "/usr"},
		{profile: "build", cwd: "/usr", entry: "write /usr", inside: "/usr"},
		{profile: "default", cwd: "/usr/share", entry: "read /usr/share", inside: "/usr/share"},
		{profile: "default", cwd: "/etc/ssh", entry: "read /etc/ssh", inside: "/etc/ssh"},
		{profile: "default", cwd: "/etc/ssl/private", entry: "hide /etc/ssl/private", note: "the policy puts its own hide", inside: "/"},
		{profile: "default", cwd: "/etc/ssl/private/x", err: "it lies in what is hidden by hide \"/etc/ssl/private\" (default.toml:45)"},
		{profile: "default", cwd: "/tmp", entry: "tmpfs /tmp", inside: "/tmp", note: "--read /tmp"},
		{profile: "build", cwd: "/tmp", err: "the policy puts its own tmpfs at /tmp"},
		{profile: "default", cwd: "/tmp/x", entry: "read /tmp/x", inside: "/tmp/x"},
		{profile: "build", cwd: "/tmp/x/y", entry: "write /tmp/x/y", inside: "/tmp/x/y"},
		{profile: "default", cwd: "/run/user/1000", entry: "read /run/user/1000", inside: "/run/user/1000"},
		{profile: "default", cwd: "/proc/self", entry: "proc /proc", inside: "/proc/self", note: "lies in /proc"},
		{profile: "build", cwd: "/proc/1/root", err: "lies in /proc, which is made fresh"},
		{profile: "default", cwd: "/dev", entry: "dev /dev", inside: "/dev", note: "lies in /dev"},
		{profile: "build", cwd: "/dev/shm", err: "lies in /dev"},
		{profile: "build", cwd: "/dev/shm/job", entry: "write /dev/shm/job", inside: "/dev/shm/job"},
		{profile: "judge", cwd: "/home/ann/src", inside: "/tmp"},
		{profile: "judge", cwd: "/", inside: "/tmp"},
		{profile: "open", cwd: "/", entry: "write /", inside: "/"},
		{profile: "open", cwd: "/home/ann", entry: "write /", inside: "/home/ann"},
	} {
		name := c.profile + " in " + c.cwd
		p, _ := Builtin(c.profile)
		home := c.home
		if home == "" {
			home = "/home/ann"
		}
		err := Expand(p, home, c.cwd)
		if err == nil {
			err = Validate(p)
		}
		if !matches(err, c.err) {
			t.Errorf("%s: error %v, want %q", name, err, c.err)
		}
		if err != nil || c.err != "" {
			continue
		}
		entry := ""
		if m, ok := p.MountAt(c.cwd); ok {
			entry = string(m.Kind) + " " + m.Path
		}
		if entry != c.entry || p.Cwd != c.inside {
			t.Errorf("%s: %q, starts in %s; want %q, %s", name, entry, p.Cwd, c.entry, c.inside)
		}
		if notes := strings.Join(p.Notes, "; "); !strings.Contains(notes, c.note) || (c.note == "") != (notes == "") {
			t.Errorf("%s: notes %q, want %q", name, notes, c.note)
		}
		if m, ok := p.MountAt("/"); ok && c.profile != "open" {
			t.Errorf("%s: the root is %+v", name, m)
		}
	}
}

func TestExpandFailures(t *testing.T) {
	for _, c := range []struct {
		m          Mount
		home, cwd  string
		err, notes string
	}{
		{m: Mount{Kind: Hide, Path: "~/.ssh", Origin: "p.toml:3"}, cwd: "/w", err: `p.toml:3: hide "~/.ssh": "~/.ssh" needs a home directory, and HOME is not set`},
		{m: Mount{Kind: Read, Path: "~/.ssh", Optional: true}, cwd: "/w", notes: "HOME is not set"},
		{m: Mount{Kind: Read, Path: "~bob", Origin: "--read ~bob"}, home: "/h", cwd: "/w", err: `--read ~bob: "~bob": only ~ itself`},
		{m: Mount{Kind: Read, Path: ".", Origin: "--read ."}, home: "/h", cwd: "/", err: "--read .: it is /, which is the whole host"},
		{m: Mount{Kind: Read, Path: ".", Origin: "--read ."}, home: "/h", cwd: "/h"},
		{m: Mount{Kind: Read, Path: "~", Origin: "p.toml:3"}, home: "/h", cwd: "/w"},
		{m: Mount{Kind: Read, Path: "~"}, home: "/", cwd: "/w", err: "it is /"},
		{m: Mount{Kind: Write, Path: "..", Origin: "p.toml:3"}, home: "/h/ann", cwd: "/h/bob", err: `write "..": /h holds all of your home`},
		{m: Mount{Kind: Read, Path: "/x", Source: "../.."}, home: "/h", cwd: "/w", err: `its source "../.." is /`},
		{m: Mount{Kind: Read, Path: "a\x00b"}, home: "/h", cwd: "/w", err: "NUL"},
		{m: Mount{Kind: Read, Path: ""}, home: "/h", cwd: "/w", err: "empty path"},
		{m: Mount{Kind: Read, Path: "/a"}, home: "/h", cwd: "w", err: `the working directory "w" is not absolute`},
		{m: Mount{Kind: Read, Path: "/a"}, home: "h", cwd: "/w", err: `the home directory "h" is not absolute`},
	} {
		p := New()
		p.Mounts = []Mount{c.m}
		err := Expand(p, c.home, c.cwd)
		if !matches(err, c.err) || !strings.Contains(strings.Join(p.Notes, ";"), c.notes) {
			t.Errorf("%+v: %v, notes %q; want %q, %q", c.m, err, p.Notes, c.err, c.notes)
		}
	}
}

func TestManyMounts(t *testing.T) {
	p, _ := Builtin("default")
	for i := range 10_000 {
		p.Mounts = append(p.Mounts, Mount{Kind: Read, Path: "/d" + strings.Repeat("/x", i%50) + string(rune('a'+i%26)), Source: "/etc"})
	}
	if err := Expand(p, "/home/ann", "/work"); err != nil {
		t.Fatal(err)
	}
	if err := Validate(p); err != nil {
		t.Fatal(err)
	}
}
