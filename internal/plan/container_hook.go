package plan

import (
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/policy"
)

// CompileHook makes the plan of a hook that runs in a container's namespaces: it
// joins them and executes the hook, with all that the caller may. The status pipe is
// descriptor 3.
func CompileHook(f *host.Facts, path string, n JoinNamespace) (*Plan, error) {
	if err := checkContainerKernel(f); err != nil {
		return nil, err
	}
	c := &Container{Facts: *f, StatusFD: 3, ControlFD: 4, CgroupFD: -1, Exec: true, Join: []JoinNamespace{n}}
	b := &containerBuilder{c: c, builder: newBuilder(&Input{Policy: &policy.Policy{}, Facts: *f, StatusFD: 3, ControlFD: 4, CgroupFD: -1})}
	b.launch()
	b.begin(Step{Process: Command, Name: "hook", Kind: KindExec, Path: path, Origin: "hooks"})
	b.op(SysCloseRange, Num(3), Num(^uint64(0)>>32), named("CLOSE_RANGE_CLOEXEC", unix.CLOSE_RANGE_CLOEXEC))
	b.op(SysExecve, b.str(path), Slot(VarArgv), Slot(VarEnvp))
	b.reportFatal()
	return b.p, nil
}
