package cli

import (
	"os"

	"github.com/cloche-sandbox/cloche/internal/program"
	"github.com/cloche-sandbox/cloche/policy"
)

// showCommand carries out a policy's show-command: `cloche build --show-command
// -- ./solution` would otherwise need the file named twice. It returns the
// command with a path that means the same inside. Package sandbox does the same
// for what it starts.
func showCommand(p *policy.Policy, args []string) []string {
	if !p.ShowCommand {
		return args
	}
	dir, err := os.Getwd()
	if err != nil {
		return args // whoever expands the policy has the same error
	}
	return program.Show(p, args, p.Environ(os.Environ()), os.Getenv("HOME"), dir)
}
