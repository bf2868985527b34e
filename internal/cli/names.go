package cli

import (
	"fmt"
	"os"
	"time"

	"github.com/cloche-sandbox/cloche/internal/named"
	"github.com/cloche-sandbox/cloche/internal/state"
	"github.com/cloche-sandbox/cloche/sandbox"
)

// checkName refuses what is no name of a sandbox.
func checkName(name string) error {
	if err := named.CheckName(name); err != nil {
		return fmt.Errorf("--name %q: %w", clip(name), err)
	}
	return nil
}

// register writes the record of a sandbox with a name, before it starts. This process, or what
// it becomes, is its owner.
func (a *attempt) register() error {
	p, err := expand(a.policy.Clone())
	if err != nil {
		return err
	}
	me, err := state.ProcessOf(os.Getpid())
	if err != nil {
		return err
	}
	a.record = &named.Sandbox{
		Name: a.inv.name, Created: time.Now(), Args: a.inv.args, Env: p.Environ(os.Environ()),
		UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), Owner: me, Limits: p.Limits,
	}
	if a.stays {
		a.record.Detached, a.record.Log, a.record.MaxOutput = true, a.record.Dir(), p.Output
	}
	if err := named.Create(a.record, p); err != nil {
		return fmt.Errorf("--name: %w", err)
	}
	if a.stays {
		if err := redirectLogs(a.record); err != nil {
			a.noteEnd(nil, exitFailure, err.Error())
			return fmt.Errorf("--detach: %w", err)
		}
	}
	return nil
}

// note changes the record, where there is one. That it can't be written is said, and ends nothing.
func (a *attempt) note(change func(*named.Sandbox)) {
	if a.record == nil {
		return
	}
	if err := named.Update(a.record.Name, a.record.Owner, change); err != nil {
		complain("the record of " + a.record.Name + ": " + err.Error())
	}
}

// noteStart writes down which process the sandbox has.
func (a *attempt) noteStart(cmd *sandbox.Cmd) {
	if a.record == nil {
		return
	}
	init, err := state.ProcessOf(cmd.PID())
	if err != nil {
		return // it has ended already
	}
	a.note(func(s *named.Sandbox) { s.Init = init })
}

// betweenCounts is the time from one look at what the filter has denied to the next.
const betweenCounts = time.Second

// countDenials writes down, from time to time, how many calls the filter has denied, for
// `cloche top`. stop ends it.
func (a *attempt) countDenials(cmd *sandbox.Cmd) (stop func()) {
	if a.record == nil || cmd.Denials() < 0 {
		return func() {}
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(betweenCounts)
		defer ticker.Stop()
		for last := int64(-1); ; {
			if n := int64(cmd.Denials()); n != last {
				last = n
				a.note(func(s *named.Sandbox) { s.Denied = &n })
			}
			select {
			case <-quit:
				return
			case <-ticker.C:
			}
		}
	}()
	return func() {
		close(quit)
		<-done
	}
}

// countsMore reports whether one of the cgroups tells more than how many processes there are.
func countsMore(dirs []string) bool {
	for _, d := range dirs {
		for _, file := range [...]string{"cgroup.events", "freezer.state", "memory.usage_in_bytes", "cpu.shares", "cpuacct.usage"} {
			if _, err := os.Stat(d + "/" + file); err == nil {
				return true
			}
		}
	}
	return false
}

// noteDecided writes down what those need that join.
func (a *attempt) noteDecided(t *sandbox.Target, cgroups []string) {
	a.note(func(s *named.Sandbox) { s.Landlock, s.Cgroup, s.Counted = t.Landlock, cgroups, countsMore(cgroups) })
}

// noteEnd writes down how the sandbox ended.
func (a *attempt) noteEnd(r *sandbox.Result, code int, message string) {
	ended := &named.Ended{Reason: string(sandbox.Setup), ExitCode: code, When: time.Now()}
	if r != nil {
		ended.Reason = string(r.Reason)
	}
	if ended.Reason == string(sandbox.Setup) {
		ended.Message = message
	}
	a.note(func(s *named.Sandbox) { s.Ended = ended })
}

// noteTold is noteEnd of a sandbox that took this program's place; err is of a command that
// never ran.
func (a *attempt) noteTold(err error, reason sandbox.Reason, code int, message string) {
	if !a.inv.detach {
		return
	}
	s, ferr := named.Find(a.inv.name)
	if ferr != nil || s.Owner.Pid != os.Getpid() {
		return
	}
	a.record = s
	r := &sandbox.Result{Reason: reason}
	switch {
	case err != nil:
		r = nil
	case s.Over:
		r.Reason = sandbox.Output
	case code > 128 && reason == sandbox.Exited:
		r.Reason = sandbox.Signaled
	}
	a.noteEnd(r, code, message)
}
