package attack

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/internal/supervise"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/sandbox"
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

// TestJoinedHalves proves of each of the five things that confine a command which joins that it
// does: the attack of a command that joins without it gets through, also where the sandbox's own command has it, and
// is stopped by it where nothing else would, whether the program joins or the image of the sandbox's record.
func TestJoinedHalves(t *testing.T) {
	for _, test := range []struct {
		attack *Attack
		layer  *Layer
	}{
		{&rawSocket, Capabilities},
		{&manyFiles, filesLimit},
		{&handedOverPath, Landlock},
		{&ioUring, Seccomp},
		{&setUIDProgram, NoNewPrivs},
	} {
		a, l := test.attack, test.layer
		for name, join := range map[string]func(holder, []string) Box{
			"program": func(h holder, env []string) Box { return joined{h, env} },
			"image":   func(h holder, env []string) Box { return joinedByImage{h, env} },
		} {
			t.Run(l.Name+"/"+name, func(t *testing.T) {
				if a.Needs != nil && a.Needs() != "" {
					lacks(t, a.Needs())
				}
				try := func(box func(holder, []string) Box) Outcome {
					out, err := a.In(t.Context(), func(o *Outside) (Box, error) {
						h, err := a.toJoin(o, l)
						return box(h, o.Env), err
					})
					if errors.Is(err, ErrNotPlain) {
						needs.Kernel(t, "pidfds do not tell one process from another", "6.9", "")
					}
					if err != nil {
						t.Fatal(err)
					}
					return out
				}
				sign := a.Stops[slices.IndexFunc(a.Stops, func(s Stop) bool { return s.Layer == l })].Sign
				if out := try(join); out.Verdict != Stopped || out.Sign != sign {
					t.Errorf("it should be stopped by %s: %+v", sign, out)
				}
				without := func(h holder, env []string) Box { return join(loosened{h, l.Off}, env) }
				if l.Off == nil { // no policy goes without it, nor does any image
					without = func(h holder, _ []string) Box { return entered{h} }
				}
				if out := try(without); out.Verdict != Escaped {
					t.Errorf("without it the attack should work: %+v", out)
				}
			})
		}
	}
}

// toJoin is a sandbox in which one layer alone stops an attack.
func (a *Attack) toJoin(o *Outside, on *Layer) (holder, error) {
	base, _ := policy.Builtin("default")
	flags, planned := slices.Concat(a.Limits, a.Door), []*Layer{}
	for _, s := range a.Stops {
		if s.Layer == on {
			continue
		}
		flags = append(flags, s.Layer.Off...)
		if s.Layer.Step != "" {
			planned = append(planned, s.Layer)
		}
	}
	p, err := with(base, o, flags)
	if len(planned) > 0 {
		return executable{p, without(p, o.Dir, planned)}, err
	}
	return Sandboxed{p, o.Env}, err
}

// loosened is a sandbox that commands join under a policy of their own.
type loosened struct {
	holder
	flags []string
}

func (l loosened) hold(ctx context.Context, exe string) (*sandbox.Target, func(), error) {
	t, end, err := l.holder.hold(ctx, exe)
	if err != nil {
		return nil, nil, err
	}
	t.Policy = t.Policy.Clone()
	for _, f := range l.flags {
		name, value, _ := strings.Cut(f, " ")
		if err := policy.FlagNamed(name).Apply(t.Policy, value); err != nil {
			end()
			return nil, nil, err
		}
	}
	return t, end, nil
}

// executable is a sandbox of which the plan misses some layers.
type executable struct {
	p    *policy.Policy
	made boxFunc
}

func (e executable) hold(ctx context.Context, exe string) (*sandbox.Target, func(), error) {
	b, err := e.made([]string{exe, Arg, holderRole})
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, b.Prefix[0])
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	end := func() {
		in.Close()
		_ = cmd.Wait()
	}
	_, err = out.Read(make([]byte, 1))
	pid := cmd.Process.Pid // of the launcher, whose child is pid 1
	if err == nil {
		var inits []int
		if inits, err = supervise.Children(pid); err == nil && len(inits) == 1 {
			pid, err = supervise.CommandOf(inits[0])
		}
	}
	if err != nil {
		end()
		return nil, nil, err
	}
	return &sandbox.Target{PID: pid, Policy: e.p}, end, nil
}

// entered is a sandbox that the attacker gets into by nsenter(1), which confines it by nothing.
type entered struct{ holder }

func (e entered) Run(ctx context.Context, argv []string, files []*os.File, stdout io.Writer) (Ended, error) {
	t, end, err := e.hold(ctx, argv[0])
	if err != nil {
		return Ended{}, err
	}
	defer end()
	return Bare{Prefix: []string{"nsenter", "--all", "--target", strconv.Itoa(t.PID)}}.Run(ctx, argv, files, stdout)
}
