package supervise

import (
	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// Build makes an executable of spec: a launcher image that needs no supervisor,
// and the plan that it carries out.
func Build(spec *Spec) ([]byte, *plan.Plan, error) {
	facts, err := host.Quick()
	if err != nil {
		return nil, nil, err
	}
	p := spec.Policy
	facts.Stat(plan.SourcePaths(p)...)
	facts.Look(plan.TargetPaths(p, facts)...)
	// Whoever runs it may have fewer privileges than its maker.
	facts.CapEff = 0
	in := plan.Input{
		Policy: p, Facts: facts, ControlFD: -1, CgroupFD: -1,
		InitFilter: seccomp.InitProgram(facts.GOARCH),
		Standalone: &plan.Standalone{Command: spec.Args},
	}
	if in.Filter, err = filterOf(p, facts.GOARCH); err != nil {
		return nil, nil, err
	}
	pl, err := plan.Compile(in)
	if err != nil {
		return nil, nil, err
	}
	if p.Terminal == policy.TerminalAuto {
		pl.Notes = append(pl.Notes, "terminal: an executable has no terminal of its own; it uses the caller's, in a session of its own")
	}
	im, err := assemble(pl)
	if err != nil {
		return nil, nil, err
	}
	return im.ELF, pl, nil
}
