package cli

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/cloche-sandbox/cloche/sandbox"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// reportDenied is the end of `cloche run --audit`: a line for each kind of call
// that the filter denied.
func reportDenied(r *sandbox.Result) {
	if r == nil {
		return
	}
	for _, d := range r.Denied {
		rule := d.Reason
		if d.Group != "" {
			rule = strings.TrimSuffix(d.Group+": "+rule, ": ")
		}
		complain(fmt.Sprintf("audit: %s: %s, count %d, first by %s (pid %d): %s; %s",
			d.Call, d.Action, d.Count, clip(d.Program), d.PID, rule, howToAllow(d.Call)))
	}
	if r.MoreDenied > 0 {
		complain(fmt.Sprintf("audit: and %d calls of more kinds than are kept", r.MoreDenied))
	}
}

// howToAllow names the narrowest built-in filter that allows a call.
func howToAllow(call string) string {
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
