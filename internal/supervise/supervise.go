// Package supervise starts a launcher image, keeps watch over it, and says what
// happened. It is the one place at which Cloche starts a process.
package supervise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// Spec is what to run and how.
type Spec struct {
	Policy *policy.Policy // expanded and valid
	Args   []string       // the command and its arguments
	Env    []string       // the environment inside, complete
	Name   string         // of the sandbox, for its cgroup; may be empty

	Stdin, Stdout, Stderr *os.File // nil: /dev/null
	ExtraFiles            []*os.File

	// Terminal says which of stdin, stdout and stderr are a pseudo-terminal of
	// the sandbox's own. OnTerminal receives its master, which the caller then
	// owns, before the command runs: its size can be set here.
	Terminal   [3]bool
	OnTerminal func(master *os.File)
	// OnStopped is called when the command was stopped by a signal (Ctrl-Z).
	OnStopped func(p *Process, sig syscall.Signal)

	// Sequence makes the root in place of the policy's Mounts; Manner is how the sandbox
	// lives beside its caller; Programs are filters that come before the policy's. They are
	// for Become alone.
	Sequence []plan.Act
	Manner   *plan.Manner
	Programs [][]unix.SockFilter

	// Notify has system calls answered by a function; nil: by the kernel alone.
	Notify *Notify

	// Decided is called when all is decided and nothing started, with the plan and the
	// directories of the cgroup; nil: nobody wants to know.
	Decided func(pl *plan.Plan, cgroups []string)

	// Tell has a sandbox that takes this program's place start it again at every end, not
	// only at those that want words.
	Tell bool

	// Freezer asks for a cgroup that can be frozen, where one may be made.
	Freezer bool

	// Audit has what the policy's filter denies reported in the Outcome.
	Audit bool

	// Parked says that the calling goroutine is locked to a thread that lives
	// as long as the program, so that the image can be started from it.
	Parked bool

	// Straight says that the caller goes straight from Start to Wait, on a goroutine
	// that is locked to its thread until then. What Start would have said of a command
	// that could not be started, Wait may say.
	Straight bool
}

// SetupError is a sandbox that could not be made: the command never ran.
type SetupError struct {
	Failure *plan.Failure // the operation that failed; nil: something before or around the image
	Err     error
}

func (e *SetupError) Error() string { return e.Err.Error() }

// Unwrap is the cause.
func (e *SetupError) Unwrap() error { return e.Err }

// Process is a running sandbox.
type Process struct {
	spec    *Spec
	plan    *plan.Plan
	group   *cgroup.Group
	status  *os.File
	control *os.File
	started time.Time
	index   []int // operation of the image → of the plan

	mu     sync.Mutex
	init   int // pid of pid 1; 0 before it is known
	reaped bool
	ended  Reason // why it was killed, if it was
	limit  string

	launcher int
	joined   bool // a command in a sandbox of another's, whose watcher stands for pid 1
	quiet    bool // nothing is read until it has ended, see quiet.go
	mapless  bool // pid 1 waits for its id maps
	ready    bool
	running  bool
	exited   bool
	wstatus  syscall.WaitStatus
	rusage   syscall.Rusage
	ran      time.Duration
	failure  *SetupError
	asleep   error              // why it did not end
	stop     context.CancelFunc // of the watchers
	watchers sync.WaitGroup
	output   *outputMeter
	listener *seccomp.Listener // nil before it came
	notify   *Notify
	audit    *Audit
	child    int // pid of the command inside, where there is a listener
}

// Start makes the sandbox and starts the command. It returns when the command
// runs, or when it is known why it can't.
func Start(ctx context.Context, spec *Spec) (*Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	pr, err := Prepare(spec)
	if err != nil {
		return nil, err
	}
	p, err := pr.start(ctx)
	if err != nil {
		pr.discard()
		return nil, err
	}
	return p, nil
}

// await reads records until the command runs or can't. Two processes write them,
// so pid 1's may come before the launcher's, which tells its pid: nothing is
// decided before that is known, or nobody would reap it or signal it. (A launcher
// that fails never tells one; the end of the file does.)
func (p *Process) await() error {
	for {
		r, err := readRecord(p.status)
		if err != nil {
			return p.diedEarly()
		}
		p.note(r)
		switch {
		case p.init == 0:
		case p.failure != nil:
			p.finish()
			return p.failure
		case p.exited || p.running || (p.ready && !p.spec.Policy.Init):
			return nil
		}
	}
}

// note takes a record in.
func (p *Process) note(r record) {
	switch r.kind {
	case plan.RecordPID:
		p.mu.Lock()
		p.init = int(r.a)
		if p.ended != "" { // killed while its pid was not known yet
			_ = syscall.Kill(p.init, syscall.SIGKILL)
		}
		p.mu.Unlock()
		p.mapIDs()
	case plan.RecordReady:
		p.ready = true
	case plan.RecordStarted:
		p.running, p.child = true, int(r.a)
	case plan.RecordFailed:
		i := -1
		if int(r.a) < len(p.index) {
			i = p.index[r.a]
		}
		f := explain(p.plan, i, syscall.Errno(r.b))
		p.fail(&SetupError{Failure: f, Err: f})
	case plan.RecordExited:
		p.exited, p.wstatus = true, syscall.WaitStatus(r.a)
	case plan.RecordStopped:
		if p.spec.OnStopped != nil {
			p.spec.OnStopped(p, syscall.WaitStatus(r.a).StopSignal())
		}
	case plan.RecordIDMaps:
		p.mapless = true
		p.mapIDs()
	}
}

// fail keeps the first failure: what comes after it follows from it.
func (p *Process) fail(e *SetupError) {
	if p.failure == nil {
		p.failure = e
	}
}

// mapIDs has pid 1's id maps written once it waits for them and its pid is known.
func (p *Process) mapIDs() {
	if !p.mapless || p.init == 0 {
		return
	}
	p.mapless = false
	if err := p.writeIDMaps(); err != nil {
		p.fail(&SetupError{Err: err})
		p.kill(Setup, "")
	}
}

// diedEarly is an end of file before the command ran: not success, but a
// set-up that somebody killed.
func (p *Process) diedEarly() error {
	ws := p.finish()
	if p.failure != nil {
		return p.failure
	}
	if p.ready {
		return nil // it ran and is gone already; Wait tells how
	}
	return p.stillborn(ws)
}

// stillborn is a set-up that ended without having failed.
func (p *Process) stillborn(ws syscall.WaitStatus) *SetupError {
	why := "it exited without a word"
	if ws.Signaled() {
		why = "it was killed by " + unix.SignalName(ws.Signal())
	}
	if p.ended != "" {
		return &SetupError{Err: fmt.Errorf("the sandbox was ended (%s) before the command ran", p.ended)}
	}
	return &SetupError{Err: fmt.Errorf("setting the sandbox up: %s; a memory limit too small to start in, or the kernel's OOM killer, would do that", why)}
}

// Wait waits for the end and tells what happened. Everything that was made for
// the sandbox is gone afterwards.
func (p *Process) Wait() (*Outcome, error) {
	for !p.quiet {
		r, err := readRecord(p.status)
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrClosed) {
				p.kill(Setup, "")
			}
			break
		}
		p.note(r)
	}
	ws := p.finish()
	if p.quiet && !p.ready && p.failure == nil {
		p.fail(p.stillborn(ws))
	}
	return p.outcome()
}

// finish reaps pid 1, when it has not been.
func (p *Process) finish() syscall.WaitStatus {
	p.mu.Lock()
	pid, done := p.init, p.reaped
	p.mu.Unlock()
	if done {
		return p.wstatus
	}
	var ws syscall.WaitStatus
	if pid > 0 {
		ws, p.asleep = p.reapPatiently(pid)
	}
	if p.quiet {
		p.drain()
	}
	p.mu.Lock()
	p.reaped = true
	listener := p.listener
	p.mu.Unlock()
	if listener != nil {
		listener.Close() // ends the goroutine that waits for calls
	}
	p.ran = time.Since(p.started)
	if !p.exited {
		p.wstatus = ws
	}
	p.stop()
	p.watchers.Wait()
	return ws
}

func (p *Process) reap(pid int) syscall.WaitStatus {
	var ws syscall.WaitStatus
	var ru syscall.Rusage
	for {
		_, err := syscall.Wait4(pid, &ws, 0, &ru)
		if err != syscall.EINTR {
			break
		}
	}
	p.rusage = ru
	return ws
}

// Signal sends sig to the command, by way of pid 1, which tells signals from
// outside and inside apart. SIGKILL ends the whole sandbox.
func (p *Process) Signal(sig syscall.Signal) error {
	if sig == syscall.SIGKILL {
		return p.Kill()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped || p.init == 0 {
		return os.ErrProcessDone
	}
	if sig == syscall.SIGSTOP && p.spec.Policy.Init {
		// It would stop pid 1 alone and leave the command running.
		sig = syscall.SIGTSTP
	}
	return syscall.Kill(p.init, sig)
}

// Kill ends the whole sandbox: with pid 1 the kernel ends every process in its
// pid namespace.
func (p *Process) Kill() error {
	p.kill(Canceled, "")
	return nil
}

func (p *Process) kill(why Reason, limit string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return
	}
	if p.ended == "" {
		p.ended, p.limit = why, limit
	}
	if p.joined {
		p.status.Close() // the watcher ends the command
		return
	}
	if p.init > 0 {
		_ = syscall.Kill(p.init, syscall.SIGKILL)
	}
	if p.group != nil && !p.spec.Policy.Unshare.PID {
		_ = p.group.Kill() // no pid namespace ends with pid 1
	}
}

// CountOutput adds n bytes of terminal output to what the policy limits, and
// reports whether there is room for them.
func (p *Process) CountOutput(n int) bool {
	if p.output == nil {
		return true
	}
	if p.output.count.Add(int64(n)) > p.output.limit {
		p.output.over()
		return false
	}
	return true
}

// PID is the pid of the sandbox's pid 1 as seen outside.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.init
}
