package sandbox

import (
	"os"
	"syscall"

	"github.com/cloche-sandbox/cloche/internal/supervise"
)

// ExplainVariable is the environment variable with which a program that called
// Exec is started again when something is to be explained; see Explain.
const ExplainVariable = supervise.ExplainVariable

// Exec replaces the calling program by the sandbox, as execve(2) would: the
// process keeps its id, its standard streams and its place in the caller's job,
// passes signals on, and ends as the command ends. Nothing of the Go program is
// left, so nothing can be asked about it afterwards: ok is false, and nothing
// was done, where the policy or the streams need a program that waits (a
// terminal, a limit other than of processes, extra files, streams that are not
// the program's own).
//
// argv are the program's own arguments, of which the command's begin at skip. When
// the command ends with an exit code other than 0, or could not be started, the
// program is executed again with the same arguments and environment and with
// ExplainVariable set, to say why; it then must call Explain and do nothing else.
func (c *Cmd) Exec(argv []string, skip int) (ok bool, err error) {
	if c.Stdin != os.Stdin || c.Stdout != os.Stdout || c.Stderr != os.Stderr || len(c.mine) > 0 {
		return false, nil
	}
	spec, err := c.spec()
	if err != nil {
		return true, err
	}
	spec.Terminal = c.terminalStreams()
	if !supervise.CanBecome(spec) {
		return false, nil
	}
	argv = append(argv[:skip:skip], spec.Args...) // a command that the policy shows may have another path inside
	return true, supervise.Become(spec, argv, skip)
}

// Explain reads what value, ExplainVariable's, reports: the exit code of the
// command, and the error that kept it from running, if one did.
func (c *Cmd) Explain(value string, skip int) (code int, err error) {
	u, ok := supervise.ParseUnexplained(value)
	if !ok {
		return 125, syscall.EINVAL
	}
	spec, err := c.spec()
	if err != nil {
		return 125, err
	}
	return u.ExitCode, u.Failure(spec, skip)
}
