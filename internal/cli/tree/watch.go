package tree

import (
	"time"

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
		Args:    cobra.ArbitraryArgs, ValidArgsFunction: sandboxNames,
		RunE: func(_ *cobra.Command, args []string) error { return cli.Inspect(args, asJSON, tree) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&tree, "tree", false, "show the processes of its sandbox with their threads")
	return c
}

func topCommand() *cobra.Command {
	t := &cli.Top{}
	c := &cobra.Command{
		Use:   "top [flags] [NAME|PID…]",
		Short: "watch what sandboxes use, in a live table",
		Long: "Shows what sandboxes use: processors, memory against its limit, processes and threads, I/O of block\n" +
			"devices, pressure, throttling, and the system calls that the filter refused. Keys sort the table.\n" +
			"With --once it looks twice, an interval apart, and prints one table.",
		Example: "  cloche top\n  cloche top --sort memory\n  cloche top --once --json web",
		Args:    cobra.ArbitraryArgs, ValidArgsFunction: sandboxNames,
		RunE: func(_ *cobra.Command, args []string) error { return t.Run(args) },
	}
	f := c.Flags()
	f.BoolVar(&t.Once, "once", false, "print one table and end")
	f.BoolVar(&t.JSON, "json", false, "print JSON; with --once")
	f.StringVar(&t.Sort, "sort", "cpu", "`cpu|memory|pids|io|name`: the column to sort by")
	f.DurationVar(&t.Interval, "interval", time.Second, "`TIME` from one look to the next")
	_ = c.RegisterFlagCompletionFunc("sort", cobra.FixedCompletions(cli.SortKeys[:], cobra.ShellCompDirectiveNoFileComp))
	return c
}

func statsCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "stats [flags] [NAME|PID…]",
		Short:   "tell what sandboxes have used so far",
		Example: "  cloche stats\n  cloche stats --json web",
		Args:    cobra.ArbitraryArgs, ValidArgsFunction: sandboxNames,
		RunE: func(_ *cobra.Command, args []string) error { return cli.Stats(args, asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
