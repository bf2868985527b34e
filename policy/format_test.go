package policy

import (
	"cmp"
	"path"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"

	"github.com/cloche-sandbox/cloche/seccomp"
)

// comparable is what decides of a policy: without where it came from, mounts
// in one order, and only those that hold.
func comparable(p *Policy) *Policy {
	c := p.Clone()
	c.fillModes()
	c.Origins, c.Notes, c.SeccompText = nil, nil, ""
	c.SeccompGroups = anonymous(c.SeccompGroups)
	if own := c.SeccompProfile; own != nil {
		own.Name, own.Groups = "", slices.Concat(c.SeccompGroups, anonymous(own.Groups))
		c.SeccompGroups = nil
	}
	last := map[string]Mount{}
	for _, m := range c.Mounts {
		m.Origin = ""
		last[path.Clean(m.Path)] = m
	}
	c.Mounts = nil
	for _, m := range last {
		c.Mounts = append(c.Mounts, m)
	}
	slices.SortFunc(c.Mounts, func(a, b Mount) int { return strings.Compare(path.Clean(a.Path), path.Clean(b.Path)) })
	if c.Env.Inherit || len(c.Env.Keep) == 0 {
		c.Env.Keep = nil
	}
	if len(c.Env.Set) == 0 {
		c.Env.Set = nil
	}
	if len(c.Rlimits) == 0 {
		c.Rlimits = nil
	}
	return c
}

func anonymous(groups []seccomp.Group) []seccomp.Group {
	for i := range groups {
		for k := range groups[i].Rules {
			groups[i].Rules[k].Origin = ""
		}
	}
	return groups
}

func roundTrip(t *testing.T, p *Policy) {
	t.Helper()
	text := Format(p)
	// The text of a profile file is read again.
	load := func(name string) (string, []byte, error) {
		return name, []byte(cmp.Or(p.SeccompText, "default = 'EPERM'")), nil
	}
	back, err := Resolve("formatted.toml", text, load)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if d := gocmp.Diff(comparable(p), comparable(back)); d != "" {
		t.Errorf("(-want +got)\n%s\n%s", d, text)
	}
	if again := Format(back); len(again) == 0 {
		t.Error("nothing")
	}
}

func TestFormatRoundTrip(t *testing.T) {
	roundTrip(t, New())
	roundTrip(t, &Policy{})
	for _, name := range Builtins() {
		p, _ := Builtin(name)
		roundTrip(t, p)
		if err := Expand(p, "/home/ann", "/home/ann/x"); err != nil {
			t.Fatal(err)
		}
		roundTrip(t, p)
	}
	p, err := Parse("e.toml", []byte(strings.TrimSuffix(every, "[env.set.nothing]\n")))
	if err != nil {
		t.Fatal(err)
	}
	roundTrip(t, p)
	if err := apply(t, p, "--env A=\"q\"\\\x01\n\t\x7fé", "--read /odd \"name\"\n", "--user ranges", "--bind /same:/same"); err != nil {
		t.Fatal(err)
	}
	p.Mounts = append(p.Mounts, Mount{Kind: Proc, Path: "/x/proc"}, Mount{Kind: Dev, Path: "/x/dev"})
	roundTrip(t, p)
}

func FuzzParse(f *testing.F) {
	f.Add(every)
	for _, m := range mistakes {
		f.Add(m)
	}
	f.Add(allowPtrace + "[[seccomp.group]]\nname = 'b'\nrule = [{ action = 'errno 0', calls = ['clone(!& CLONE_NEWUSER)', '5'] }]")
	f.Add("[seccomp]\ndefault = 'trace 3'\nbad-arch = 'kill-thread'\nflags = ['log', 'tsync']\nuse = ['@io', '@debug']\n[[seccomp.group]]\nname = 'a\\nb'\nwhy = ''")
	for _, name := range Builtins() {
		text, _ := BuiltinFile(name)
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, in string) {
		p, err := Parse("f.toml", []byte(in))
		if err != nil {
			if s := err.Error(); strings.ContainsAny(s, "\n\x00") {
				t.Errorf("an error of more than one line: %q", s)
			}
			return
		}
		// What is accepted must be TOML to the library's own reader too.
		var any map[string]any
		if err := toml.Unmarshal([]byte(in), &any); err != nil {
			t.Errorf("accepted, though %v", err)
		}
		if !utf8.ValidString(in) {
			t.Error("accepted what is not UTF-8")
		}
		roundTrip(t, p)
		if Expand(p, "/home/ann", "/home/ann/src") == nil && Validate(p) == nil {
			roundTrip(t, p)
			if err := Expand(p, "/elsewhere", "/other"); err != nil {
				t.Errorf("expanded twice: %v", err)
			}
		}
	})
}

func FuzzFlags(f *testing.F) {
	for i := range Flags {
		f.Add(i, "none", "64M")
		f.Add(i, "/a:/b", "nofile=5")
	}
	f.Fuzz(func(t *testing.T, i int, a, b string) {
		p, _ := Builtin("default")
		flag := &Flags[uint(i)%uint(len(Flags))]
		for _, v := range []string{a, b} {
			if err := flag.Apply(p, v); err != nil {
				if strings.ContainsAny(err.Error(), "\n\x00") {
					t.Errorf("an error of more than one line: %q", err)
				}
				return
			}
		}
		if utf8.ValidString(a) && utf8.ValidString(b) {
			roundTrip(t, p)
		}
	})
}
