package cli_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cloche-sandbox/cloche/internal/named"
)

// The scripts in testdata/script read like a manual. They run as root where
// root runs the tests, and as an ordinary user.
func TestScripts(t *testing.T) {
	asRootAndUser(t, func(t *testing.T) {
		before := mounts(t)
		testscript.Run(t, testscript.Params{
			Dir:       "testdata/script",
			Condition: requiredCondition(t),
			Setup: func(e *testscript.Env) error {
				e.Setenv("UID", strconv.Itoa(os.Geteuid()))
				e.Setenv("LANG", "C")
				e.Setenv(named.DirVariable, e.WorkDir+"/.sandboxes")
				e.Setenv("XDG_STATE_HOME", e.WorkDir+"/.state")
				return nil
			},
			Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
				"status": status,
			},
		})
		t.Cleanup(func() {
			for line := range strings.Lines(mounts(t)) { // others may have gone: the end of a login session takes some along
				if !strings.Contains(before, line) {
					t.Errorf("a mount was left behind: %s", line)
				}
			}
		})
	})
}

// status runs a program and wants an exit status: status 127 cloche run -- nope.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N program [args...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	code := 0
	var ee *exec.ExitError
	switch {
	case errors.As(err, &ee):
		code = ee.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if code != want {
		ts.Fatalf("exit status %d, want %d", code, want)
	}
}

func mounts(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// requiredCondition is condition, but that nothing that this machine could have
// run counts as missing when everything is required of it.
func requiredCondition(t *testing.T) func(string) (bool, error) {
	return func(name string) (bool, error) {
		ok, err := condition(name)
		if err != nil {
			return false, fmt.Errorf("unknown condition [%s]", name)
		}
		if !ok && os.Getenv("CLOCHE_REQUIRE") == "all" && couldHave(name) {
			t.Errorf("[%s] does not hold here, and CLOCHE_REQUIRE=all", name)
		}
		return ok, nil
	}
}

// couldHave reports whether a machine with Debian's packages, which the tests
// install, has what a condition asks for. Cgroups of an ordinary user need
// a delegation that a container may not have.
func couldHave(name string) bool {
	switch name {
	case "user", "root":
		return false
	case "cgroup":
		return os.Geteuid() == 0
	}
	return name == "userns" || name == "landlock" || name == "overlay" || strings.HasPrefix(name, "inside:")
}
