package attack

import (
	"testing"

	"github.com/cloche-sandbox/cloche/policy"
)

// TestProfiles: nothing gets out of a built-in profile. The open one is not tried: it
// has the host's files, network and calls, as its description says.
func TestProfiles(t *testing.T) {
	t.Chdir(t.TempDir()) // a profile may show it
	for _, name := range policy.Builtins() {
		if name == "open" {
			continue
		}
		limited, _ := policy.Builtin(name)
		// An ordinary user may have no cgroup to limit: only attacks on limits need one.
		unlimited := limited.Clone()
		unlimited.Limits = policy.Limits{}
		unlimited.Time.CPU = 0
		for _, a := range Corpus() {
			p := unlimited
			if len(a.Limits) > 0 {
				p = limited
			}
			out, err := a.Under(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			if out.Verdict == Escaped {
				t.Errorf("profile %s: %+v", name, out)
			}
			if out.Verdict == Stopped && out.Sign == "error" {
				t.Errorf("profile %s: stopped by nothing that has a name: %+v", name, out)
			}
		}
	}
}
