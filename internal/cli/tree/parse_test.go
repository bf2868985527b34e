package tree

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/cloche-sandbox/cloche/internal/cli"
)

// parsed is what a parser made of a command line, for comparison.
type parsed struct {
	Err   string
	Help  bool
	Flags [][2]string
	Args  []string
}

func summary(inv *cli.Invocation, args []string, err error) parsed {
	if err != nil {
		return parsed{Err: err.Error(), Help: errors.Is(err, cli.ErrHelp)}
	}
	return parsed{Flags: inv.Recorded(), Args: append([]string(nil), args...)}
}

// byCobra parses with the flags as the tree has them.
func byCobra(words []string) parsed {
	var got *cli.Invocation
	var rest []string
	c := policyVerb(cli.Run, &cobra.Command{Use: "run", SilenceErrors: true, SilenceUsage: true}, func(inv *cli.Invocation, args []string) error {
		got, rest = inv, args
		return nil
	})
	c.SetFlagErrorFunc(flagError)
	c.SetArgs(words)
	helped := false
	c.SetHelpFunc(func(*cobra.Command, []string) { helped = true })
	err := c.Execute()
	if helped {
		err = cli.ErrHelp
	}
	return summary(got, rest, err)
}

func byHand(words []string) parsed {
	inv, err := cli.ParseRun(words)
	if err != nil {
		return summary(nil, nil, err)
	}
	return summary(inv, inv.Args(), nil)
}

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
		{"-it", "sh"},
		{"-t", "-i", "sh"},
		{"-t=never", "sh"},
		{"-it=never", "sh"},
		{"-ix", "sh"},
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
