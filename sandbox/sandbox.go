// Package sandbox runs commands that nobody trusts. It reads like os/exec:
//
//	p, _ := policy.Builtin("default")
//	cmd := sandbox.Command(ctx, p, "python3", "-c", "print(6*7)")
//	out, err := cmd.Output()
//
// What a command may do is said by a policy.Policy alone.
package sandbox

import (
	"context"
	"io"
	"os"

	"github.com/cloche-sandbox/cloche/policy"
)

// Cmd is a command to be run in a sandbox, or one that runs or ran.
type Cmd struct {
	// Policy says what the command may do. Where it shows the records of this user's sandboxes, they are
	// hidden all the same, unless it names their very directory.
	Policy *policy.Policy
	// Args[0] is looked up in the PATH inside, unless it holds a slash. A policy
	// with ShowCommand, such as the judge profile, finds the file outside, a
	// relative path from Dir, and shows it inside.
	Args []string

	// Stdin, Stdout and Stderr are as in os/exec: nil is /dev/null, an *os.File
	// is passed on as it is, anything else is copied by a goroutine.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	ExtraFiles     []*os.File // file descriptors 3, 4, … inside

	// Notify has system calls of the command answered by a function of this
	// program; nil: by the kernel alone.
	Notify *Notify

	// Audit has each call that the policy's filter denies seen, answered as the
	// filter says, and listed in Result.Denied. It is as Notify is, with which it can't be had.
	Audit bool

	// Env is the environment that the policy's rules are applied to; nil: os.Environ().
	// Of a command made by Join it is the whole environment; nil: what the policy sets.
	Env []string
	// Dir is what relative paths of the policy mean; empty: the current directory.
	Dir string
	// Name becomes part of the sandbox's cgroup's name; may be empty.
	Name string
	// OnTerminal, with a policy whose Terminal is TerminalAlways, receives the master of the
	// command's terminal before the command runs: the caller reads what it prints and closes it.
	// Stdin, Stdout and Stderr are not used then.
	OnTerminal func(master *os.File)

	// Pausable asks for a cgroup of its own that can be frozen, where this user may make one.
	Pausable bool
	// Decided is called when all is decided and nothing is started, with what a command
	// needs to know that is to join, but for a PID, and the directories of the cgroup.
	Decided func(t *Target, cgroups []string)
	// Detached is for Exec: limits keep no program waiting beside the sandbox, and the program is
	// started again at every end, see Explain.
	Detached bool
	// Parked says that Start is called on a goroutine locked to a thread that
	// lives as long as the program, such as main's after runtime.LockOSThread in
	// an init function. Then that thread starts the sandbox, else one kept for it.
	Parked bool

	ctx     context.Context
	joining *Target // nil: a sandbox is made
	process
}

// Command returns a Cmd that runs name with args under p.
func Command(ctx context.Context, p *policy.Policy, name string, args ...string) *Cmd {
	return &Cmd{ctx: ctx, Policy: p, Args: append([]string{name}, args...)}
}
