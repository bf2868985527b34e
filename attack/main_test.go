package attack

import (
	"os"
	"testing"

	"github.com/cloche-sandbox/cloche/internal/needs"
)

// TestMain plays the parts of attacks, and else runs the tests as who runs them and,
// if that is root, again as an ordinary user.
func TestMain(m *testing.M) {
	if os.Getenv(ExplainVariable) != "" {
		os.Exit(125) // what an image that joins could not do: no test begins again for it
	}
	if len(os.Args) > 1 && os.Args[1] == Arg {
		os.Exit(Main(os.Args[2:]))
	}
	if status, done := InOwnMounts(); done {
		os.Exit(status)
	}
	code := m.Run()
	if code == 0 && os.Geteuid() == 0 {
		code = needs.OrdinaryUser()
	}
	os.Exit(code)
}
