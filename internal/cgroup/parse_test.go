package cgroup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLayouts reads texts such as machines of every kind show: a case is a file
// of testdata with the two texts, and what comes of them.
func TestLayouts(t *testing.T) {
	files, err := filepath.Glob("testdata/layouts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			parts := strings.Split(string(text), "-- ")
			section := map[string]string{}
			for _, p := range parts[1:] {
				name, body, _ := strings.Cut(p, " --\n")
				section[name] = body
			}
			l := newLayout(section["mountinfo"], section["cgroup"])
			var b strings.Builder
			b.WriteString(l.String() + "\n")
			for c := range nControllers {
				h := l.v1[c]
				if h == nil {
					h = l.v2
				}
				if h == nil {
					b.WriteString(c.String() + " -\n")
					continue
				}
				own := h.Own
				if own == "" {
					own = "unreachable"
				}
				if h.ReadOnly {
					own += " ro"
				}
				b.WriteString(c.String() + " v" + string(rune('0'+h.Version)) + " " + own + "\n")
			}
			if got, want := b.String(), section["want"]; got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func TestBelow(t *testing.T) {
	for _, c := range []struct {
		root, mount, path, want string
		ok                      bool
	}{
		{"/", "/sys/fs/cgroup", "/", "/sys/fs/cgroup", true},
		{"/", "/sys/fs/cgroup", "/a/b", "/sys/fs/cgroup/a/b", true},
		{"/docker/x", "/sys/fs/cgroup/pids", "/docker/x", "/sys/fs/cgroup/pids", true},
		{"/docker/x", "/sys/fs/cgroup/pids", "/docker/x/y", "/sys/fs/cgroup/pids/y", true},
		{"/docker/x", "/sys/fs/cgroup/pids", "/docker/xy", "", false},
		{"/docker/x", "/sys/fs/cgroup/pids", "/", "", false},
		{"/", "/sys/fs/cgroup", "/../elsewhere", "", false},
		{"/..", "/sys/fs/cgroup", "/", "", false},
	} {
		h := Hierarchy{Mount: c.mount, root: c.root}
		if dir, ok := h.below(c.path); ok != c.ok || ok && dir != c.want {
			t.Errorf("root %s, path %s: %q, %v; want %q, %v", c.root, c.path, dir, ok, c.want, c.ok)
		}
	}
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{`/a\040b`: "/a b", `/a\134b`: `/a\b`, `/a\9`: `/a\9`, `\040`: " ", `/a\04`: `/a\04`, "/plain": "/plain"} {
		if got := unescape(in); got != want {
			t.Errorf("unescape(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	o := owner{pid: 42, start: 777, ns: 4026531836}
	got, ok := parseName(o.name("abc-my_box"))
	if !ok || got != o {
		t.Errorf("%q: %+v, %v", o.name("abc"), got, ok)
	}
	if got, ok := parseName("cloche-42"); !ok || got != (owner{pid: 42}) {
		t.Errorf("an executable's own: %+v, %v", got, ok)
	}
	for _, bad := range []string{"", "cloche-", "cloche-x", "cloche--1", "cloche-0", "cloche-1-2", "cloche-1-2-3", "cloche-1-2-3-", "cloche-1-x-3-4", "user.slice", "cloche-99999999999999999999"} {
		if o, ok := parseName(bad); ok {
			t.Errorf("%q: %+v", bad, o)
		}
	}
	name := groupName("a/../b c\n" + strings.Repeat("x", 300))
	if strings.ContainsAny(name, "/ \n") || len(name) > 255 {
		t.Errorf("name %q", name)
	}
	if o, ok := parseName(name); !ok || o != self() {
		t.Errorf("%q: %+v, %v", name, o, ok)
	}
}

func TestParseStart(t *testing.T) {
	tail := " S 1 2 3 0 -1 4194560 1 0 0 0 5 6 0 0 20 0 1 0 123456 1 1"
	for _, comm := range []string{"(sh)", "(a b)", "(a) R 1 (x)", "())"} {
		if n, ok := parseStart("7 " + comm + tail); !ok || n != 123456 {
			t.Errorf("%s: %d, %v", comm, n, ok)
		}
	}
	for _, bad := range []string{"", "7 (sh", "7 (sh) S 1 2", "7 (sh)" + strings.Repeat(" x", 30)} {
		if n, ok := parseStart(bad); ok {
			t.Errorf("%q: %d", bad, n)
		}
	}
}

func TestCPUTimeText(t *testing.T) {
	for in, want := range map[string]int64{
		"123456789\n": 123456789,
		"usage_usec 1500\nuser_usec 1000\nsystem_usec 500\n": 1500000,
		"": Unknown, "usage_usecs 1\n": Unknown, "-5\n": Unknown,
	} {
		got, err := parseCPUTime(in)
		if (err != nil) != (want == Unknown) || err == nil && int64(got) != want {
			t.Errorf("%q: %d, %v", in, got, err)
		}
	}
}

func FuzzLayout(f *testing.F) {
	f.Add("31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/a\n")
	f.Add("31 23 0:28 / /c rw - cgroup cgroup rw,cpu,cpuacct\n", "1:cpu,cpuacct:/\n")
	f.Add("0 0 0 0 - cgroup2 0 0\n", "0::0\n")
	f.Add(" 0  / /0 - cgroup2", "0::0")
	f.Fuzz(func(t *testing.T, mounts, own string) {
		l := newLayout(mounts, own)
		for _, h := range l.Hierarchies {
			if h.Own != "" && !within(h.Own, h.Mount) && h.Mount != "/" {
				t.Errorf("own %q is not below %q", h.Own, h.Mount)
			}
		}
	})
}
