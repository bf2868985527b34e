package attack

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/sandbox"
)

// holderRole waits for the end of its stdin: the command of a sandbox that is only there
// to be joined.
const holderRole = "holder"

func hold() int {
	_, _ = os.Stdout.Write([]byte{'\n'})
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// joined is a sandbox in which the attacker is not the first command, but one that joins,
// as by `cloche exec`.
type joined struct{ Sandboxed }

// Run runs the attacker.
func (s joined) Run(ctx context.Context, argv []string, files []*os.File, stdout io.Writer) (Ended, error) {
	first := sandbox.Command(ctx, s.Policy, argv[0], Arg, holderRole)
	first.Env = append(os.Environ(), s.Env...)
	first.Stderr = os.Stderr
	in, err := first.StdinPipe()
	if err != nil {
		return Ended{}, err
	}
	out, err := first.StdoutPipe()
	if err != nil {
		return Ended{}, err
	}
	if err := first.Start(); err != nil {
		return Ended{}, err
	}
	defer func() {
		in.Close()
		_ = first.Kill()
		_ = first.Wait()
	}()
	if _, err := out.Read(make([]byte, 1)); err != nil {
		return Ended{}, err
	}
	t, err := first.Target()
	if err != nil {
		return Ended{}, err
	}
	c := sandbox.Join(ctx, t, argv[0], argv[1:]...)
	c.Stdout, c.ExtraFiles, c.Env = stdout, files, t.Policy.Environ(append(os.Environ(), s.Env...))
	var words bytes.Buffer
	c.Stderr = &words
	err = c.Run()
	var e *sandbox.ExitError
	if !errors.As(err, &e) {
		return Ended{}, err
	}
	return Ended{Signal: e.Signal, Why: strings.TrimSpace(words.String())}, nil
}

// Joining is Under for an attacker that joins a sandbox which is there already. It must be
// confined no less than that sandbox's first command.
func (a *Attack) Joining(ctx context.Context, p *policy.Policy) (Outcome, error) {
	out, err := a.try(ctx, func(o *Outside) (Box, error) {
		b, err := SandboxOf(p, o, slices.Concat(a.Limits, a.Given))
		if s, ok := b.(Sandboxed); ok {
			b = joined{s}
		}
		return b, err
	}, p)
	if err != nil && len(a.Limits) > 0 {
		out.Verdict, out.Detail, err = NotTried, err.Error(), nil
	}
	return out, err
}
