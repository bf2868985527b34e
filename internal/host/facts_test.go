package host

import (
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestQuick(t *testing.T) {
	f, err := Quick()
	if err != nil {
		t.Fatal(err)
	}
	if f.GOARCH != runtime.GOARCH || f.Kernel == "" || f.UID != os.Geteuid() || f.NProcessors < 1 {
		t.Errorf("facts %+v", f)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	want := ""
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, "CapEff:\t"); ok {
			want = strings.TrimLeft(strings.TrimSpace(v), "0")
		}
	}
	got := ""
	if f.CapEff != 0 {
		got = hex(f.CapEff)
	}
	if got != want {
		t.Errorf("CapEff %s, /proc/self/status says %s", got, want)
	}
}

func hex(n uint64) string {
	s := ""
	for ; n > 0; n >>= 4 {
		s = string("0123456789abcdef"[n&15]) + s
	}
	return s
}

func TestStat(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p := func(name string) string { return filepath.Join(dir, name) }
	for _, err := range []error{
		os.Mkdir(p("d"), 0o750), os.WriteFile(p("d/f"), nil, 0o640),
		os.Symlink("d", p("dl")), os.Symlink("nowhere", p("broken")), os.Symlink("loop", p("loop")),
		os.Symlink("../"+filepath.Base(dir)+"/dl/f", p("fl")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var f Facts // without a map
	f.Stat(p("d"), p("dl"), p("dl/f"), p("fl"), p("broken"), p("loop"), p("none"), p("d/f/x"), "/dev/null", "/", "")
	type want struct {
		exists     bool
		err        string
		link, real string
		mode       uint32
	}
	for name, w := range map[string]want{
		p("d"):      {true, "", "", p("d"), unix.S_IFDIR | 0o750},
		p("dl"):     {true, "", "d", p("d"), unix.S_IFDIR | 0o750},
		p("dl/f"):   {true, "", "", p("d/f"), unix.S_IFREG | 0o640},
		p("fl"):     {true, "", "../" + filepath.Base(dir) + "/dl/f", p("d/f"), unix.S_IFREG | 0o640},
		p("broken"): {false, "ENOENT", "nowhere", "", 0},
		p("loop"):   {false, "ELOOP", "loop", "", 0},
		p("none"):   {false, "ENOENT", "", "", 0},
		p("d/f/x"):  {false, "ENOTDIR", "", "", 0},
		"/":         {true, "", "", "/", f.Paths["/"].Mode},
		"":          {false, "ENOENT", "", "", 0},
	} {
		got := f.Paths[name]
		if g := (want{got.Exists, got.Err, got.Link, got.Real, got.Mode}); g != w {
			t.Errorf("%s: %+v, want %+v", name, g, w)
		}
	}
	var l Facts
	l.Look(p("d"), p("dl"), p("dl/f"), p("fl"), p("broken"), p("loop"), p("none"), p("d/f/x"), "/")
	for name, got := range l.Paths {
		all := f.Paths[name]
		if got.Exists != all.Exists || got.Err != all.Err || got.Mode != all.Mode || got.Link != all.Link {
			t.Errorf("%s: Look says %+v, Stat %+v", name, got, all)
		}
	}
	null := f.Paths["/dev/null"]
	if null.Rdev != unix.Mkdev(1, 3) || null.Mode&unix.S_IFMT != unix.S_IFCHR {
		t.Errorf("/dev/null: %+v", null)
	}
	if a, b := f.Paths[p("d")], f.Paths[p("dl")]; a.Ino != b.Ino || a.DevMajor != b.DevMajor || a.DevMinor != b.DevMinor || a.Ino == 0 {
		t.Errorf("a directory %+v and a link to it %+v", a, b)
	}
}

// TestUnchanged: whatever Stat, Look and FollowLinks would tell otherwise is noticed.
func TestUnchanged(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(p func(string) string) error
	}{
		{"nothing", func(func(string) string) error { return nil }},
		{"mode", func(p func(string) string) error { return os.Chmod(p("d"), 0o700) }},
		{"type", func(p func(string) string) error {
			if err := os.Remove(p("seen")); err != nil {
				return err
			}
			return os.Mkdir(p("seen"), 0o640)
		}},
		{"another inode", func(p func(string) string) error {
			if err := os.WriteFile(p("new"), nil, 0o640); err != nil {
				return err
			}
			return os.Rename(p("new"), p("d/f"))
		}},
		{"gone", func(p func(string) string) error { return os.Remove(p("seen")) }},
		{"come", func(p func(string) string) error { return os.WriteFile(p("none"), nil, 0o600) }},
		{"a link that leads nowhere", func(p func(string) string) error { return os.Symlink("x", p("none")) }},
		{"a link on the way to nothing", func(p func(string) string) error {
			if err := os.Rename(p("e"), p("e2")); err != nil {
				return err
			}
			return os.Symlink("e2", p("e"))
		}},
		{"the same file by a link", func(p func(string) string) error {
			if err := os.Rename(p("d"), p("d2")); err != nil {
				return err
			}
			return os.Symlink("d2", p("d"))
		}},
		{"another text of a link", func(p func(string) string) error {
			if err := os.Remove(p("dl")); err != nil {
				return err
			}
			return os.Symlink("./d", p("dl"))
		}},
		{"one link more on the way", func(p func(string) string) error {
			if err := os.Rename(p("dl"), p("dl2")); err != nil {
				return err
			}
			return os.Symlink("dl2", p("dl"))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			p := func(name string) string { return filepath.Join(dir, name) }
			for _, err := range []error{
				os.Mkdir(p("d"), 0o750), os.Mkdir(p("e"), 0o750), os.WriteFile(p("d/f"), nil, 0o640), os.WriteFile(p("seen"), nil, 0o640), os.Symlink("d", p("dl")),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			var f Facts
			f.Stat(p("d"), p("d/f"), p("dl"), p("dl/f"), p("none"))
			f.FollowLinks(p("dl/f"))
			f.Look(p("seen"), p("e/none"))
			if err := c.change(p); err != nil {
				t.Fatal(err)
			}
			if got := Unchanged(f.Paths); got != (c.name == "nothing") {
				t.Errorf("unchanged: %v", got)
			}
		})
	}
}

func TestParseRanges(t *testing.T) {
	text := "# comment\nroot:1:2\n\nann:100000:65536\nann:bad:1\nann:5\n1000:300000:10\nann:4294967295:2\nannabel:7:7\nann:9:0\n:8:8\n"
	for _, c := range []struct {
		name string
		uid  int
		want []IDRange
	}{
		{"ann", 1000, []IDRange{{100000, 65536}, {300000, 10}}},
		{"", 1000, []IDRange{{300000, 10}}},
		{"bob", 7, nil},
	} {
		got, err := parseRanges(strings.NewReader(text), c.name, c.uid)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, c.want)
		}
	}
}

func TestCauses(t *testing.T) {
	for _, c := range []struct {
		s    surroundings
		e    unix.Errno
		made bool
		want string
	}{
		{surroundings{}, unix.ENOSPC, false, "max_user_namespaces"},
		{surroundings{}, unix.EUSERS, false, "32 deep"},
		{surroundings{}, unix.EINVAL, false, "CONFIG_USER_NS"},
		{surroundings{chrooted: true}, unix.EPERM, false, "chroot"},
		{surroundings{filtered: true, container: "docker"}, unix.EPERM, false, "docker container"},
		{surroundings{filtered: true}, unix.EPERM, false, "seccomp filter"},
		{surroundings{}, unix.EPERM, true, "no rights"},
	} {
		cause, remedy := c.s.whyNoUserNamespace(c.e, "clone", c.made)
		if !strings.Contains(cause, c.want) || remedy == "" {
			t.Errorf("%+v %v: %s; %s", c.s, c.e, cause, remedy)
		}
	}
}

func TestReadFailure(t *testing.T) {
	if f := readFailure("failed 1 fsopen proc: operation not permitted", nil); f.errno != unix.EPERM || f.op != "fsopen proc: operation not permitted" {
		t.Errorf("%+v", f)
	}
	if f := readFailure("", &os.PathError{Op: "fork/exec", Path: "/proc/self/exe", Err: unix.ENOSPC}); f.errno != unix.ENOSPC {
		t.Errorf("%+v", f)
	}
}

func BenchmarkQuick(b *testing.B) {
	for b.Loop() {
		if _, err := Quick(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStat(b *testing.B) {
	for b.Loop() {
		var f Facts
		f.Stat("/usr")
	}
}

func TestMountAPI(t *testing.T) {
	for _, c := range []struct {
		api    MountAPI
		want   string
		usable bool
	}{
		{MountAPI{true, true, true, true, true}, "", true},
		{MountAPI{true, true, true, true, false}, "mount_setattr", true},
		{MountAPI{true, false, true, true, true}, "move_mount", false},
		{MountAPI{}, "open_tree move_mount fsopen fsmount mount_setattr", false},
	} {
		if got := strings.Join(c.api.Missing(), " "); got != c.want || c.api.usable() != c.usable {
			t.Errorf("%+v: missing %q, usable %v", c.api, got, c.api.usable())
		}
	}
}
