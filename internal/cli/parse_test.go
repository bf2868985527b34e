package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cloche-sandbox/cloche/internal/document"
	"github.com/cloche-sandbox/cloche/policy"
)

func TestNoFlagIsTwice(t *testing.T) {
	for _, v := range []verb{verbRun, verbPlan, verbBuild, verbCan, verbAttack} {
		seen := map[string]bool{}
		for _, n := range flagNames(v) {
			if seen[n] {
				t.Errorf("%s has --%s twice", verbName(v), n)
			}
			seen[n] = true
		}
	}
}

func TestEveryFlagHasUsage(t *testing.T) {
	for i := range policy.Flags {
		if f := &policy.Flags[i]; f.Usage == "" || strings.HasSuffix(f.Usage, ".") {
			t.Errorf("--%s: usage %q", f.Name, f.Usage)
		}
	}
}

func TestNearest(t *testing.T) {
	names := flagNames(verbRun)
	for _, c := range []struct{ given, want string }{
		{"memroy", "memory"},
		{"mem", "memory"},
		{"red", "read"},
		{"cap-ad", "cap-add"},
		{"read-only", "read"},
		{"nointi", "no-init"},
		{"walltime", "wall-time"},
		{"hostnam", "hostname"},
		{"xyzzy", ""},
		{"", ""},
		{strings.Repeat("x", 1000), ""},
	} {
		if got := document.Nearest(c.given, names); got != c.want {
			t.Errorf("document.Nearest(%q) = %q, want %q", c.given, got, c.want)
		}
	}
}

func TestParseQuestions(t *testing.T) {
	for _, c := range []struct {
		words string
		want  []question
		err   string
	}{
		{"read /a", []question{{"read", "/a"}}, ""},
		{"read /a /b write .", []question{{"read", "/a"}, {"read", "/b"}, {"write", "."}}, ""},
		{"read ./read syscall ptrace", []question{{"read", "./read"}, {"syscall", "ptrace"}}, ""},
		{"", nil, "no question"},
		{"read", nil, "read what?"},
		{"read /a write", nil, "write what?"},
		{"syscall read signal 1", []question{{"syscall", "read"}, {"signal", "1"}}, ""},
		{"read read read read", []question{{"read", "read"}, {"read", "read"}}, ""},
		{"raed /a", nil, `did you mean "read"?`},
		{"/etc/passwd", nil, "unknown question"},
	} {
		got, err := parseQuestions(strings.Fields(c.words))
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%q: error %v, want %q", c.words, err, c.err)
			}
			continue
		}
		if d := cmp.Diff(c.want, got, cmp.AllowUnexported(question{})); err != nil || d != "" {
			t.Errorf("%q: %v\n%s", c.words, err, d)
		}
	}
}

func TestSplitAddress(t *testing.T) {
	for _, c := range []struct{ in, host, port, err string }{
		{"example.org:443", "example.org", "443", ""},
		{"[::1]:80", "::1", "80", ""},
		{"::1:80", "", "", "in brackets"},
		{"example.org", "", "", "no port"},
		{":80", "", "", "no host"},
		{"a:0", "", "", "no number from 1"},
		{"a:http", "", "", "no number from 1"},
	} {
		host, port, err := splitAddress(c.in)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%q: error %v, want %q", c.in, err, c.err)
			}
		} else if err != nil || host != c.host || port != c.port {
			t.Errorf("%q: %q %q %v", c.in, host, port, err)
		}
	}
}
