package tree

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/cloche-sandbox/cloche/internal/cli"
)

func execCommand() *cobra.Command {
	x := &cli.Exec{}
	return execInto(x, x.Run)
}

// execInto has the flags put in x, and run called with the other words.
func execInto(x *cli.Exec, run func([]string) error) *cobra.Command {
	c := &cobra.Command{
		Use:   "exec [flags] NAME -- CMD [ARGS…]",
		Short: "run a command in a sandbox that runs, or in any container",
		Long: "The command enters the namespaces, the root and the cgroups of a sandbox, and is confined as the\n" +
			"sandbox's own command is: ids, capabilities, resource limits, Landlock, seccomp. With --pid it\n" +
			"enters those of any process, such as a container's of Docker or Podman; its filter can't be read\n" +
			"back, so where there is one the command gets Docker's. Stdin is /dev/null without -i or -t.\n\n" +
			"The exit status is the command's, as of cloche run.",
		Example: "  cloche exec web -- ps ax\n  cloche exec -it web -- sh\n  cloche exec --pid $(docker inspect -f '{{.State.Pid}}' db) -- ls /",
		Args:    cobra.ArbitraryArgs,
		RunE:    func(_ *cobra.Command, args []string) error { return run(args) },
	}
	f := c.Flags()
	f.SetInterspersed(false)
	f.BoolVarP(&x.Interactive, "interactive", "i", false, "pass stdin on")
	f.BoolVarP(&x.TTY, "tty", "t", false, "give it a terminal of its own")
	f.StringVar(&x.User, "user", "", "run as `USER[:GROUP]` of the sandbox, names or numbers")
	f.StringVar(&x.Cwd, "cwd", "", "working `DIR` inside (default the sandbox's)")
	f.StringArrayVar(&x.Env, "env", nil, "set `NAME=VALUE`, or NAME to your own value; again for more")
	f.IntVar(&x.PID, "pid", 0, "enter what process `PID` is in, instead of a named sandbox")
	return c
}

func killCommand() *cobra.Command {
	var signal string
	var all bool
	c := &cobra.Command{
		Use:     "kill [flags] NAME…",
		Short:   "send a signal to a sandbox's command, or to all its processes",
		Example: "  cloche kill web\n  cloche kill -s HUP web\n  cloche kill --all -s USR1 web",
		Args:    cobra.ArbitraryArgs,
		RunE:    func(_ *cobra.Command, args []string) error { return cli.Kill(args, signal, all) },
	}
	c.Flags().StringVarP(&signal, "signal", "s", "KILL", "the `SIGNAL`, by name or number")
	c.Flags().BoolVar(&all, "all", false, "to every process of the sandbox")
	return c
}

func stopCommand() *cobra.Command {
	var patience time.Duration
	c := &cobra.Command{
		Use:     "stop [flags] NAME…",
		Short:   "ask a sandbox's command to end, then end it",
		Long:    "Sends SIGTERM to the command, and ends the whole sandbox when it is still there after --time.",
		Example: "  cloche stop web\n  cloche stop --time 2s web db",
		Args:    cobra.ArbitraryArgs,
		RunE:    func(_ *cobra.Command, args []string) error { return cli.Stop(args, patience) },
	}
	c.Flags().DurationVar(&patience, "time", 10*time.Second, "how long to wait for it, as `TIME`")
	return c
}

func pauseCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "pause NAME…",
		Short:   "stop all processes of a sandbox at once, by its cgroup's freezer",
		Example: "  cloche pause web\n  cloche resume web",
		Args:    cobra.ArbitraryArgs,
		RunE:    func(_ *cobra.Command, args []string) error { return cli.Pause(args) },
	}
}

func resumeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "resume NAME…",
		Short: "let a paused sandbox go on",
		Args:  cobra.ArbitraryArgs,
		RunE:  func(_ *cobra.Command, args []string) error { return cli.Resume(args) },
	}
}

func updateCommand() *cobra.Command {
	u := &cli.Update{}
	c := &cobra.Command{
		Use:   "update [flags] NAME…",
		Short: "change the limits of a sandbox that runs",
		Long: "Changes limits of resources, where the sandbox has a cgroup for them. What a policy protects\n" +
			"can't be changed while it runs.",
		Example: "  cloche update --memory 1G --pids 200 web\n  cloche update --cpus 0.5 web",
		Args:    cobra.ArbitraryArgs,
		RunE:    func(_ *cobra.Command, args []string) error { return u.Run(args) },
	}
	c.Flags().StringVar(&u.Memory, "memory", "", "`SIZE` of memory, such as 512M")
	c.Flags().StringVar(&u.CPUs, "cpus", "", "`NUMBER` of processors, such as 1.5")
	c.Flags().StringVar(&u.Pids, "pids", "", "`NUMBER` of processes and threads")
	return c
}

func logsCommand() *cobra.Command {
	l := &cli.Logs{}
	c := &cobra.Command{
		Use:   "logs [flags] NAME",
		Short: "print what a sandbox in the background wrote",
		Long: "Prints what a sandbox that was started with --detach wrote, stdout to stdout and stderr to stderr.\n" +
			"Of each the last 8 to 16 MiB are kept, until the name is used again or removed.",
		Example: "  cloche logs web\n  cloche logs -f --tail 10 web",
		Args:    cobra.ArbitraryArgs,
		RunE:    func(_ *cobra.Command, args []string) error { return l.Run(args) },
	}
	c.Flags().BoolVarP(&l.Follow, "follow", "f", false, "go on until the sandbox ends")
	c.Flags().IntVar(&l.Tail, "tail", -1, "the last `N` lines of each stream alone")
	return c
}

func attachCommand() *cobra.Command {
	x := &cli.Attach{}
	c := &cobra.Command{
		Use:   "attach [flags] NAME",
		Short: "connect this terminal to that of a sandbox in the background",
		Long: "Connects the terminal to the one that a sandbox was given by cloche run --detach -t, until the sandbox\n" +
			"ends or the detach keys are typed: then it goes on. Several may be attached at once.\n" +
			"The exit status is the command's, or 0 after the detach keys.",
		Example: "  cloche run --name work --detach -t -- bash\n  cloche attach work",
		Args:    cobra.ArbitraryArgs,
		RunE:    func(_ *cobra.Command, args []string) error { return x.Run(args) },
	}
	c.Flags().StringVar(&x.Keys, "detach-keys", "ctrl-p,ctrl-q", "`KEYS` that leave the sandbox: letters and ctrl-LETTER, with commas between")
	return c
}

func waitCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "wait NAME…",
		Short:   "wait for the end of sandboxes",
		Long:    "Ends when the sandboxes have ended, with the exit status of the last one's command.",
		Example: "  cloche wait web; echo $?",
		Args:    cobra.ArbitraryArgs,
		RunE:    func(_ *cobra.Command, args []string) error { return cli.Wait(args) },
	}
}
