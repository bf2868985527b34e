package supervise

import (
	"errors"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/policy"
)

// makeCgroup makes the cgroup that a policy's limits need. A limit that can't
// be enforced is refused, unless the policy itself says where-available: then a
// note tells that it was left out. With create false nothing is made.
func makeCgroup(spec *Spec, create bool) (*cgroup.Group, []string, error) {
	if len(spec.Policy.Limits.Set()) == 0 && spec.Policy.Time.CPU == 0 && !spec.Freezer {
		return nil, nil, nil
	}
	layout, err := cgroup.Detect()
	if err != nil {
		return nil, nil, err
	}
	l := &limiter{policy: spec.Policy, layout: layout, limits: spec.Policy.Limits, freezer: spec.Freezer}
	g, err := l.group(spec.Name, create)
	if err != nil {
		return nil, nil, err
	}
	return g, l.notes, nil
}

// limiter finds out which limits of a policy this host can enforce.
type limiter struct {
	policy *policy.Policy
	layout *cgroup.Layout
	limits policy.Limits // without those that were left out
	notes  []string

	freezer bool // wanted, and done without where there is none
}

func (l *limiter) group(name string, create bool) (*cgroup.Group, error) {
	for _, missing := range l.layout.Missing(l.limits) {
		if err := l.leaveOut(missing, l.layout.Check(missing, &l.limits)); err != nil {
			return nil, err
		}
	}
	o := cgroup.Options{CPUTime: l.policy.Time.CPU > 0, NoInit: !l.policy.Init, DryRun: !create}
	o.Freezer = l.freezer && l.layout.Available("freezer") == nil
	for len(l.limits.Set()) > 0 || o.CPUTime || o.Freezer {
		g, err := l.layout.Create(name, l.limits, o)
		if err == nil {
			l.notes = append(l.notes, g.Notes...)
			return g, nil
		}
		var u *cgroup.Unavailable
		switch {
		case errors.As(err, &u) && u.Limit != "":
			// Only the attempt could tell.
			if err := l.leaveOut(u.Limit, err); err != nil {
				return nil, err
			}
			continue
		case o.CPUTime:
			if why := l.layout.Check("cpu-time", &l.limits); why != nil {
				return nil, l.refuse("time.cpu", why)
			}
		case o.Freezer:
			o.Freezer = false
			continue
		}
		return nil, err
	}
	return nil, nil
}

// leaveOut goes on without a limit that can't be had, where the policy says so.
func (l *limiter) leaveOut(name string, why error) error {
	if !l.limits.MayMiss(name) {
		return l.refuse("limits."+name, why)
	}
	cause := why.Error()
	var u *cgroup.Unavailable
	if errors.As(why, &u) {
		cause = u.Cause
	}
	l.notes = append(l.notes, "limits."+name+": "+cause+"; the policy says where-available: not limited")
	l.limits.Drop(name)
	return nil
}

// LimitError is a limit that is refused because of a cgroup that can't be had.
type LimitError struct {
	Refused *plan.Error
	Cause   *cgroup.Unavailable
}

func (e *LimitError) Error() string { return e.Refused.Error() }

// Unwrap gives both parts.
func (e *LimitError) Unwrap() []error { return []error{e.Refused, e.Cause} }

// refuse names the setting, who asked for it, and what would help.
func (l *limiter) refuse(setting string, why error) error {
	e := &plan.Error{Setting: setting, Origin: l.policy.Origins[setting], Why: why.Error()}
	var u *cgroup.Unavailable
	if !errors.As(why, &u) {
		return e
	}
	e.Why, e.Fix = u.Cause, u.Remedy
	return &LimitError{Refused: e, Cause: u}
}
