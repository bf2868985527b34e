package cli

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/internal/supervise"
	"github.com/cloche-sandbox/cloche/policy"
)

// startFailure turns the error of a start into the line to print and the exit
// status: 127 and 126 as a shell has them where the command itself is the
// matter, 125 for all else.
func startFailure(p *policy.Policy, inv *invocation, err error) (code int, message string) {
	var se *supervise.SetupError
	if !errors.As(err, &se) {
		return exitFailure, err.Error()
	}
	if se.Failure == nil || se.Failure.Step.Kind != plan.KindExec {
		errno := unix.Errno(0)
		if se.Failure != nil {
			errno = se.Failure.Errno
		}
		return exitFailure, err.Error() + tooSmallToStart(p, errno)
	}
	code = exitCannotExec
	if se.Failure.Errno == unix.ENOENT {
		code = exitNotFound
	}
	if hint := hintAfterFailedExec(p, inv, se.Failure.Errno); hint != "" {
		return code, hint
	}
	f := *se.Failure
	f.Step.Name = clip(inv.args[0])
	return code, f.Error()
}

// insideOf is the view of the policy for the caller, for the hints. It is
// computed only after something went wrong.
func insideOf(p *policy.Policy, inv *invocation) (*view, error) {
	p = p.Clone()
	inv.args = showCommand(p, inv.args)
	p, err := expand(p)
	if err != nil {
		return nil, err
	}
	return newView(p, realHost{}, callersCredentials(p), callersIDs(), 0), nil
}

func callersIDs() credentials {
	return credentials{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())}
}

func hintAfterFailedExec(p *policy.Policy, inv *invocation, errno unix.Errno) string {
	v, err := insideOf(p, inv)
	if err != nil {
		return ""
	}
	cwd, _ := os.Getwd()
	s := &search{v: v, outside: os.Getenv("PATH"), inside: pathOf(v.p.Environ(os.Environ())), cwd: cwd}
	return s.hiddenCommand(inv.args[0], errno)
}

func hintAfterExit(p *policy.Policy, inv *invocation, code int) string {
	v, err := insideOf(p, inv)
	if err != nil {
		return ""
	}
	caller, _ := os.Getwd()
	if code == exitNotFound || code == exitCannotExec {
		env := v.p.Environ(os.Environ())
		s := &search{v: v, outside: os.Getenv("PATH"), inside: pathOf(env), libraries: variable(env, "LD_LIBRARY_PATH"), cwd: caller}
		if hint := s.hiddenLibraries(inv.args[0]); hint != "" {
			return hint
		}
		// It may be the word of env(1) or of a shell, too, about another command.
		return s.hiddenInWords(inv.args)
	}
	hint := failedToWrite(v, inv.args, caller)
	if hint == "" && p.SeccompProfile != nil && !inv.audit {
		hint = "if it said \"Operation not permitted\": the policy allows the system calls that it lists, and --audit tells which one was refused"
	}
	return hint
}
