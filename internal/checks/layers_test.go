package checks

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// layers are the packages from the bottom to the top, docs/design.md section 4. A
// package may import those of the layers below its own.
var layers = [][]string{
	{"internal/needs", "internal/libseccomp"}, // what tests stand on
	{"seccomp", "internal/document", "internal/host"},
	{"seccomp/profile"},
	{"policy"},
	{"policy/internal/genbuiltin", "seccomp/internal/genfilters", "seccomp/internal/gentables", "seccomp/profile/internal/gendocker"},
	{"internal/cgroup", "internal/learn", "internal/program"},
	{"internal/cgroup/systemd", "internal/inspect", "internal/observe", "internal/oci/cgroups", "internal/plan", "internal/state"},
	{"internal/launcher", "internal/named", "internal/overlay"},
	{"internal/supervise"},
	{"internal/bwrap", "internal/oci"},
	{"internal/prelude", "internal/oci/early", "internal/oci/late"},
	{"sandbox"},
	{"attack"},
	{"internal/cli"},
	{"internal/cli/early", "internal/cli/tree", "internal/bwrap/early"},
	{"cmd/cloche", "cmd/bwrap"},
}

// users are above all layers: nothing of the program may import them.
var users = []string{"bench", "attack/peers", "internal/checks", "internal/oci/engines", "internal/vmtest", "internal/vmtest/guest"}

// leaves may import less than their layer would let them: host and cgroup are
// of use without a plan, and plan and launcher decide without looking.
var leaves = map[string][]string{
	"internal/needs":          {},
	"internal/libseccomp":     {},
	"internal/document":       {},
	"policy":                  {"internal/document", "seccomp", "seccomp/profile"},
	"seccomp":                 {},
	"internal/host":           {},
	"internal/learn":          {"policy", "seccomp"},
	"internal/observe":        {"internal/host", "internal/learn", "internal/program", "policy", "seccomp"},
	"internal/inspect":        {"internal/host", "policy", "internal/cgroup"},
	"internal/named":          {"policy", "internal/cgroup", "internal/document", "internal/inspect", "internal/plan", "internal/state"},
	"internal/overlay":        {"internal/host", "policy", "internal/state"},
	"internal/cgroup":         {"internal/host", "policy"},
	"internal/oci/cgroups":    {"internal/cgroup"},
	"internal/state":          {"internal/cgroup", "internal/host"},
	"internal/program":        {"policy"},
	"seccomp/profile":         {"internal/document", "seccomp"},
	"internal/plan":           {"policy", "seccomp", "internal/host"},
	"internal/launcher":       {"policy", "seccomp", "internal/host", "internal/plan"},
	"internal/cgroup/systemd": {"policy", "internal/cgroup", "internal/host"},
}

// layerOf is the number of a folder's layer, from 0 at the bottom; -1: it has none.
func layerOf(dir string) int {
	for i, l := range layers {
		if slices.Contains(l, dir) {
			return i
		}
	}
	for _, u := range users {
		if dir == u || strings.HasPrefix(dir, u+"/") {
			return len(layers)
		}
	}
	return -1
}

// ownImport is the folder of an import, if it is one of this repository.
func ownImport(path string) (dir string, own bool) {
	return strings.CutPrefix(path, module+"/")
}

// TestImportsPointDown holds for the tests inside a package too. A package
// x_test is a user of x and may take what it likes.
func TestImportsPointDown(t *testing.T) {
	seen := make(map[string]bool)
	for _, f := range source(t) {
		mine := layerOf(f.dir)
		if mine < 0 {
			t.Errorf("%s: package %s has no layer: add it to layers, and to docs/design.md", f.name, f.dir)
			continue
		}
		seen[f.dir] = true
		if f.external {
			continue
		}
		for _, path := range f.imports {
			dir, own := ownImport(path)
			if !own {
				continue
			}
			if its := layerOf(dir); its >= mine && mine < len(layers) {
				t.Errorf("%s imports %s, which is not below it: move what it needs down, or pass it in", f.name, dir)
				continue
			}
			if only, leaf := leaves[f.dir]; leaf && !f.test && !slices.Contains(only, dir) {
				t.Errorf("%s imports %s: package %s may import %s alone", f.name, dir, f.dir, orNothing(only))
			}
		}
	}
	for _, l := range layers {
		for _, dir := range l {
			if !seen[dir] {
				t.Errorf("layers names %s, which is not there: take it out, here and in docs/design.md", dir)
			}
		}
	}
}

func orNothing(list []string) string {
	if len(list) == 0 {
		return "nothing of Cloche"
	}
	return strings.Join(list, ", ")
}

// heavy are packages that cost start-up time or bring a resolver, a regular
// expression engine or a message bus into programs that only want a sandbox.
func heavy(path string) bool {
	for _, p := range []string{
		"net", "os/user", "plugin", "regexp", "text/template", "crypto",
		"github.com/spf13/cobra", "github.com/spf13/pflag", "github.com/godbus/dbus", "github.com/coreos/go-systemd",
	} {
		if path == p || strings.HasPrefix(path, p+"/") {
			return true
		}
	}
	return false
}

// TestLightPackages is about the library, and about what `cloche run` needs.
func TestLightPackages(t *testing.T) {
	source(t) // so that a cached result knows what it depends on
	for _, dir := range []string{"policy", "seccomp", "sandbox", "internal/cli/early"} {
		for _, path := range goList(t, "-deps", "./"+dir) {
			if heavy(path) {
				t.Errorf("%s depends on %s: `go mod why` and `go list -deps` tell by which way; take it out", dir, path)
			}
		}
	}
}

// goList runs the go command that runs this test.
func goList(t *testing.T, args ...string) []string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir = root
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, stderr.String())
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if lines[0] == "" {
		t.Fatalf("%v: no output", cmd)
	}
	return lines
}
