package attack

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/internal/needs"
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
			if a.Needs != nil && a.Needs() != "" {
				lacks(t, a.Needs())
			}
			if out := a.open(t); out.Verdict != Escaped && a.Unshown == "" {
				t.Errorf("with every layer off it should work: %+v", out)
			}
			for _, s := range a.Stops {
				if a.keepsAnother(s.Layer) || s.Layer.Missing != nil && s.Layer.Missing() != "" {
					continue // it can't be shown alone, or not by this user
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
	if a.Given != nil {
		out, err := a.try(t.Context(), func(o *Outside) (Box, error) { return naive{o.Dir + "/naive", o.Given(a.Given)}, nil }, nil)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
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
	flags := slices.Concat(a.Limits, a.Given, a.Door)
	var out []*Layer
	planned := false
	for _, s := range a.Stops {
		planned = planned || s.Layer.planned()
		if s.Layer != on {
			flags = append(flags, s.Layer.Off...)
			out = append(out, s.Layer)
		}
	}
	base, ok := policy.Builtin("default")
	if !ok {
		t.Fatal("no default profile")
	}
	outcome, err := a.try(t.Context(), func(o *Outside) (Box, error) {
		p, err := with(base, o, flags)
		if err != nil || !planned {
			return Sandboxed{p, o.Env}, err
		}
		if len(o.Files) > 0 {
			out = append(out, Descriptors, launcherDescriptors) // an executable hands none in
		}
		return without(p, o.Dir, out), nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return outcome
}

// launcherDescriptors is what an executable closes at its start.
var launcherDescriptors = &Layer{Name: "descriptors closed", Step: "descriptors", Call: "close_range"}

// without is a sandbox as an executable, of which the plan misses some layers.
func without(p *policy.Policy, dir string, layers []*Layer) boxFunc {
	return boxFunc(func(argv []string) (Bare, error) {
		if err := policy.Expand(p, dir, "/"); err != nil {
			return Bare{}, err
		}
		facts, err := host.Quick()
		if err != nil {
			return Bare{}, err
		}
		if !p.Unshare.User { // nobody can keep what the test has not
			p.Capabilities = slices.DeleteFunc(p.Capabilities, func(name string) bool {
				return plan.CapabilitySet([]string{name})&^facts.CapEff != 0
			})
		}
		pl, err := supervise.PlanBuild(&supervise.Spec{Policy: p, Args: argv})
		if err != nil {
			return Bare{}, err
		}
		for i := range pl.Ops {
			op := &pl.Ops[i]
			if slices.ContainsFunc(layers, func(l *Layer) bool {
				return strings.ReplaceAll(l.Step, "$DIR", dir) == pl.Steps[op.Step].Name && (l.Call == "" || l.Call == op.Call.Name()) && (l.First == 0 || l.First == op.Args[0].Value())
			}) {
				if op.Call == plan.Branch {
					op.OnOK = plan.Next // a loop over nothing has no end
				}
				// A zero, and no system call: pid 1's own filter would end it.
				op.Call, op.Args, op.IgnoreErr = plan.Alu, make([]plan.Arg, 5), true
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

// Reasons for which no attack can be shown here, whatever is installed: they lie in the kernel
// or in the machine, or in who runs the tests, where that is not root.
var (
	elsewhere = []string{
		"this kernel has no ", "this kernel's Landlock has no ", "this kernel makes no ", "this machine has no ", "this process is in the root of every cgroup", "no directory of this process's cgroup",
		"only root may ", "who has no CAP_SYS_RESOURCE", "uid 0 without CAP_SETFCAP", "the kernel holds no process of the host's root", "the kernel does not grant it ",
		"kernel.perf_event_paranoid ", "kernel.dmesg_restrict ", "Yama keeps ", "temporary files are memory", "the host has no interface that received anything",
	}
	notRoots = []string{"only root ", "an ordinary user", "only who may make a cgroup"}
)

// lacks skips an attack, and where this machine could have what it needs that is a failure.
func lacks(t *testing.T, why string) {
	t.Helper()
	begins := func(reason string) bool { return strings.HasPrefix(why, reason) }
	if slices.ContainsFunc(elsewhere, begins) || os.Geteuid() != 0 && slices.ContainsFunc(notRoots, begins) {
		needs.Elsewhere(t, why)
	}
	needs.Skip(t, why)
}
