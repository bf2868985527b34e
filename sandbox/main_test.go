package sandbox_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/sandbox"
)

// helpers are what the test binary does when it is started as something else
// than a test, by the value of the variable role.
var helpers = map[string]func(){}

const role = "CLOCHE_TEST_ROLE"

// TestMain runs the tests as who runs it and, if that is root, again as an
// ordinary user.
func TestMain(m *testing.M) {
	if f := helpers[os.Getenv(role)]; f != nil {
		f()
		os.Exit(0)
	}
	code := inOwnTemp(m.Run)
	if code == 0 && os.Geteuid() == 0 {
		code = needs.OrdinaryUser()
	}
	os.Exit(code)
}

// inOwnTemp runs the tests with a directory for temporary files that is theirs
// alone, so that what is left in it is theirs too.
func inOwnTemp(run func() int) int {
	dir, err := os.MkdirTemp("", "cloche-sandbox-")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(dir)
	os.Setenv("TMPDIR", dir)
	return run()
}

// defaults is the default profile, in a directory of the test's own.
func defaults(t testing.TB) *policy.Policy {
	t.Helper()
	p, ok := policy.Builtin("default")
	if !ok {
		t.Fatal("no default profile")
	}
	return p
}

// defaultsForHelper is the default profile where there is no test to fail.
func defaultsForHelper() *policy.Policy {
	p, _ := policy.Builtin("default")
	return p
}

// with applies flags of `cloche run` to a policy: name, value, name, value.
func with(t testing.TB, p *policy.Policy, flags ...string) *policy.Policy {
	t.Helper()
	for i := 0; i+1 < len(flags); i += 2 {
		f := policy.FlagNamed(flags[i])
		if f == nil {
			t.Fatalf("no flag %s", flags[i])
		}
		if err := f.Apply(p, flags[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// limited makes a policy with limits that need a cgroup, where one can be had:
// root here; for others it is refused by name, which is tested for.
func limited(t testing.TB, p *policy.Policy, flags ...string) *policy.Policy {
	t.Helper()
	p = with(t, p, flags...)
	err := sandbox.Command(context.Background(), p, "true").Run()
	if err != nil {
		if strings.Contains(err.Error(), "cgroup") {
			needs.Root(t, "an ordinary user may make no cgroup here: "+err.Error())
		}
		t.Fatal(err)
	}
	return p
}

func output(t testing.TB, p *policy.Policy, name string, args ...string) string {
	t.Helper()
	c := sandbox.Command(context.Background(), p, name, args...)
	c.Dir = t.TempDir()
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func command(t testing.TB, p *policy.Policy, name string, args ...string) *sandbox.Cmd {
	t.Helper()
	c := sandbox.Command(context.Background(), p, name, args...)
	c.Dir = t.TempDir()
	return c
}
