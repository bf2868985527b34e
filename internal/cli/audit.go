package cli

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/sandbox"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// reportDenied is the end of `cloche run --audit`: a line for each kind of call
// that the filter denied.
func reportDenied(inv *invocation, p *policy.Policy, r *sandbox.Result) {
	if r == nil {
		return
	}
	for _, d := range r.Denied {
		rule := d.Reason
		if d.Group != "" {
			rule = strings.TrimSuffix(d.Group+": "+rule, ": ")
		}
		complain(fmt.Sprintf("audit: %s: %s, count %d, first by %s (pid %d): %s; %s",
			d.Call, d.Action, d.Count, clip(d.Program), d.PID, rule, howToAllow(inv, p, d.Call)))
	}
	if r.MoreDenied > 0 {
		complain(fmt.Sprintf("audit: and %d calls of more kinds than are kept", r.MoreDenied))
	}
}

// howToAllow names what a policy's own rules need, or the narrowest built-in filter
// that allows a call.
func howToAllow(inv *invocation, p *policy.Policy, call string) string {
	if p.SeccompProfile != nil && inv.policyFile != "" {
		return fmt.Sprintf("to allow it: cloche learn --append -o %s -- …, or in a [[seccomp.group]] of that file: { action = \"allow\", calls = [%q] }", clip(inv.policyFile), call)
	}
	arch, ok := seccomp.ArchByName(runtime.GOARCH)
	data, err := seccomp.ParseCall(call, arch)
	if !ok || err != nil {
		return "no built-in filter knows it"
	}
	for _, name := range [...]string{"default", "build"} {
		if p, ok := seccomp.Builtin(name); ok && seccomp.Decide(p, arch, data).Action == seccomp.Allow {
			return "--seccomp " + name + " allows it"
		}
	}
	return "of the built-in filters only none allows it"
}
