package bwrap_test

import (
	"strings"
	"testing"

	"github.com/cloche-sandbox/cloche/internal/needs"
)

// TestWhoLooksAtPid1: its user can where the command line asks for its pid, to look at its
// namespaces, and not otherwise.
func TestWhoLooksAtPid1(t *testing.T) {
	needs.Programs(t, "grep", "readlink")
	const script = `until grep -q "^Seccomp:.2" /proc/1/status; do sleep 0.02; done; readlink /proc/1/ns/mnt /proc/1/root; cat /proc/1/environ | head -c 1 | wc -c; grep CapPrm /proc/1/status`
	for name, who := range callers() {
		for _, c := range []struct {
			option string
			may    bool
		}{{"", false}, {"--unshare-net --die-with-parent", false}, {"--info-fd 2", true}, {"--json-status-fd 2", true}} {
			t.Run(name+"/"+c.option, func(t *testing.T) {
				t.Parallel()
				if name == "root" {
					// In a user namespace of its own it has no more rights over an undumpable process than others.
					c.option += " --unshare-user"
				}
				line := "--unshare-pid --ro-bind / / --proc /proc --cap-drop ALL " + c.option
				r := start(t, who, "/", ours(t), append(strings.Fields(line), "sh", "-c", script))
				if looked := strings.Contains(r.stdout, "mnt:["); r.code != 0 || looked != c.may || !strings.Contains(r.stdout, "CapPrm:\t0000000000000000") {
					t.Errorf("exit %d, may look %v, want %v\n%s%s", r.code, looked, c.may, r.stdout, r.stderr)
				}
			})
		}
	}
}
