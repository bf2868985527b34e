package attack

import (
	"context"
	"errors"
	"testing"

	"github.com/cloche-sandbox/cloche/policy"
)

// TestJoined tries every attack from a command that joins a sandbox, as by `cloche exec`:
// what stops the sandbox's first command stops it too, and by the same layer.
func TestJoined(t *testing.T) {
	p, _ := policy.Builtin("default")
	for _, a := range Corpus() {
		switch {
		case a.Apart || a.Given != nil:
			continue // it attacks the set-up of a sandbox, which a command that joins has none of
		case a.Name == "kill-everyone":
			continue // kill(2) of -1 finds the sandbox's first command, which is no escape
		}
		t.Run(a.Name, func(t *testing.T) {
			first, err := a.Under(context.Background(), p)
			if err != nil {
				t.Fatal(err)
			}
			second, err := a.Joining(context.Background(), p)
			if err != nil {
				t.Fatal(err)
			}
			if second.Verdict == Escaped {
				t.Fatalf("%s: %s", second.Verdict, second.Detail)
			}
			third, err := a.JoiningByImage(context.Background(), p)
			switch {
			case errors.Is(err, ErrNotPlain):
				third = second
			case err != nil:
				t.Fatal(err)
			}
			if first.Verdict != third.Verdict || first.Sign != third.Sign {
				t.Errorf("the first command: %s (%s: %s); what joins by an image: %s (%s: %s)", first.Verdict, first.Sign, first.Detail, third.Verdict, third.Sign, third.Detail)
			}
			if first.Verdict != second.Verdict || first.Sign != second.Sign {
				t.Errorf("the first command: %s (%s: %s); what joins: %s (%s: %s)", first.Verdict, first.Sign, first.Detail, second.Verdict, second.Sign, second.Detail)
			}
		})
	}
}
