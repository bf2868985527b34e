// Package needs says what a test cannot do without: where it is missing the test
// skips by name, and where everything is required of the machine
// (CLOCHE_REQUIRE=all, as .ci/run has it) it fails. Only tests import it.
package needs

import (
	"os"
	"os/exec"
	"testing"
)

// Skip skips a test for what is missing on a machine that could have it.
func Skip(t testing.TB, missing string) {
	t.Helper()
	if os.Getenv("CLOCHE_REQUIRE") == "all" {
		t.Fatalf("%s, and CLOCHE_REQUIRE=all", missing)
	}
	t.Skip(missing)
}

// Programs skips a test whose programs are not installed.
func Programs(t testing.TB, names ...string) {
	t.Helper()
	for _, p := range names {
		if _, err := exec.LookPath(p); err != nil {
			Skip(t, p+" is not installed")
		}
	}
}
