package tree

import (
	"github.com/spf13/cobra"

	"github.com/cloche-sandbox/cloche/internal/cli"
	"github.com/cloche-sandbox/cloche/internal/overlay"
)

func diffCommand() *cobra.Command {
	var asJSON, patch bool
	c := &cobra.Command{
		Use:   "diff [flags] NAME",
		Short: "list what a sandbox changed on its overlay",
		Long: "Lists the files that a sandbox with a name has added (A), changed (C) and removed (D) on its\n" +
			"overlays, which keep its changes apart from the directories. What `cloche apply` would refuse is\n" +
			"marked with ! and the reason.",
		Example:           "  cloche run --name try --overlay . -- make\n  cloche diff try\n  cloche diff --patch try | less",
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: keptNames,
		RunE:              func(_ *cobra.Command, args []string) error { return cli.Diff(args, asJSON, patch) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&patch, "patch", false, "print a unified diff, for `git apply` or patch -p1")
	c.MarkFlagsMutuallyExclusive("json", "patch")
	return c
}

func applyCommand() *cobra.Command {
	var asJSON, dry bool
	c := &cobra.Command{
		Use:   "apply [flags] NAME [PATH…]",
		Short: "bring what a sandbox changed on its overlay over to the directory",
		Long: "Brings the changes of a sandbox over, all or those at and below PATH, each file as a whole or not\n" +
			"at all. Refused, with the reason, is what was changed in the directory meanwhile, and what has no\n" +
			"place outside of the sandbox: symbolic links that lead out of the directory, devices, fifos,\n" +
			"sockets, set-user-ID files. The exit status is 1 when something was refused.",
		Example:           "  cloche apply try\n  cloche apply try src/main.c docs\n  cloche apply --dry-run try",
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: keptNames,
		RunE:              func(_ *cobra.Command, args []string) error { return cli.Apply(args, asJSON, dry) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&dry, "dry-run", false, "say what would be done, and change nothing")
	return c
}

// keptNames completes the names of sandboxes whose changes are kept.
func keptNames(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	names, _ := overlay.Names()
	return names, cobra.ShellCompDirectiveNoFileComp
}
