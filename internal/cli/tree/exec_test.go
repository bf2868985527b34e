package tree

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/cloche-sandbox/cloche/internal/cli"
)

// TestExecParsersAgree: what the early parser takes, cobra takes for the same.
func TestExecParsersAgree(t *testing.T) {
	for _, line := range []string{
		"web -- true", "web true", "-it web -- sh -c x", "-i -t web sh", "--tty --interactive web sh", "--user 1:2 --cwd=/tmp web true",
		"--env A=b --env C web env -i", "--pid 12 -- true", "--pid=12 true", "-- web true", "", "web", "--env=A=B=C web true",
		"-x web true", "--usr 1 web true", "--user", "--pid x true", "--tty=false web true", "-h", "--help", "- true",
	} {
		words := strings.Fields(line)
		early, earlyArgs, ok := cli.ParseExec(words)
		var late cli.Exec
		var lateArgs []string
		c := execInto(&late, func(args []string) error { lateArgs = args; return nil })
		c.SilenceErrors, c.SilenceUsage = true, true
		c.SetArgs(words)
		helped := false
		c.SetHelpFunc(func(*cobra.Command, []string) { helped = true })
		err := c.Execute()
		if !ok {
			if err == nil && !helped && !strings.Contains(line, "=false") {
				t.Errorf("%q: cobra takes it, the early parser does not", line)
			}
			continue
		}
		if err != nil || helped {
			t.Errorf("%q: the early parser takes it, cobra says %v", line, err)
			continue
		}
		if d := cmp.Diff(late, *early); d != "" || strings.Join(lateArgs, " ") != strings.Join(earlyArgs, " ") {
			t.Errorf("%q: cobra %q, early %q %s", line, lateArgs, earlyArgs, d)
		}
	}
}
