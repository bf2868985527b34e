package cli

import (
	"os"

	"github.com/cloche-sandbox/cloche/internal/program"
	"github.com/cloche-sandbox/cloche/policy"
)

// showCommand carries out a policy's show-command: `cloche run --profile judge
// -- ./solution` would otherwise need the file named twice. It returns the
// command with a path that means the same inside.
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
