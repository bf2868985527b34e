package attack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/sandbox"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// patience is how long one attempt may take.
const patience = 20 * time.Second

// Outcome is what became of an attack.
type Outcome struct {
	Name      string   `json:"attack"`
	Group     string   `json:"group"`
	Tries     string   `json:"tries"`
	Reference string   `json:"reference"`
	Meant     string   `json:"-"`        // the layers of Expected, in words
	Expected  []string `json:"expected"` // the layers meant to stop it, and their signs

	Verdict Verdict `json:"verdict"`
	Layer   string  `json:"layer,omitempty"` // that stopped it, where its sign tells
	Sign    string  `json:"sign,omitempty"`
	Detail  string  `json:"detail,omitempty"`
	// Unshown is why it can't be shown that the attack works where nothing stops it.
	Unshown string `json:"unshown,omitempty"`
}

// Verdict is an outcome in a word.
type Verdict string

// The verdicts.
const (
	Stopped  Verdict = "stopped"
	Escaped  Verdict = "ESCAPED"
	NotTried Verdict = "not tried" // Detail says what is missing here
)

// Box is a place to run the attacker in. It waits for the end.
type Box interface {
	Run(ctx context.Context, argv []string, files []*os.File, stdout io.Writer) (Ended, error)
}

// Ended is how the attacker's process ended.
type Ended struct {
	Signal syscall.Signal // 0: it exited
	Why    string         // a limit's name, or the sandbox's own words
}

// Bare is no box at all: the attacker is an ordinary process.
type Bare struct {
	// Prefix is a command that runs the attacker, such as another sandbox.
	Prefix []string
	attr   *syscall.SysProcAttr
}

// Run runs the attacker.
func (b Bare) Run(ctx context.Context, argv []string, files []*os.File, stdout io.Writer) (Ended, error) {
	argv = append(append([]string{}, b.Prefix...), argv...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdout, cmd.ExtraFiles = stdout, files
	var words bytes.Buffer
	cmd.Stderr = &words
	if cmd.SysProcAttr = b.attr; b.attr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	err := cmd.Run()
	var e *exec.ExitError
	if !errors.As(err, &e) {
		return Ended{}, err
	}
	ended := Ended{Why: strings.TrimSpace(words.String())}
	switch ws, ok := e.Sys().(syscall.WaitStatus); {
	case ok && ws.Signaled():
		ended.Signal = ws.Signal()
	case ok && len(b.Prefix) > 0 && ws.ExitStatus() > 128 && ws.ExitStatus() <= 128+64:
		ended.Signal = syscall.Signal(ws.ExitStatus() - 128) // as other sandboxes and shells say it
	}
	return ended, nil
}

// Sandboxed is a sandbox under a policy.
type Sandboxed struct {
	Policy *policy.Policy
	Env    []string // the caller's beyond the program's own
}

// Run runs the attacker.
func (s Sandboxed) Run(ctx context.Context, argv []string, files []*os.File, stdout io.Writer) (Ended, error) {
	c := sandbox.Command(ctx, s.Policy, argv[0], argv[1:]...)
	c.Stdout, c.ExtraFiles, c.Env = stdout, files, append(os.Environ(), s.Env...)
	var words bytes.Buffer
	c.Stderr = &words
	err := c.Run()
	var e *sandbox.ExitError
	if !errors.As(err, &e) {
		return Ended{}, err
	}
	ended := Ended{Signal: e.Signal, Why: strings.TrimSpace(words.String())}
	if e.Reason != sandbox.Exited && e.Reason != sandbox.Signaled {
		ended.Why = string(e.Reason)
	}
	return ended, nil
}

// Under is what becomes of a under p, which is not changed.
func (a *Attack) Under(ctx context.Context, p *policy.Policy) (Outcome, error) {
	out, err := a.try(ctx, func(o *Outside) (Box, error) {
		b, err := SandboxOf(p, o, slices.Concat(a.Limits, a.Given))
		if s, ok := b.(Sandboxed); ok && a.Apart {
			b = apart{s}
		}
		return b, err
	}, p)
	if err != nil && len(a.Limits) > 0 {
		// A limit that can't be had refuses the run, and says why.
		out.Verdict, out.Detail, err = NotTried, err.Error(), nil
	}
	return out, err
}

// SandboxOf is a sandbox under p with more flags, in which the attacker's own program
// can be executed.
func SandboxOf(p *policy.Policy, o *Outside, flags []string) (Box, error) {
	q, err := with(p, o, flags)
	return Sandboxed{q, o.Env}, err
}

// with is a copy of p with flags, written without hyphens, and with this program's
// own file to read.
func with(p *policy.Policy, o *Outside, flags []string) (*policy.Policy, error) {
	q := p.Clone()
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	given := o.Given(flags)
	if len(given) > 0 {
		if dir, ok := strings.CutPrefix(given[0], "root "); ok {
			takeRoot(q, dir)
			given = given[1:]
		}
	}
	for _, f := range append([]string{"read " + exe}, given...) {
		name, value, _ := strings.Cut(f, " ")
		flag := policy.FlagNamed(name)
		if flag == nil {
			return nil, fmt.Errorf("attack: no flag --%s", name)
		}
		if err := flag.Apply(q, value); err != nil {
			return nil, err
		}
	}
	return q, q.LoadSeccomp(func(name string) (string, []byte, error) {
		b, err := os.ReadFile(name)
		return name, b, err
	})
}

// takeRoot makes a tree of the host the root, in the place of all that was shown but
// /dev and /proc: what is no flag.
func takeRoot(p *policy.Policy, dir string) {
	p.Mounts = slices.DeleteFunc(p.Mounts, func(m policy.Mount) bool { return m.Kind != policy.Dev && m.Kind != policy.Proc })
	p.Mounts = append(p.Mounts, policy.Mount{Kind: policy.Write, Source: dir, Path: "/"})
	p.Cwd, p.ShowCommand = "/", false
}

// try makes the outside, runs the inside in a box, and looks what came of it. p is
// the policy of the box, to tell what its filter says; nil: there is none.
func (a *Attack) try(ctx context.Context, box func(*Outside) (Box, error), p *policy.Policy) (out Outcome, err error) {
	out = Outcome{Name: a.Name, Group: a.Group, Tries: a.Tries, Reference: a.Reference, Meant: a.Meant(), Unshown: a.Unshown}
	for _, s := range a.Stops {
		out.Expected = append(out.Expected, s.Layer.Name+" ("+s.Sign+")")
	}
	if a.Needs != nil {
		if missing := a.Needs(); missing != "" {
			out.Verdict, out.Detail = NotTried, missing
			return out, nil
		}
	}
	for _, flag := range a.Limits {
		if p != nil && !limits(p, flag) {
			out.Verdict, out.Detail = NotTried, "the policy sets no such limit: "+flag
			return out, nil
		}
	}
	if p != nil && a.Granted != "" && hasGroup(p, a.Granted) {
		out.Verdict, out.Detail = NotTried, "the policy's filter grants it: "+a.Granted
		return out, nil
	}
	o, err := newOutside()
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	if a.Outside != nil {
		if err := a.Outside(o); err != nil {
			return out, fmt.Errorf("attack %s: making its target: %w", a.Name, err)
		}
	}
	b, err := box(o)
	if err != nil {
		return out, fmt.Errorf("attack %s: %w", a.Name, err)
	}
	exe, err := os.Executable()
	if err != nil {
		return out, err
	}
	told, err := json.Marshal(o.told)
	if err != nil {
		return out, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var stdout bytes.Buffer
	ended, err := b.Run(ctx, []string{exe, Arg, attackerRole, a.Name, string(told)}, o.Files, &stdout)
	refused := err
	if err != nil && (a.Given == nil || ctx.Err() != nil) {
		return out, fmt.Errorf("attack %s: %w", a.Name, err)
	}
	a.judge(&out, o, stdout.Bytes(), ended, refused, p)
	return out, nil
}

// limits reports whether p sets the limit that a flag sets.
func limits(p *policy.Policy, flag string) bool {
	name, value, _ := strings.Cut(flag, " ")
	switch name {
	case "memory":
		return p.Limits.Memory > 0
	case "pids":
		return p.Limits.Pids > 0
	case "cpu-time":
		return p.Time.CPU > 0
	case "wall-time":
		return p.Time.Wall > 0
	case "max-output":
		return p.Output > 0
	case "rlimit":
		name, _, _ = strings.Cut(value, "=")
		_, ok := p.Rlimits[name]
		return ok
	}
	return true
}

// judge decides what an attempt was.
func (a *Attack) judge(out *Outcome, o *Outside, stdout []byte, ended Ended, refused error, p *policy.Policy) {
	var r report
	said := json.Unmarshal(stdout, &r) == nil
	escaped := r.Through
	switch {
	case a.Escaped != nil:
		escaped = a.Escaped(o)
	case r.Loot != "":
		escaped = strings.Contains(r.Loot, o.Secret)
	}
	switch {
	case !escaped && refused != nil:
		out.Verdict, out.Sign, out.Detail, out.Layer = Stopped, NotMade, refused.Error(), SetUp.Name
		if a.Races {
			out.Sign = Unharmed
		}
		return
	case escaped:
		out.Verdict, out.Detail = Escaped, a.Tries
	case said && r.Failure != nil:
		out.Verdict, out.Sign, out.Detail = Stopped, r.Failure.Sign, r.Failure.Text
	case said:
		out.Verdict, out.Sign = Stopped, Unharmed
	case ended.Signal != 0:
		out.Verdict, out.Sign, out.Detail = Stopped, unix.SignalName(ended.Signal), ended.Why
	default:
		out.Verdict, out.Detail = NotTried, "the attacker did not run: "+ended.Why
	}
	if out.Verdict == Stopped {
		out.Layer = a.layer(out.Sign, r.Failure, p)
	}
}

// layer is the one that a sign points to: the filter, if it refuses the deciding
// call, else the first with that sign.
func (a *Attack) layer(sign string, f *Failure, p *policy.Policy) string {
	if sign == "SIGSYS" {
		return Seccomp.Name // nothing else gives it
	}
	if p != nil && f != nil && f.Call != nil {
		if by := filterRefuses(p, *f.Call, sign); by != "" {
			return by
		}
	}
	for _, s := range a.Stops {
		if s.Sign == sign && (s.Layer != Seccomp || p == nil) {
			return s.Layer.Name
		}
	}
	if sign == "ENOENT" && slices.ContainsFunc(a.Door, func(d string) bool { return strings.Contains(d, "$DIR") }) {
		return Root.Name // what the door would show is not there
	}
	return ""
}

// hasGroup reports whether the policy's filter has a group of that name.
func hasGroup(p *policy.Policy, name string) bool {
	arch, ok := seccomp.ArchByName(runtime.GOARCH)
	if !ok {
		return false
	}
	f, _, _, err := p.Filter(arch, [2]int{})
	return err == nil && slices.ContainsFunc(f.Groups, func(g seccomp.Group) bool { return g.Name == name })
}

// filterRefuses names the group of the policy's filter that answers a call with sign.
func filterRefuses(p *policy.Policy, d seccomp.Data, sign string) string {
	arch, ok := seccomp.ArchByName(runtime.GOARCH)
	if !ok {
		return ""
	}
	profile, _, _, err := p.Filter(arch, [2]int{})
	if err != nil {
		return ""
	}
	d.Arch = arch.Audit
	decision := seccomp.Decide(profile, arch, d)
	if decision.Action.String() != sign {
		return ""
	}
	return strings.TrimSpace(Seccomp.Name + " " + decision.Group)
}

// In is what becomes of a in a box, which is made when the outside is.
func (a *Attack) In(ctx context.Context, box func(*Outside) (Box, error)) (Outcome, error) {
	return a.try(ctx, box, nil)
}
