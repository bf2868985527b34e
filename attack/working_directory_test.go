package attack

import (
	"strings"
	"testing"

	"github.com/cloche-sandbox/cloche/policy"
)

// TestWorkingDirectoryOutside: a directory that is open leads out when it is where the
// command starts (CVE-2024-21626). No layer has to stop that: the run is refused.
func TestWorkingDirectoryOutside(t *testing.T) {
	o, err := newOutside()
	if err != nil {
		t.Fatal(err)
	}
	defer o.close()
	if err := o.besideSecret(); err != nil {
		t.Fatal(err)
	}
	base, _ := policy.Builtin("default")
	b, err := SandboxOf(base, o, []string{"landlock off", "cwd /proc/self/fd/3"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Run(t.Context(), []string{"/bin/true"}, o.Files, nil)
	if err == nil || !strings.Contains(err.Error(), "not below the root") {
		t.Errorf("a working directory outside: %v", err)
	}
}
