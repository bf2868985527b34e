package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cloche-sandbox/cloche/internal/supervise"
	"github.com/cloche-sandbox/cloche/policy"
)

// process is the running half of a Cmd.
type process struct {
	proc     *supervise.Process
	result   *Result
	mine     []*os.File // closed once the command has its own
	after    []*os.File // closed once the command has ended
	copies   sync.WaitGroup
	readers  []*os.File // what they read
	copyErr  error
	copyOnce sync.Once
	waited   bool
	started  bool
	straight bool // from Start to Wait, by Run

	terminal *terminal
}

// ExitError is a command that ran and did not end with exit code 0.
type ExitError struct {
	*Result
	Stderr []byte // what Output collected of it
}

func (e *ExitError) Error() string {
	switch e.Reason {
	case Exited:
		return fmt.Sprintf("exit status %d", e.ExitCode)
	case Signaled:
		return "signal: " + e.Signal.String()
	case Syscall:
		return "killed by the seccomp filter (SIGSYS)"
	case Memory:
		return "killed: out of memory (limits.memory)"
	case Canceled:
		return "killed: canceled"
	}
	return "killed: " + string(e.Reason) + " (" + e.Limit + ")"
}

// Run starts the command and waits for it. The error is nil for exit code 0, an
// *ExitError for any other end, and something else when it never ran.
func (c *Cmd) Run() error {
	c.straight = c.joining == nil
	runtime.LockOSThread() // what a sandbox's death signal depends on
	defer runtime.UnlockOSThread()
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Output runs the command and returns what it wrote to stdout.
func (c *Cmd) Output() ([]byte, error) {
	if c.Stdout != nil {
		return nil, errors.New("sandbox: Stdout already set")
	}
	var out, errOut bytes.Buffer
	c.Stdout = &out
	keep := c.Stderr == nil
	if keep {
		c.Stderr = &errOut
	}
	err := c.Run()
	var ee *ExitError
	if keep && errors.As(err, &ee) {
		ee.Stderr = errOut.Bytes()
	}
	return out.Bytes(), err
}

// CombinedOutput runs the command and returns what it wrote to stdout and stderr.
func (c *Cmd) CombinedOutput() ([]byte, error) {
	if c.Stdout != nil || c.Stderr != nil {
		return nil, errors.New("sandbox: Stdout or Stderr already set")
	}
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.Bytes(), err
}

// StdinPipe is a pipe to the command's stdin; close it to end the input.
func (c *Cmd) StdinPipe() (io.WriteCloser, error) {
	if c.Stdin != nil || c.started {
		return nil, errors.New("sandbox: StdinPipe after Stdin was set or the command started")
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.Stdin = r
	c.mine = append(c.mine, r)
	c.after = append(c.after, w)
	return w, nil
}

// StdoutPipe is a pipe from the command's stdout. Read to its end before Wait.
func (c *Cmd) StdoutPipe() (io.ReadCloser, error) { return c.readPipe(&c.Stdout) }

// StderrPipe is a pipe from the command's stderr. Read to its end before Wait.
func (c *Cmd) StderrPipe() (io.ReadCloser, error) { return c.readPipe(&c.Stderr) }

func (c *Cmd) readPipe(w *io.Writer) (io.ReadCloser, error) {
	if *w != nil || c.started {
		return nil, errors.New("sandbox: a pipe after the stream was set or the command started")
	}
	r, f, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	*w = f
	c.mine = append(c.mine, f)
	c.after = append(c.after, r)
	return r, nil
}

// Start makes the sandbox and starts the command in it. An error says what
// could not be made, why, and what to do; nothing is left behind then.
func (c *Cmd) Start() (err error) {
	if c.started {
		return errors.New("sandbox: already started")
	}
	c.started = true
	defer func() {
		closeAll(c.mine)
		c.mine = nil
		if err != nil {
			closeAll(c.after)
			if c.terminal != nil {
				c.terminal.close()
			}
			c.copies.Wait()
		}
	}()
	spec, err := c.spec()
	if err != nil {
		return err
	}
	if c.OnTerminal != nil && c.Policy.Terminal == policy.TerminalAlways {
		spec.Terminal, spec.OnTerminal = [3]bool{true, true, true}, c.OnTerminal
	} else if c.terminal, spec.Terminal, err = c.newTerminal(); err != nil {
		return err
	}
	if c.terminal != nil {
		spec.OnTerminal, spec.OnStopped = c.terminal.connect, c.terminal.stopped
	}
	if spec.Stdin, err = c.input(); err != nil {
		return err
	}
	if spec.Stdout, err = c.writer(c.Stdout); err != nil {
		return err
	}
	if c.Stderr != nil && sameWriter(c.Stdout, c.Stderr) {
		spec.Stderr = spec.Stdout
	} else if spec.Stderr, err = c.writer(c.Stderr); err != nil {
		return err
	}
	ctx := c.ctx
	if ctx == nil {
		ctx = context.Background()
	}
	start := supervise.Start
	if c.joining != nil {
		start = c.joining.start
	}
	if c.proc, err = start(ctx, spec); err != nil {
		return err
	}
	if c.terminal != nil {
		c.terminal.attend(c.proc)
	}
	return nil
}

func sameWriter(a, b io.Writer) (same bool) {
	defer func() {
		if recover() != nil { // a type that can't be compared
			same = false
		}
	}()
	return a == b
}

// spec is the internal form of the command, with the policy made absolute.
func (c *Cmd) spec() (*supervise.Spec, error) {
	if len(c.Args) == 0 || c.Args[0] == "" {
		return nil, errors.New("sandbox: no command: give its name as the first argument")
	}
	for _, a := range c.Args {
		if strings.IndexByte(a, 0) >= 0 {
			return nil, errors.New("sandbox: an argument holds a NUL byte, which no program can receive")
		}
	}
	if c.Policy == nil {
		return nil, errors.New("sandbox: no policy: take policy.Builtin(\"default\") or write one")
	}
	if c.joining != nil {
		return c.joinSpec()
	}
	env := c.Env
	if env == nil {
		env = os.Environ()
	}
	p, args, err := resolve(c.Policy, c.Args, env, c.Dir)
	if err == nil {
		p, err = hideRecords(p, env)
	}
	if err != nil {
		return nil, err
	}
	s := &supervise.Spec{
		Audit: c.Audit, Notify: (*supervise.Notify)(c.Notify),
		Policy: p, Args: args, Env: p.Environ(env), Name: c.Name, ExtraFiles: c.ExtraFiles, Parked: c.Parked, Straight: c.straight,
		Freezer: c.Pausable, Tell: c.Detached,
	}
	if c.Decided != nil {
		s.Decided = c.decided
	}
	return s, nil
}

// input is stdin as a file, with a goroutine that copies where it is none.
func (c *Cmd) input() (*os.File, error) {
	switch in := c.Stdin.(type) {
	case nil:
		return nil, nil
	case *os.File:
		return in, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.mine = append(c.mine, r)
	in := c.Stdin
	go func() { // not waited for: the reader may never end
		_, _ = io.Copy(w, in)
		w.Close()
	}()
	return r, nil
}

// writer is stdout or stderr as a file, the same way.
func (c *Cmd) writer(out io.Writer) (*os.File, error) {
	switch out := out.(type) {
	case nil:
		return nil, nil
	case *os.File:
		return out, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.mine, c.readers = append(c.mine, w), append(c.readers, r)
	c.copies.Go(func() {
		defer r.Close()
		if _, err := io.Copy(out, r); err != nil {
			c.copyOnce.Do(func() { c.copyErr = err })
		}
	})
	return w, nil
}

// AsleepError is why Wait returned although not everything has ended: after some
// seconds of waiting there are processes on which SIGKILL has no effect yet. It comes
// beside an *ExitError where the command did not exit with 0.
type AsleepError = supervise.AsleepError

// Wait waits for the command's end and takes the sandbox away. Where processes can't be
// ended its error is an *AsleepError too (errors.As finds both).
func (c *Cmd) Wait() error {
	if c.proc == nil {
		return errors.New("sandbox: not started")
	}
	if c.waited {
		return errors.New("sandbox: Wait was already called")
	}
	c.waited = true
	o, err := c.proc.Wait()
	var asleep *AsleepError
	if errors.As(err, &asleep) { // they hold the other ends
		for _, r := range c.readers {
			_ = r.SetReadDeadline(time.Now())
		}
	}
	c.copies.Wait()
	if c.terminal != nil {
		c.terminal.close()
	}
	closeAll(c.after)
	var setup *supervise.SetupError
	if c.straight && errors.As(err, &setup) {
		return err // as Start would have
	}
	c.result = resultOf(o)
	if c.result.Reason != Exited || c.result.ExitCode != 0 {
		if err != nil {
			return errors.Join(&ExitError{Result: c.result}, err)
		}
		return &ExitError{Result: c.result}
	}
	if err != nil {
		return err
	}
	return c.copyErr
}

// Result is what happened; nil before Wait has returned.
func (c *Cmd) Result() *Result { return c.result }

// PID is the process id, outside, of the sandbox's first process; 0 before Start.
func (c *Cmd) PID() int {
	if c.proc == nil {
		return 0
	}
	return c.proc.PID()
}

// Signal sends sig to the command. SIGKILL ends the whole sandbox.
func (c *Cmd) Signal(sig syscall.Signal) error {
	if c.proc == nil {
		return errors.New("sandbox: not started")
	}
	return c.proc.Signal(sig)
}

// Kill ends the whole sandbox at once.
func (c *Cmd) Kill() error { return c.Signal(syscall.SIGKILL) }

func resultOf(o *supervise.Outcome) *Result {
	r := &Result{
		Reason: Reason(o.Reason), Limit: o.Limit, WallTime: o.Wall,
		UserTime: o.Used.User, SystemTime: o.Used.System,
		PeakMemory: o.Used.MaxRSS, PeakProcesses: -1, OOMKills: -1, Throttled: -1, OutputBytes: o.Output,
	}
	for _, d := range o.Denied {
		r.Denied = append(r.Denied, Denied(d))
	}
	r.MoreDenied = o.MoreDenied
	switch ws := o.WaitStatus; {
	case ws.Signaled():
		r.Signal, r.ExitCode = ws.Signal(), 128+int(ws.Signal())
	default:
		r.ExitCode = ws.ExitStatus()
	}
	if o.HasUsage {
		u := &o.Usage
		if u.CPUUser >= 0 {
			r.UserTime, r.SystemTime = u.CPUUser, u.CPUSystem
		}
		if u.MemoryPeak >= 0 {
			r.PeakMemory = u.MemoryPeak
		}
		r.PeakProcesses, r.OOMKills, r.Throttled = u.PidsPeak, u.OOMKills, u.Throttled
	}
	return r
}
