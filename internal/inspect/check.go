package inspect

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/cloche-sandbox/cloche/policy"
)

// Check holds a process against the expanded policy that its sandbox was started with, and
// says where it is confined less. What the caller could not see is not held against it.
func (p *Process) Check(want *policy.Policy) []string {
	bad := []string{}
	say := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	for i := range p.Namespaces {
		n := &p.Namespaces[i]
		if !want.Unshare.Has(n.Type) {
			continue
		}
		switch {
		case n.Init == Yes:
			say("it shares the %s namespace with init; its policy gives it one of its own", n.Type)
		case n.Caller == Yes:
			say("it shares the %s namespace with you; its policy gives it one of its own", n.Type)
		}
	}
	for i := range p.Threads {
		p.Threads[i].check(want, say)
	}
	for i := range p.Writable {
		if m := &p.Writable[i]; !mayWrite(want, m.Path) {
			say("%s is mounted writable (%s), and no line of its policy asks for that", m.Path, m.Type)
		}
	}
	p.checkLimits(want, say)
	return bad
}

func (t *Thread) check(want *policy.Policy, say func(string, ...any)) {
	var kept CapSet
	for n, name := range policy.CapabilityNames() {
		if slices.Contains(want.Capabilities, name) {
			kept |= 1 << n
		}
	}
	for _, s := range [...]struct {
		name string
		has  CapSet
	}{
		{"inheritable", t.Capabilities.Inheritable},
		{"permitted", t.Capabilities.Permitted},
		{"effective", t.Capabilities.Effective},
		{"bounding", t.Capabilities.Bounding},
		{"ambient", t.Capabilities.Ambient},
	} {
		if more := s.has &^ kept; more != 0 {
			say("thread %d has capabilities in its %s set that its policy does not keep: %s", t.TID, s.name, more)
		}
	}
	if !t.NoNewPrivs {
		say("thread %d does not have no_new_privs", t.TID)
	}
	if want.Filtered() && t.Seccomp.Mode != "filter" {
		say("thread %d has no seccomp filter", t.TID)
	}
}

// mayWrite reports whether the deepest entry of a policy that holds a path lets it be
// written, as far as mounts go.
func mayWrite(want *policy.Policy, name string) bool {
	deepest, ok := -1, false
	for i := range want.Mounts {
		m := &want.Mounts[i]
		at := path.Clean(m.Path)
		if !within(name, at) || len(at) < deepest {
			continue
		}
		deepest = len(at)
		switch m.Kind {
		case policy.Write, policy.Tmpfs, policy.Overlay, policy.Dev, policy.Proc:
			ok = true
		default:
			ok = false
		}
	}
	return ok
}

func within(name, dir string) bool {
	rest, ok := strings.CutPrefix(name, dir)
	return ok && (rest == "" || rest[0] == '/' || dir == "/")
}

// checkLimits leaves out limits that the policy wants only where they are available.
func (p *Process) checkLimits(want *policy.Policy, say func(string, ...any)) {
	memory, pids := int64(-1), int64(-1)
	seen := false
	for i := range p.Cgroups {
		r := &p.Cgroups[i]
		seen = seen || r.Dir != ""
		if r.Memory != nil {
			memory = r.Memory.Limit
		}
		if r.Pids != nil {
			pids = r.Pids.Limit
		}
	}
	if !seen {
		return
	}
	needed := func(name string) bool { return !slices.Contains(want.Limits.WhereAvailable, name) }
	if most := int64(want.Limits.Memory); most > 0 && (memory > most || memory < 0 && needed("memory")) {
		say("its memory is not limited to %s, as its policy says", want.Limits.Memory)
	}
	// Pid 1 of the sandbox counts as well.
	if most := want.Limits.Pids; most > 0 && (pids > most+1 || pids < 0 && needed("pids")) {
		say("its processes are not limited to %d, as its policy says", most)
	}
}
