package sandbox_test

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/cloche-sandbox/cloche/sandbox"
)

// TestRunAsStartAndWait: Run looks at nothing before the end; what it says is what Start
// and Wait say.
func TestRunAsStartAndWait(t *testing.T) {
	for _, c := range []struct {
		name  string
		flags []string // name, value
		args  []string
		stop  time.Duration
	}{
		{name: "ends", args: []string{"true"}},
		{name: "fails", args: []string{"sh", "-c", "exit 3"}},
		{name: "by a signal", args: []string{"sh", "-c", "kill -TERM $$"}},
		{name: "not found", args: []string{"no-such-command"}},
		{name: "not executable", args: []string{"/etc/passwd"}},
		{name: "without an init", args: []string{"sh", "-c", "exit 4"}, flags: []string{"no-init", ""}},
		{name: "wall time", args: []string{"sleep", "100"}, flags: []string{"wall-time", "1s"}},
		{name: "canceled", args: []string{"sleep", "100"}, stop: time.Second},
		{name: "canceled before", args: []string{"true"}, stop: -1},
		{name: "set-up fails", args: []string{"true"}, flags: []string{"cwd", "/no/such/directory"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			try := func(run func(c *sandbox.Cmd) error) (string, sandbox.Result) {
				p := defaults(t)
				if c.flags != nil {
					p = with(t, p, c.flags[0], c.flags[1])
				}
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				if c.stop < 0 {
					cancel()
				} else if c.stop > 0 {
					time.AfterFunc(c.stop, cancel)
				}
				cmd := sandbox.Command(ctx, p, c.args[0], c.args[1:]...)
				said := fmt.Sprint(run(cmd))
				r := cmd.Result()
				if r == nil {
					return said, sandbox.Result{}
				}
				return said, sandbox.Result{Reason: r.Reason, Limit: r.Limit, ExitCode: r.ExitCode, Signal: r.Signal}
			}
			said, got := try((*sandbox.Cmd).Run)
			wantSaid, want := try(func(c *sandbox.Cmd) error {
				if err := c.Start(); err != nil {
					return err
				}
				return c.Wait()
			})
			if said != wantSaid || !reflect.DeepEqual(got, want) {
				t.Errorf("Run: %s %+v; Start and Wait: %s %+v", said, got, wantSaid, want)
			}
		})
	}
}
