package attack

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/internal/supervise"
	"github.com/cloche-sandbox/cloche/policy"
)

// TestHalves proves what every attack says of the layers that stop it: with all of
// them off it works, and with any one of them on it shows that one's sign.
func TestHalves(t *testing.T) {
	for _, a := range Corpus() {
		t.Run(a.Group+"/"+a.Name, func(t *testing.T) {
			t.Parallel()
			if out := a.open(t); out.Verdict == NotTried {
				t.Skip(out.Detail)
			} else if out.Verdict != Escaped {
				t.Errorf("with every layer off it should work: %+v", out)
			}
			for _, s := range a.Stops {
				if a.keepsAnother(s.Layer) {
					continue // it can't be shown alone, or as root only
				}
				if out := a.half(t, s.Layer); out.Verdict != Stopped || out.Sign != s.Sign {
					t.Errorf("with %s alone it should be stopped by %s: %+v", s.Layer.Name, s.Sign, out)
				}
			}
		})
	}
}

// open tries an attack with no layer that stops it; where one can't be done
// without, with no sandbox at all.
func (a *Attack) open(t *testing.T) Outcome {
	t.Helper()
	if !a.keepsAnother(nil) {
		return a.half(t, nil)
	}
	out, err := a.try(t.Context(), func(*Outside) (Box, error) { return Bare{}, nil }, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// keepsAnother reports whether there is a layer beside one that can't be done without.
func (a *Attack) keepsAnother(beside *Layer) bool {
	return slices.ContainsFunc(a.Stops, func(s Stop) bool {
		always := s.Layer.Off == nil && s.Layer.Step == ""
		return s.Layer != beside && (always || s.Layer.Root && os.Geteuid() != 0)
	})
}

// half tries an attack with no layer that stops it but one, or none at all.
func (a *Attack) half(t *testing.T, on *Layer) Outcome {
	t.Helper()
	flags := slices.Clone(a.Door)
	var steps []string
	leavesOut := false
	for _, s := range a.Stops {
		leavesOut = leavesOut || s.Layer.Step != ""
		if s.Layer == on {
			continue
		}
		flags = append(flags, s.Layer.Off...)
		if s.Layer.Step != "" {
			steps = append(steps, s.Layer.Step)
		}
	}
	base, ok := policy.Builtin("default")
	if !ok {
		t.Fatal("no default profile")
	}
	out, err := a.try(t.Context(), func(o *Outside) (Box, error) {
		p, err := with(base, o, flags)
		if err != nil || !leavesOut {
			return Sandboxed{p}, err
		}
		return without(p, o.Dir, steps), nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// without is a sandbox as an executable, of which the plan misses some steps.
func without(p *policy.Policy, dir string, steps []string) Box {
	return boxFunc(func(argv []string) (Bare, error) {
		if err := policy.Expand(p, dir, "/"); err != nil {
			return Bare{}, err
		}
		pl, err := supervise.PlanBuild(&supervise.Spec{Policy: p, Args: argv})
		if err != nil {
			return Bare{}, err
		}
		for i := range pl.Ops {
			if op := &pl.Ops[i]; slices.Contains(steps, pl.Steps[op.Step].Name) {
				op.Call, op.Args, op.IgnoreErr = plan.SysGetppid, nil, true
			}
		}
		elf, err := supervise.Executable(pl)
		if err != nil {
			return Bare{}, err
		}
		exe := filepath.Join(dir, "sandbox")
		// No child that is forked meanwhile may hold it open: ETXTBSY.
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
		return Bare{Prefix: []string{exe}}, os.WriteFile(exe, elf, 0o700)
	})
}

// boxFunc makes a box for a command when it is known.
type boxFunc func(argv []string) (Bare, error)

// Run runs the attacker.
func (f boxFunc) Run(ctx context.Context, argv []string, files []*os.File, stdout io.Writer) (Ended, error) {
	b, err := f(argv)
	if err != nil {
		return Ended{}, err
	}
	return b.Run(ctx, nil, files, stdout)
}
