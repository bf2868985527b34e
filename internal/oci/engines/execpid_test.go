package engines

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cloche-sandbox/cloche/internal/needs"
)

// joinedBy runs a command in a container by `cloche exec --pid`, which must find there what the engine's own
// exec finds: namespaces, cgroups, ids, capabilities, host name, environment and directory. (It has no_new_privs always.)
func (m *machine) joinedBy(t *testing.T, as []string, pid string, exec ...string) {
	t.Helper()
	if !under("cloche-oci") {
		needs.Elsewhere(t, "needs cloche beside the runtime under test")
	}
	const look = `for n in user mnt pid net ipc uts cgroup; do readlink /proc/self/ns/$n; done
		grep -E '^(Uid|Gid|Cap(Prm|Eff|Bnd)|Seccomp):' /proc/self/status; cat /proc/self/cgroup; hostname; pwd; echo $WORD; cat /proc/1/comm`
	want := m.run(t, append(exec, "sh", "-c", look)...)
	cloche := filepath.Join(filepath.Dir(ociRuntime), "cloche")
	got := m.run(t, append(append([]string{}, as...), cloche, "exec", "--pid", pid, "--", "sh", "-c", look)...)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the engine's exec - exec --pid +\n%s", d)
	}
}
