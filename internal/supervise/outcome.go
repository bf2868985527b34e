package supervise

import (
	"syscall"
	"time"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
)

// Reason is why a sandbox ended; package sandbox documents the values.
type Reason string

// The reasons.
const (
	Exited   Reason = "exited"
	Signaled Reason = "signaled"
	WallTime Reason = "wall-time"
	CPUTime  Reason = "cpu-time"
	Memory   Reason = "memory"
	Output   Reason = "output"
	Syscall  Reason = "syscall"
	Setup    Reason = "setup"
	Canceled Reason = "canceled"
)

// Outcome is what a sandbox did.
type Outcome struct {
	Reason     Reason
	Limit      string // policy key of the limit that ended it
	WaitStatus syscall.WaitStatus
	Wall       time.Duration
	Used       Used // of pid 1 and all that it reaped; killed as a whole: at least that
	HasUsage   bool // Usage was read from a cgroup
	Usage      cgroup.Usage
	Output     int64
	Denied     []Denied // with Spec.Audit
	MoreDenied int      // calls of more kinds than are listed
}

// outcome reads what was used, takes the cgroup away, and decides the reason.
func (p *Process) outcome() (*Outcome, error) {
	o := &Outcome{WaitStatus: p.wstatus, Wall: p.ran, Used: usedBy(&p.rusage)}
	var err error
	if p.group != nil {
		if u, uerr := p.group.Usage(); uerr == nil {
			o.Usage, o.HasUsage = u, true
		}
		if p.asleep == nil {
			err = p.group.Remove()
		}
	}
	if p.asleep != nil {
		err = p.asleep
	}
	if p.output != nil {
		o.Output = p.output.total()
	}
	p.closePipes()
	if p.audit != nil {
		o.Denied, o.MoreDenied = p.audit.report()
		if o.WaitStatus.Signaled() && o.WaitStatus.Signal() == syscall.SIGKILL && p.audit.killedInside(p.child) {
			o.WaitStatus = syscall.WaitStatus(syscall.SIGSYS) // what the filter's own kill would have been
		}
	}
	switch {
	case p.failure != nil:
		o.Reason = Setup
		return o, p.failure
	case p.ended != "":
		o.Reason, o.Limit = p.ended, p.limit
	case o.WaitStatus.Signaled() && o.WaitStatus.Signal() == syscall.SIGKILL && o.HasUsage && o.Usage.OOMKills > 0:
		o.Reason, o.Limit = Memory, "limits.memory"
	case o.WaitStatus.Signaled() && o.WaitStatus.Signal() == syscall.SIGSYS:
		o.Reason = Syscall
	case o.WaitStatus.Signaled():
		o.Reason = Signaled
	default:
		o.Reason = Exited
	}
	return o, err
}
