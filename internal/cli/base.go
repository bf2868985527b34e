package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cloche-sandbox/cloche/internal/document"
	"github.com/cloche-sandbox/cloche/internal/named"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/seccomp/profile"
)

// maxPolicyFile is more than policy.Resolve takes of a policy, or a seccomp profile, so
// that the refusal of a file that is too long is its own; no more of a huge or endless
// file is read.
const maxPolicyFile = profile.MaxSize + 1

// policy is the policy that the command line asks for, not yet expanded: the
// profile or the policy file, then the flags in the order written.
func (i *invocation) policy() (*policy.Policy, error) {
	p, err := i.base()
	if err != nil {
		return nil, err
	}
	for _, s := range i.settings {
		if err := s.flag.Apply(p, s.value); err != nil {
			return nil, err
		}
	}
	if err := p.LoadSeccomp(readProfileFile); err != nil {
		return nil, err
	}
	return p, nil
}

func (i *invocation) base() (*policy.Policy, error) {
	switch {
	case i.policyFile != "" && i.profile != "":
		return nil, errors.New("--profile and --policy: a policy file names its own base with extends; give one of the two")
	case i.policyFile != "":
		file, data, err := readPolicyFile(i.policyFile)
		if err != nil {
			return nil, err
		}
		return policy.Resolve(file, data, readPolicyFile)
	case i.wasGiven("policy"):
		return nil, errors.New("--policy \"\": an empty path; name a policy file, or leave it out")
	case i.profile == "" && !i.wasGiven("profile"):
		i.profile = "default"
	}
	p, ok := policy.Builtin(i.profile)
	if !ok {
		return nil, unknownProfile(i.profile)
	}
	return p, nil
}

func (i *invocation) wasGiven(name string) bool {
	for _, g := range i.given {
		if g.name == name {
			return true
		}
	}
	return false
}

func unknownProfile(name string) error {
	s := fmt.Sprintf("unknown profile %q", clip(name))
	if near := document.Nearest(name, policy.Builtins()); near != "" {
		return fmt.Errorf("%s: did you mean %q?", s, near)
	}
	if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
		return fmt.Errorf("%s: it is a file; write --policy %s", s, clip(name))
	}
	return fmt.Errorf("%s: `cloche profiles` lists them; for a policy file write --policy FILE", s)
}

// readPolicyFile reads a policy, the base that one extends, or the seccomp profile
// that one names.
func readPolicyFile(name string) (string, []byte, error) {
	data, err := readFile(name)
	if err != nil {
		return "", nil, fmt.Errorf("policy %s: %s", clip(name), whyFile(err))
	}
	return name, data, nil
}

// readProfileFile reads the seccomp profile that a flag names.
func readProfileFile(name string) (string, []byte, error) {
	data, err := readFile(name)
	if err != nil {
		return "", nil, errors.New(whyFile(err))
	}
	return name, data, nil
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxPolicyFile))
}

// expanded is the policy with absolute paths, checked.
func (i *invocation) expanded() (*policy.Policy, error) {
	p, err := i.policy()
	if err != nil {
		return nil, err
	}
	return expand(p)
}

// expand makes a policy what package sandbox makes of it before it starts anything, but for a
// directory that it would make.
func expand(p *policy.Policy) (*policy.Policy, error) {
	p, err := expandAnywhere(p)
	if err != nil {
		return nil, err
	}
	dir, err := named.Dir()
	if err != nil {
		return p, nil // then no command looks for records
	}
	q, err := named.Hide(p, dir, false)
	if err != nil || q == p {
		return q, err
	}
	return q, policy.Validate(q)
}

// expandAnywhere makes the paths of a policy absolute for the caller, and checks it: what holds of it
// on other machines, too, and for other users.
func expandAnywhere(p *policy.Policy) (*policy.Policy, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("the working directory can't be found: %w; cd to one that exists", err)
	}
	if err := policy.Expand(p, os.Getenv("HOME"), dir); err != nil {
		return nil, err
	}
	if err := policy.Validate(p); err != nil {
		return nil, err
	}
	return p, nil
}
