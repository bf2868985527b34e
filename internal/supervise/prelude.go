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

// WithPrelude is a program, the content of an executable, with what stands in front of it, made on this host: an image that carries out a plain `cloche run`
// under the default profile. beside is a second program, for bubblewrap's command line, or nil; argv
// is what of that command line a second image reads itself, or nil.
func WithPrelude(program, beside []byte, argv *plan.Argv) ([]byte, error) {
	x, err := launcher.ReadExecutable(program)
	if err != nil {
		return nil, err
	}
	pre := &plan.Prelude{Entry: x.Entry, Argv: argv, ArgvAt: launcher.BaseArgv}
	if beside != nil {
		second, err := launcher.ReadBeside(beside)
		if err != nil {
			return nil, err
		}
		pre.Beside = second.Entry
	}
	var reader []byte
	if argv != nil {
		if reader, err = argvImage(argv); err != nil {
			return nil, err
		}
		pre.ArgvLen = uint64(len(reader))
	}
	pl, err := planPrelude(pre)
	if err != nil {
		return nil, err
	}
	image, err := Executable(pl)
	if err != nil {
		return nil, err
	}
	return launcher.Fuse(program, beside, reader, image)
}

func planPrelude(pre *plan.Prelude) (*plan.Plan, error) {
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

// argvImage is an image that reads a command line itself.
func argvImage(argv *plan.Argv) ([]byte, error) {
	facts, err := host.Quick()
	if err != nil {
		return nil, err
	}
	facts.CapEff = 0 // as of planPrelude
	pl, err := plan.Compile(plan.Input{
		Policy: plan.ArgvPolicy(), Facts: facts, StatusFD: plan.PreludeStatusFD, ControlFD: -1, CgroupFD: -1,
		InitFilter: seccomp.InitProgram(facts.GOARCH, false), Manner: plan.ArgvManner(argv.Name), Sequence: []plan.Act{},
		Standalone: &plan.Standalone{InPlace: &plan.InPlace{ReadFD: plan.PreludeReadFD, ExeFD: plan.PreludeExeFD, Prelude: &plan.Prelude{Argv: argv}}},
	})
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
