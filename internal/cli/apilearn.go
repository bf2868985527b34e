package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/sandbox"
)

// What `cloche learn` needs. It is in package tree, as what it imports would make
// every `cloche run` start later.

// Output is the file that -o names.
func (i *invocation) Output() string { return i.output }

// SetArgs sets the command and its arguments.
func (i *invocation) SetArgs(args []string) { i.args = args }

// Has reports whether a flag of the policy was given.
func (i *invocation) Has(flag string) bool {
	return slices.ContainsFunc(i.settings, func(s setting) bool { return s.flag.Name == flag })
}

// StartFromOutput makes the policy of the runs before this one the base of it.
func (i *invocation) StartFromOutput() error {
	_, err := os.Lstat(i.output)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("-o %s: %s", clip(i.output), whyFile(err))
	case !i.more:
		return fmt.Errorf("-o %s: it is there already; to add what this run needs: --append, else remove it first", clip(i.output))
	case i.wasGiven("profile") || i.wasGiven("policy"):
		return fmt.Errorf("--append: %s is the policy to start from; leave --profile and --policy out", clip(i.output))
	}
	i.policyFile = i.output
	return nil
}

// Notified runs the command under a policy, with its calls answered by a function.
// ran is false when it never ran, of which everything is said then.
func (i *invocation) Notified(p *policy.Policy, n *sandbox.Notify) (code int, ran bool, err error) {
	a := &attempt{inv: i, policy: p}
	cmd := a.command()
	cmd.Notify = n
	if code, err = a.supervised(cmd); err != nil {
		code, message := startFailure(p, i, err)
		complain(message)
		return code, false, nil
	}
	r := cmd.Result()
	return code, r != nil && r.Reason != sandbox.Setup, nil
}

// Complain writes one line to stderr.
func Complain(message string) { complain(message) }

// Expand makes the paths of a policy absolute for the caller, and checks it.
func Expand(p *policy.Policy) (*policy.Policy, error) { return expand(p) }

// WriteOut writes the file that -o names, or stdout where it names none.
func WriteOut(name string, data []byte) error { return writeOut(name, data) }
