package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/named"
	"github.com/cloche-sandbox/cloche/internal/supervise"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/sandbox"
)

// attempt is a command that is about to be started.
type attempt struct {
	inv    *invocation
	policy *policy.Policy
	argv   []string // the program's arguments
	skip   int      // of which the command's begin here
	result *resultFile
	record *named.Sandbox // nil: it has no name
	stays  bool           // this is the program that --detach started

	refused error // of the first start
}

// run is `cloche run`; argv are the program's arguments. It says nothing of its
// own when the command succeeds. Where it is not done, a.finish is to be called
// when all packages are initialised.
func run(inv *invocation, argv []string) (status int, a *attempt) {
	report, stays := takeReport(), takeDetached()
	if len(inv.args) == 0 || inv.args[0] == "" {
		return fail(errors.New("run: no command; write it after the flags: cloche run [flags] -- CMD [ARGS]")), nil
	}
	if inv.wasGiven("name") {
		if err := checkName(inv.name); err != nil {
			return fail(err), nil
		}
	}
	p, err := inv.policy()
	if err != nil && report.value != "" {
		return report.code, nil // a policy file that can be read only once: a pipe
	}
	if err != nil {
		return fail(err), nil
	}
	if inv.name != "" {
		if err := keepChanges(p, inv.name, report.value != ""); err != nil && report.value != "" {
			return report.code, nil // somebody looks at the changes already
		} else if err != nil {
			return fail(err), nil
		}
	}
	a = &attempt{inv: inv, policy: p, argv: argv, skip: len(argv) - len(inv.args), stays: stays}
	if report.value != "" {
		return a.explain(report), nil
	}
	if inv.wasGiven("stdin") {
		if err := redirectStdin(inv.stdin); err != nil {
			return fail(err), nil
		}
	}
	if inv.wasGiven("result") {
		if a.result, err = prepareResult(inv.result); err != nil {
			return fail(err), nil
		}
	}
	if inv.detach && !stays {
		return a.detach(), nil
	}
	if inv.name != "" {
		if err := a.register(); err != nil {
			return fail(err), nil
		}
	}
	status, a.refused = a.start()
	switch {
	case a.refused == nil:
		return status, nil
	case scopeMayHelp(p, a.refused):
		return 0, a
	}
	return a.failed(a.refused), nil
}

// finish starts the command once more, in a cgroup that systemd made.
func (a *attempt) finish() int {
	if EnterScope == nil {
		return a.failed(a.refused)
	}
	if err := EnterScope(a.inv.name); err != nil {
		return a.failed(withoutScope(a.refused, err))
	}
	status, err := a.start()
	if err != nil {
		return a.failed(inScope(a.refused, err))
	}
	return status
}

func (a *attempt) command() *sandbox.Cmd {
	cmd := sandbox.Command(context.Background(), a.policy, a.inv.args[0], a.inv.args[1:]...)
	cmd.Name, cmd.Audit = a.inv.name, a.inv.audit
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Detached, cmd.Pausable = a.inv.detach, a.inv.name != ""
	if a.record != nil {
		cmd.Decided = a.noteDecided
	}
	return cmd
}

// start runs the command to its end; the error is of one that never ran.
func (a *attempt) start() (int, error) {
	if a.result == nil && (a.record == nil || a.stays) {
		cmd := a.command()
		if a.stays && cmd.Policy.Output > 0 {
			cmd.Policy = cmd.Policy.Clone()
			cmd.Policy.Output = 0 // which the keeper of logs counts
		}
		// With nothing to watch or to report there is no reason to stay.
		if ok, err := cmd.Exec(a.argv, a.skip); ok {
			return 0, err
		}
		if a.stays && a.policy.Output > 0 {
			a.note(func(s *named.Sandbox) { s.MaxOutput = 0 })
		}
	}
	return a.supervised(a.command())
}

// failed tells of a command that never ran.
func (a *attempt) failed(err error) int {
	code, message := startFailure(a.policy, a.inv, err)
	complain(message)
	a.noteEnd(nil, code, message)
	return a.result.write(failedResult(code), message, code)
}

// report is what the image that took this program's place wants explained.
type report struct {
	value  string // "": nothing, this is a run
	code   int    // exit status of the command
	reason sandbox.Reason
}

// takeReport takes the report out of the environment: it is for nobody else, and
// one that is not this process's own is nobody's.
func takeReport() (r report) {
	value, set := os.LookupEnv(sandbox.ExplainVariable)
	if !set {
		return r
	}
	os.Unsetenv(sandbox.ExplainVariable)
	if u, ok := supervise.ParseUnexplained(value); ok && !u.Again() {
		r = report{value, u.ExitCode, sandbox.Reason(u.Reason)}
	}
	return r
}

// explain is `cloche run` started again by the sandbox that took its place,
// because the command failed or never ran: it finds the words for it.
func (a *attempt) explain(report report) int {
	p, inv := a.policy, a.inv
	code, err := a.command().Explain(report.value, a.skip)
	message := ""
	switch {
	case err != nil:
		code, message = startFailure(p, inv, err)
	case report.reason == sandbox.WallTime:
		message = limitMessage(p, &sandbox.Result{Reason: report.reason, Limit: "time.wall"})
	case report.reason == sandbox.CPUTime:
		message = limitMessage(p, &sandbox.Result{Reason: report.reason, Limit: "time.cpu"})
	case code == 128+int(unix.SIGSYS) && p.Filtered():
		message = filterMessage(p)
	case code == 0: // told for the record
	case code < 128:
		message = hintAfterExit(p, inv, code)
	default:
		code, message = stillborn(p, inv, code)
	}
	if message != "" {
		complain(message)
	}
	a.noteTold(err, report.reason, code, message)
	return code
}

// supervised runs the command with Cloche beside it.
func (a *attempt) supervised(cmd *sandbox.Cmd) (int, error) {
	// The sandbox dies with the thread that starts it, so that thread is kept.
	runtime.LockOSThread()
	cmd.Parked = true
	if a.stays && a.policy.Terminal == policy.TerminalAlways {
		server, err := serveTerminal(a.record.Name)
		if err != nil {
			return 0, fmt.Errorf("--detach with a terminal: %w", err)
		}
		defer server.close()
		cmd.OnTerminal = server.serve
	}
	forward := catchSignals(ownTerminal(a.policy, os.Stdin))
	if err := cmd.Start(); err != nil {
		forward.giveUp()
		return 0, err
	}
	forward.to(cmd)
	forgetStart()
	a.noteStart(cmd)
	counted := a.countDenials(cmd)
	err := cmd.Wait()
	counted()
	forward.stop()
	code, message := ended(a.policy, a.inv, cmd.Result(), err)
	if message != "" {
		complain(message)
	}
	r := cmd.Result()
	a.noteEnd(r, code, message)
	reportDenied(a.inv, a.policy, r)
	if r == nil || r.Reason == sandbox.Setup || r.Reason == sandbox.Signaled && code == exitCannotExec {
		return a.result.write(failedResult(code), message, code), nil
	}
	return a.result.write(r, "", code), nil
}

// ownTerminal reports whether the command got a pseudo-terminal for its stdin.
func ownTerminal(p *policy.Policy, stdin *os.File) bool {
	if p.Terminal == policy.TerminalAlways {
		return true
	}
	return p.Terminal == policy.TerminalAuto && isTerminal(stdin)
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// redirectStdin makes a file stdin, for Cloche itself: the command inherits it.
func redirectStdin(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("--stdin %s: %s", clip(name), whyFile(err))
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return fmt.Errorf("--stdin %s: %s", clip(name), whyFile(unix.EISDIR))
	}
	if err := unix.Dup3(int(f.Fd()), 0, 0); err != nil {
		return fmt.Errorf("--stdin %s: %w", clip(name), os.NewSyscallError("dup3", err))
	}
	return nil
}

// ended turns the end of a command into an exit status, and a line for stderr
// where the command's own exit status does not tell the story.
func ended(p *policy.Policy, inv *invocation, r *sandbox.Result, err error) (int, string) {
	var asleep *sandbox.AsleepError
	if !errors.As(err, &asleep) {
		return told(p, inv, r, err)
	}
	code, words := told(p, inv, r, nil) // r has it all
	if words != "" {
		words += "; "
	}
	return code, words + "not all of it has ended: " + asleep.Error()
}

// told is ended, of the command alone.
func told(p *policy.Policy, inv *invocation, r *sandbox.Result, err error) (int, string) {
	var ee *sandbox.ExitError
	if err != nil && !errors.As(err, &ee) {
		return exitFailure, err.Error()
	}
	if r == nil {
		return exitFailure, "the sandbox ended and nothing is known of how; please report this"
	}
	switch r.Reason {
	case sandbox.Exited:
		if r.ExitCode == 0 {
			return 0, ""
		}
		return r.ExitCode, hintAfterExit(p, inv, r.ExitCode)
	case sandbox.Signaled:
		return stillborn(p, inv, r.ExitCode)
	case sandbox.Canceled:
		return r.ExitCode, ""
	case sandbox.Syscall:
		return r.ExitCode, filterMessage(p)
	}
	return r.ExitCode, limitMessage(p, r)
}

func filterMessage(p *policy.Policy) string {
	return "the seccomp filter killed the command (SIGSYS)" + from(p, "seccomp.profile") + "; `cloche can syscall NAME` tells what it allows, --seccomp build allows more"
}

// limitMessage says which limit ended the command, who set it and how to raise it.
func limitMessage(p *policy.Policy, r *sandbox.Result) string {
	what, flag := "", ""
	switch r.Reason {
	case sandbox.WallTime:
		what, flag = "it ran for "+policy.FormatDuration(p.Time.Wall), "--wall-time"
	case sandbox.CPUTime:
		what, flag = "it used "+policy.FormatDuration(p.Time.CPU)+" of CPU time", "--cpu-time"
	case sandbox.Memory:
		what, flag = "its memory limit of "+p.Limits.Memory.String()+" is used up", "--memory"
	case sandbox.Output:
		what, flag = "it wrote more than "+p.Output.String(), "--max-output"
	default:
		return "the sandbox was ended: " + string(r.Reason)
	}
	return "the command was killed: " + what + from(p, r.Limit) + "; to allow more: " + flag
}

// from names the place that a setting comes from, in brackets.
func from(p *policy.Policy, key string) string {
	if o := p.Origins[key]; o != "" {
		return " (" + o + ")"
	}
	return ""
}
