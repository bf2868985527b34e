package supervise

import (
	"slices"
	"strings"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/internal/launcher"
	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// PlanBuild plans an executable of spec: a launcher image that needs no
// supervisor. The notes of the plan say what was left out.
func PlanBuild(spec *Spec) (*plan.Plan, error) {
	facts, err := host.Quick()
	if err != nil {
		return nil, err
	}
	p := spec.Policy
	statPaths(&facts, p)
	// Whoever runs it may have fewer privileges than its maker.
	facts.CapEff = 0
	in := plan.Input{
		Policy: p, Facts: facts, ControlFD: -1, CgroupFD: -1,
		InitFilter: seccomp.InitProgram(facts.GOARCH, false),
		Standalone: &plan.Standalone{Command: spec.Args},
	}
	f, err := filterOf(p, &facts)
	if err != nil {
		return nil, err
	}
	in.Filter, in.FilterFlags = f.prog, f.flags
	pl, err := plan.Compile(in)
	if err != nil {
		return nil, err
	}
	if n := unlimited(p); n != "" {
		pl.Notes = append(pl.Notes, n)
	}
	if p.Terminal == policy.TerminalAuto {
		pl.Notes = append(pl.Notes, "terminal: an executable has no terminal of its own; it uses the caller's, in a session of its own")
	}
	pl.Notes = slices.Concat(pl.Notes, f.notes, p.Notes)
	return pl, nil
}

// Executable is the file that carries out what PlanBuild planned.
func Executable(pl *plan.Plan) ([]byte, error) {
	im, err := assemble(pl)
	if err != nil {
		return nil, err
	}
	return launcher.NamesOf(pl).Append(im.ELF), nil
}

// unlimited tells which limits an executable goes without, or may have to: those
// that the policy has where-available. plan.Compile refuses the others when it
// names no cgroup to make one in. "" if there are none.
func unlimited(p *policy.Policy) string {
	var names []string
	for _, name := range p.Limits.Set() {
		if p.Limits.Parent != "" && !p.Limits.MayMiss(name) {
			continue
		}
		name = "limits." + name
		if origin := p.Origins[name]; origin != "" {
			name += " (" + origin + ")"
		}
		names = append(names, name)
	}
	switch {
	case len(names) == 0:
		return ""
	case p.Limits.Parent != "":
		return strings.Join(names, ", ") + ": the policy says where-available, which is decided where the executable runs: limited if a cgroup made in " +
			p.Limits.Parent + " has that controller, and else not; to be sure, ask for it by flag"
	}
	return strings.Join(names, ", ") + ": nothing says where an executable may make its cgroup, and the policy says where-available: not limited; to have it, set limits.parent to a cgroup directory that its users may write to"
}
