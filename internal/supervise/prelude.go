package supervise

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/internal/launcher"
	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// PlanPrelude plans what stands in front of a program, on this host: a plain
// `cloche run` under the default profile. beside is the entry of a second program, for
// bubblewrap's command line, or 0; argv is what of that command line the image of
// ArgvImage reads itself, which is length bytes long, or nil.
func PlanPrelude(x launcher.Executable, beside uint64, argv *plan.Argv, length int) (*plan.Plan, error) {
	p, _ := policy.Builtin("default")
	if err := policy.Expand(p, "", plan.WorkingDirectory); err != nil {
		return nil, err
	}
	if err := policy.Validate(p); err != nil {
		return nil, err
	}
	facts, err := host.Quick()
	if err != nil {
		return nil, err
	}
	plan.PreludeFacts(&facts)
	statPaths(&facts, p)
	facts.CapEff = 0 // whoever runs it may have fewer privileges than its maker
	pre := &plan.Prelude{Entry: x.Entry, Beside: beside, Argv: argv, ArgvAt: launcher.BaseArgv, ArgvLen: uint64(length)}
	if p.Limits.Pids > 0 {
		if pre.Hierarchy, err = countingHierarchy(); err != nil {
			return nil, err
		}
	}
	f, err := filterOf(p, &facts)
	if err != nil {
		return nil, err
	}
	return plan.Compile(plan.Input{
		Policy: p, Facts: facts, StatusFD: plan.PreludeStatusFD, ControlFD: -1, CgroupFD: -1,
		Filter: f.prog, FilterFlags: f.flags, InitFilter: seccomp.InitProgram(facts.GOARCH, false),
		Standalone: &plan.Standalone{InPlace: &plan.InPlace{ReadFD: plan.PreludeReadFD, ExeFD: plan.PreludeExeFD, Prelude: pre}},
	})
}

// PlanArgv plans an image that reads a command line itself, on a host of which facts tell.
func PlanArgv(argv *plan.Argv, facts host.Facts) (*plan.Plan, error) {
	return plan.Compile(plan.Input{
		Policy: plan.ArgvPolicy(), Facts: facts, StatusFD: plan.PreludeStatusFD, ControlFD: -1, CgroupFD: -1,
		InitFilter: seccomp.InitProgram(facts.GOARCH, false), Manner: plan.ArgvManner(argv.Name), Sequence: []plan.Act{},
		Standalone: &plan.Standalone{InPlace: &plan.InPlace{ReadFD: plan.PreludeReadFD, ExeFD: plan.PreludeExeFD, Prelude: &plan.Prelude{Argv: argv}}},
	})
}

// ArgvImage is that image for this host.
func ArgvImage(argv *plan.Argv) ([]byte, error) {
	facts, err := host.Quick()
	if err != nil {
		return nil, err
	}
	facts.CapEff = 0 // as of PlanPrelude
	pl, err := PlanArgv(argv, facts)
	if err != nil {
		return nil, err
	}
	im, err := assemble(pl)
	if err != nil {
		return nil, err
	}
	return im.ELF, nil
}

// countingHierarchy is the hierarchy that counts processes.
func countingHierarchy() (found plan.Hierarchy, err error) {
	layout, err := cgroup.Detect()
	if err != nil {
		return found, err
	}
	var ns unix.Stat_t
	if err := unix.Stat("/proc/self/ns/cgroup", &ns); err != nil {
		return found, fmt.Errorf("prelude: /proc/self/ns/cgroup: %w", err)
	}
	for i := range layout.Hierarchies {
		h := &layout.Hierarchies[i]
		if h.Own == "" || h.Own != path.Join(h.Mount, h.Path) {
			continue // a part of it is mounted
		}
		switch {
		case h.Version == 1 && slices.Contains(h.Controllers, "pids"):
			return plan.Hierarchy{Version: 1, Mount: h.Mount, Controllers: strings.Join(h.Controllers, ","), Namespace: ns.Ino}, nil
		case h.Version == 2:
			found = plan.Hierarchy{Version: 2, Mount: h.Mount, Namespace: ns.Ino} // unless there is a v1
		}
	}
	if found.Version == 0 {
		return found, errors.New("prelude: no cgroup hierarchy is mounted here that counts processes; cloche runs all the same, a little slower")
	}
	return found, nil
}
