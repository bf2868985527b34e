package cli

import (
	"fmt"
	"strings"

	"github.com/cloche-sandbox/cloche/seccomp"
)

// syscall is about what the seccomp filter answers: "ptrace", or with arguments
// "socket(AF_INET, SOCK_STREAM, 0)". Those that are left out are 0.
func (o *oracle) syscall(about string) (answer, error) {
	arch, ok := seccomp.ArchByName(o.arch)
	if !ok {
		return answer{}, fmt.Errorf("no filter is known for the architecture %s", o.arch)
	}
	call, err := seccomp.ParseCall(about, arch)
	if err != nil {
		return answer{}, err
	}
	rule := o.originRule("seccomp.profile", o.p.SeccompName())
	if !o.p.Filtered() {
		return answer{Yes: true, Why: "there is no filter; what the call then needs is for the kernel to check", Rule: rule}, nil
	}
	profile, _, _, err := o.p.Filter(arch, o.kernel)
	if err != nil {
		return answer{}, err
	}
	d := seccomp.Decide(profile, arch, call)
	if d.Origin != "" {
		rule = fmt.Sprintf("a rule of seccomp group %s (%s)", d.Group, d.Origin)
	}
	a := answer{Rule: rule, Yes: d.Action == seccomp.Allow || d.Action == seccomp.Log}
	var why []string
	if d.Group != "" {
		why = append(why, d.Group)
	}
	if d.Reason != "" {
		why = append(why, d.Reason)
	}
	a.Why = strings.Join(why, ": ")
	if a.Yes {
		a.Why = strings.TrimSuffix("the filter allows it: "+a.Why, ": ")
		return a, nil
	}
	a.Why = strings.TrimSuffix("the filter answers "+d.Action.String()+": "+a.Why, ": ")
	for _, name := range seccomp.Builtins() {
		if name == "none" {
			continue // no advice
		}
		other, ok := seccomp.Builtin(name)
		if got := seccomp.Decide(other, arch, call).Action; ok && (got == seccomp.Allow || got == seccomp.Log) {
			a.Fix = "--seccomp " + name
			break
		}
	}
	return a, nil
}
