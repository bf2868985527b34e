package sandbox_test

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// TestOwnFilter: rules of a Go program's own, before a profile or instead of one, are
// what the command runs under, with an audit and without.
func TestOwnFilter(t *testing.T) {
	needs.Programs(t, "python3")
	personality := func(a seccomp.Action) []seccomp.Group {
		return []seccomp.Group{{Name: "@mine", Reason: "a test", Rules: []seccomp.Rule{{Syscalls: []string{"personality"}, Action: a}}}}
	}
	const asks = "import ctypes; libc = ctypes.CDLL(None, use_errno=True); print(libc.personality(0x0040000), ctypes.get_errno())"
	for name, c := range map[string]struct {
		change func(*policy.Policy)
		want   string
	}{
		"default": {func(*policy.Policy) {}, "-1 1\n"},
		"groups":  {func(p *policy.Policy) { p.SeccompGroups = personality(seccomp.Allow) }, "0 0\n"},
		"denies":  {func(p *policy.Policy) { p.SeccompGroups = personality(seccomp.Errno(unix.ENOMEM)) }, "-1 12\n"},
		"before none": {func(p *policy.Policy) {
			p.Seccomp, p.SeccompGroups = "none", personality(seccomp.Errno(unix.ENOMEM))
		}, "-1 12\n"},
		"whole": {func(p *policy.Policy) {
			p.Seccomp, p.SeccompProfile = "", &seccomp.Profile{
				Name: "mine", Default: seccomp.Allow, Unknown: seccomp.Allow, BadArch: seccomp.KillProcess,
				Groups: personality(seccomp.Errno(unix.EIO)),
			}
		}, "-1 5\n"},
		"docker": {func(p *policy.Policy) { p.Seccomp = "docker" }, "-1 1\n"},
	} {
		for _, audit := range []bool{false, true} {
			p := defaults(t)
			c.change(p)
			cmd := command(t, p, "python3", "-c", asks)
			cmd.Audit = audit
			out, err := cmd.CombinedOutput()
			if err != nil || string(out) != c.want {
				t.Errorf("%s, audit %v: %q, %v; want %q", name, audit, out, err, c.want)
			}
			if audit && strings.HasPrefix(c.want, "-1") && len(cmd.Result().Denied) == 0 {
				t.Errorf("%s: nothing was denied", name)
			}
		}
	}
}
