package supervise

import (
	"strings"
	"testing"

	"github.com/cloche-sandbox/cloche/policy"
)

// TestUnlimited: an executable that goes without a limit says so when it is made.
func TestUnlimited(t *testing.T) {
	for _, c := range []struct {
		limits policy.Limits
		want   string // the beginning; "": nothing
	}{
		{},
		{limits: policy.Limits{WhereAvailable: []string{"pids"}}},
		{limits: policy.Limits{Pids: 5, WhereAvailable: []string{"pids"}, Parent: "/sys/fs/cgroup/x"}, want: "limits.pids (my.toml:3): the policy says where-available, which is decided where the executable runs: limited if a cgroup made in /sys/fs/cgroup/x "},
		{limits: policy.Limits{Pids: 5, Parent: "/sys/fs/cgroup/x"}},
		{limits: policy.Limits{Pids: 5, WhereAvailable: []string{"pids"}}, want: "limits.pids (my.toml:3): nothing says "},
		{limits: policy.Limits{Memory: 1 << 20, CPUWeight: 7, Pids: 5}, want: "limits.memory, limits.cpu-weight, limits.pids (my.toml:3): nothing says "},
	} {
		p := policy.New()
		p.Limits, p.Origins = c.limits, map[string]string{"limits.pids": "my.toml:3"}
		if got := unlimited(p); !strings.HasPrefix(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%+v: %q, want %q", c.limits, got, c.want)
		}
	}
}
