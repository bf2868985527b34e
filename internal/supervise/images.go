package supervise

import (
	"maps"
	"reflect"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/internal/launcher"
	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/policy"
)

// A plan and its image depend on the policy, the user, the facts and the numbers
// of descriptors alone. A program that starts one sandbox after another, such as a judge,
// needs the same few again and again: the last ones are kept. The facts are
// looked up anew for each sandbox, so what is kept is never older than the
// host it was made for.
type made struct {
	input plan.Input
	plan  *plan.Plan
	image *launcher.Image
	file  *memfd // nil: each sandbox needs one of its own
}

const maxKept = 8

var kept struct {
	sync.Mutex
	list []made // the last used first
}

// recall finds what was made for an input before; its file is to be released.
func recall(in *plan.Input) (made, bool) {
	kept.Lock()
	defer kept.Unlock()
	for i := range kept.list {
		if sameInput(&kept.list[i].input, in) {
			m := kept.list[i]
			m.input.Policy = in.Policy // equal, and the one that comes again
			if m.file != nil {
				m.file.use()
			}
			copy(kept.list[1:i+1], kept.list[:i])
			kept.list[0] = m
			return m, true
		}
	}
	return made{}, false
}

// recallPaths finds what was at the paths of a policy when an image was made of it.
func recallPaths(p *policy.Policy) map[string]host.PathFact {
	kept.Lock()
	defer kept.Unlock()
	for i := range kept.list {
		if in := &kept.list[i].input; in.Policy == p {
			return in.Facts.Paths
		}
	}
	return nil
}

// keep remembers m. Nobody changes a spec's policy once a sandbox is made of it.
func keep(m made) {
	kept.Lock()
	defer kept.Unlock()
	if len(kept.list) < maxKept {
		kept.list = append(kept.list, made{})
	} else if f := kept.list[maxKept-1].file; f != nil {
		f.release()
	}
	if m.file != nil {
		m.file.use()
	}
	copy(kept.list[1:], kept.list)
	kept.list[0] = m
}

// sameInput compares the cheap and the telling first.
func sameInput(a, b *plan.Input) bool {
	return a.StatusFD == b.StatusFD && a.ControlFD == b.ControlFD && a.CgroupFD == b.CgroupFD && a.HasCgroup == b.HasCgroup &&
		a.ExtraFiles == b.ExtraFiles && a.Terminal == b.Terminal && a.Standalone == nil && b.Standalone == nil &&
		sameNotify(a.Notify, b.Notify) && slices.Equal(a.EntryFDs, b.EntryFDs) && sameProgram(a.Filter, b.Filter) && a.FilterFlags == b.FilterFlags && sameProgram(a.InitFilter, b.InitFilter) &&
		samePaths(a.Facts.Paths, b.Facts.Paths) && sameHost(a, b) &&
		(a.Policy == b.Policy || reflect.DeepEqual(a.Policy, b.Policy))
}

func samePaths(a, b map[string]host.PathFact) bool {
	return reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer() || maps.Equal(a, b)
}

func sameHost(a, b *plan.Input) bool {
	x, y := a.Facts, b.Facts
	x.Paths, y.Paths = nil, nil
	return reflect.DeepEqual(x, y)
}

// sameProgram compares filters; built-in ones are compiled once and stay where they are.
func sameProgram(a, b []unix.SockFilter) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || slices.Equal(a, b))
}
