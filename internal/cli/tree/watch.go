package tree

import (
	"github.com/spf13/cobra"

	"github.com/cloche-sandbox/cloche/internal/cli"
)

func inspectCommand() *cobra.Command {
	var asJSON, tree bool
	c := &cobra.Command{
		Use:   "inspect [flags] NAME|PID",
		Short: "tell what confines a process, thread by thread",
		Long: "Reads from /proc what confines a process, any process of the machine, and where it belongs to\n" +
			"a sandbox of Cloche holds it against the policy: namespaces, ids, capabilities, seccomp, labels,\n" +
			"cgroups with limits and use, mounts that can be written, descriptors that lead out, and every\n" +
			"thread, with a mark on those that differ. What this user may not see is listed with the reason.",
		Example: "  cloche inspect 4711\n  cloche inspect --tree web\n  cloche inspect --json $$",
		Args:    cobra.ArbitraryArgs,
		RunE:    func(_ *cobra.Command, args []string) error { return cli.Inspect(args, asJSON, tree) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&tree, "tree", false, "show the processes of its sandbox with their threads")
	return c
}
