package supervise

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/seccomp"
	"github.com/cloche-sandbox/cloche/seccomp/profile"
)

// filter is a policy's, compiled.
type filter struct {
	prog  []unix.SockFilter // nil: there is none
	flags uint
	notes []string
}

// loadFlags are those that a profile may ask for. In the image TSYNC has one thread to
// synchronise, and WAIT_KILLABLE_RECV belongs to a listener.
const loadFlags = unix.SECCOMP_FILTER_FLAG_LOG | unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW

// filterOf compiles a policy's filter, where it is not a built-in one as it is: the
// programs of those are there.
func filterOf(p *policy.Policy, facts *host.Facts) (filter, error) {
	if name, plain := p.PlainSeccomp(); plain {
		prog, ok := profile.Precompiled(name, facts.GOARCH)
		if !ok {
			return filter{}, filterError(p, "there is no such seccomp profile", fmt.Sprintf("use one of %v", policy.SeccompProfiles()))
		}
		return filter{prog: prog}, nil
	}
	rules, archs, notes, err := profileOf(p, facts)
	if err != nil {
		return filter{}, err
	}
	prog, err := seccomp.Compile(rules, archs...)
	if err != nil {
		return filter{}, filterError(p, err.Error(), "`cloche seccomp show` shows the profile")
	}
	return filter{prog: prog, flags: rules.Flags & loadFlags, notes: notes}, nil
}

// profileOf is what a policy's filter is compiled from, and what a person should know of it.
func profileOf(p *policy.Policy, facts *host.Facts) (seccomp.Profile, []seccomp.Arch, []string, error) {
	arch, ok := seccomp.ArchByName(facts.GOARCH)
	if !ok {
		return seccomp.Profile{}, nil, nil, filterError(p, "there are no filters for "+facts.GOARCH, "run it on amd64 or arm64")
	}
	rules, archs, warnings, err := p.Filter(arch, facts.KernelVersion())
	if err != nil {
		return seccomp.Profile{}, nil, nil, err
	}
	var notes []string
	for _, w := range warnings {
		notes = append(notes, "seccomp: "+w.String())
	}
	if !p.Keyring && rules.MayPass(arch, "keyctl") {
		notes = append(notes, "seccomp: the filter lets keyctl pass, so the caller's session keyring can be reached; to give the command a fresh one: keyring = true")
	}
	return rules, archs, notes, nil
}

func filterError(p *policy.Policy, why, fix string) error {
	return &plan.Error{Setting: "seccomp " + p.SeccompName(), Origin: p.Origins["seccomp.profile"], Why: why, Fix: fix}
}
