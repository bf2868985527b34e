package supervise

import (
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/internal/plan"
)

// explain says what the failure of operation i means. The plan knows what an errno may mean;
// where this host can be asked which of it is so, its answer comes instead, as `cloche
// doctor` has it.
func explain(pl *plan.Plan, i int, e unix.Errno) *plan.Failure {
	f := pl.Explain(i, e)
	cause, remedy := "", ""
	switch f.Step.Kind {
	case plan.KindClone:
		cause, remedy = host.WhyNoNamespaces(e)
	case plan.KindIDs:
		cause, remedy = host.WhyNoRights(e)
	case plan.KindPropagation, plan.KindRoot, plan.KindPivot, plan.KindTmpfs:
		cause, remedy = host.WhyNoMount(e)
	}
	if cause != "" {
		f.Cause, f.Remedy = cause, remedy
	}
	return f
}
