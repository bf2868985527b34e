package cli

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/cloche-sandbox/cloche/policy"
)

// parsed is what a parser made of a command line, for comparison.
type parsed struct {
	Err      string
	Help     bool
	Settings [][2]string
	Given    [][2]string
	Args     []string
}

func summary(inv *invocation, err error) parsed {
	if err != nil {
		return parsed{Err: err.Error(), Help: err == errHelp}
	}
	s := parsed{}
	for _, x := range inv.settings {
		s.Settings = append(s.Settings, [2]string{x.flag.Name, x.value})
	}
	for _, x := range inv.given {
		s.Given = append(s.Given, [2]string{x.name, x.value})
	}
	s.Args = append(s.Args, inv.args...)
	return s
}

// byCobra parses with the flags as the tree has them.
func byCobra(words []string) parsed {
	var got *invocation
	c := policyVerb(verbRun, &cobra.Command{Use: "run", SilenceErrors: true, SilenceUsage: true}, func(inv *invocation) error {
		got = inv
		return nil
	})
	c.SetFlagErrorFunc(flagError)
	c.SetArgs(words)
	helped := false
	c.SetHelpFunc(func(*cobra.Command, []string) { helped = true })
	err := c.Execute()
	if helped {
		return summary(nil, errHelp)
	}
	return summary(got, err)
}

func byHand(words []string) parsed { return summary(parseRun(words)) }

func TestParsersAgree(t *testing.T) {
	lines := [][]string{
		{},
		{"--"},
		{"true"},
		{"--", "true", "--memory", "1"},
		{"true", "--memory", "1"},
		{"--memory", "64M", "true"},
		{"--memory=64M", "--", "true"},
		{"--memory=", "true"},
		{"--memory"},
		{"--memory", "--", "true"},
		{"--memory", "-5", "true"},
		{"--memory", "--swap", "true"},
		{"--tty", "never"},
		{"--tty=never", "true"},
		{"--no-init", "true"},
		{"--no-init=false", "true"},
		{"--map-root=", "true"},
		{"--profile", "judge", "--profile=open", "x"},
		{"--env", "A=B=C", "--env=D=E=F", "x"},
		{"--read", "", "x"},
		{"-", "x"},
		{"", "x"},
		{"-h"},
		{"--help"},
		{"--help=true"},
		{"--memory", "--help", "x"},
		{"-x"},
		{"-read", "/x"},
		{"-o", "f"},
		{"--=x"},
		{"--=", "x"},
		{"---", "x"},
		{"--memroy", "1"},
		{"--memroy=1"},
		{"--json", "x"},
		{"--output", "x"},
		{"--nothing-like-it", "x"},
		{"--result", "f", "--stdin=g", "--name", "n", "--policy", "p", "cmd", "-x"},
	}
	for _, l := range lines {
		if d := cmp.Diff(byCobra(l), byHand(l)); d != "" {
			t.Errorf("%q: pflag - parseRun +\n%s", l, d)
		}
	}
	// And lines that nobody thought of.
	words := []string{"--", "-", "", "x", "--tty", "--tty=", "--no-init", "--memory", "--memory=1", "--read", "--read=/a", "--profile", "--name=n", "--nope", "-q", "--result", "--clear-env=x", "value"}
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		l := make([]string, r.IntN(6))
		for i := range l {
			l[i] = words[r.IntN(len(words))]
		}
		if d := cmp.Diff(byCobra(l), byHand(l)); d != "" {
			t.Fatalf("%q: pflag - parseRun +\n%s", l, d)
		}
	}
}

func TestNoFlagIsTwice(t *testing.T) {
	for _, v := range []verb{verbRun, verbPlan, verbBuild, verbCan} {
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
		if got := nearest(c.given, names); got != c.want {
			t.Errorf("nearest(%q) = %q, want %q", c.given, got, c.want)
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
