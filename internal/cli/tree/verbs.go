package tree

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/cloche-sandbox/cloche/internal/cgroup/systemd"
	"github.com/cloche-sandbox/cloche/internal/cli"
	"github.com/cloche-sandbox/cloche/policy"
)

// doing carries a verb with a policy out.
func doing(v cli.Verb) func(*cli.Invocation, []string) error {
	return func(inv *cli.Invocation, args []string) error { return inv.Do(v, args) }
}

func runCommand() *cobra.Command {
	return policyVerb(cli.Run, &cobra.Command{
		Use:   "run [flags] -- CMD [ARGS…]",
		Short: "run a command in a sandbox",
		Long: "Runs a command in a sandbox. Without flags it gets the default profile: system directories\n" +
			"and the working directory read-only, a private /tmp and /dev, no network.\n\n" +
			"The exit status is the command's own; 128+n when signal n ended it; 127 when it is not found\n" +
			"inside; 126 when it can't be executed; 125 when the sandbox could not be made.",
		Example: "  cloche run -- ls -l\n  cloche run --write . --memory 512M -- make test\n  cloche run --profile judge --stdin in.txt --result result.json -- ./solution",
	}, doing(cli.Run))
}

func planCommand() *cobra.Command {
	return policyVerb(cli.Plan, &cobra.Command{
		Use:   "plan [flags] -- CMD [ARGS…]",
		Short: "show what a sandbox is made of, step by step, without running anything",
		Long: "Prints the policy as it comes out of profile, file and flags, then every step of the set-up with\n" +
			"the system calls it becomes, and runs nothing. With --image it prints what an executable made by\n" +
			"cloche build will do.",
		Example: "  cloche plan -- true\n  cloche plan --profile judge --json -- ./solution\n  cloche plan --image ./tool",
	}, doing(cli.Plan))
}

func buildCommand() *cobra.Command {
	return policyVerb(cli.Build, &cobra.Command{
		Use:   "build [flags] -o FILE -- CMD [ARGS…]",
		Short: "make an executable that runs a command in a sandbox, without Cloche",
		Long: "Writes an executable of some tens of KiB that makes the sandbox and runs the command in it, with\n" +
			"no other program: arguments given to it follow those of the command. It works on other machines\n" +
			"of the same architecture. What only a supervisor can do is refused: a terminal of its own, output\n" +
			"limits, ranges of ids. What the policy wants only where it is available and the executable can't\n" +
			"have is named on stderr.",
		Example: "  cloche build --write . -o ./safe-make -- make\n  ./safe-make -j4 test",
	}, doing(cli.Build))
}

func canCommand() *cobra.Command {
	c := policyVerb(cli.Can, &cobra.Command{
		Use:   "can [flags] read|write|exec PATH… connect HOST:PORT… syscall NAME(ARGS)… signal PID…",
		Short: "tell what a policy allows, and which of its lines decides",
		Long: "Answers yes or no, with the line of the policy or the flag that decides, and runs nothing.\n" +
			"The exit status is 0 when all answers are yes, 1 when one is no, 125 for a question that has no answer.",
		Example: "  cloche can read /etc/passwd write .\n  cloche can --net host connect example.org:443\n  cloche can --profile judge syscall ptrace 'socket(AF_INET, SOCK_STREAM, 0)'",
	}, doing(cli.Can))
	c.ValidArgs = cli.Questions()
	return c
}

func learnCommand() *cobra.Command {
	return policyVerb(cli.Learn, &cobra.Command{
		Use:   "learn [flags] -o FILE -- CMD [ARGS…]",
		Short: "watch a command and write the narrowest policy that lets it do the same",
		Long: "Runs a command, notes its system calls, the files that it uses and the addresses that it tries,\n" +
			"and writes a policy: the profile or policy to start from, with what of that was missing, and a filter\n" +
			"of the calls that were seen, with the values of arguments that decide what they do. With --append\n" +
			"several runs add up. It watches and holds nothing back: the command reads what you can read, writes\n" +
			"the working directory and what --write names, and uses your network. Do not learn from programs\n" +
			"that you do not trust. The exit status is the command's.",
		Example: "  cloche learn -o policy.toml -- ./report data.csv\n  cloche learn -o policy.toml --append -- ./report --html data.csv\n  cloche run --policy policy.toml --audit -- ./report data.csv",
	}, learnPolicy)
}

func attackCommand() *cobra.Command {
	c := policyVerb(cli.Attack, &cobra.Command{
		Use:   "attack [flags] [ATTACK|GROUP]…",
		Short: "try every known way out of a sandbox, and tell what stopped each",
		Long: "Runs the attacks, each in a sandbox of its own made from the flags, against processes and files\n" +
			"that it makes outside, and prints what stopped each of them. Nothing of yours is touched.\n" +
			"The exit status is 1 when one got out.",
		Example: "  cloche attack\n  cloche attack --profile build ptrace\n  cloche attack --seccomp none --landlock off signals",
	}, func(inv *cli.Invocation, words []string) error { return runAttacks(inv, words, os.Stdout) })
	c.ValidArgs = attackNames()
	return c
}

func profilesCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:       "profiles [NAME]",
		Short:     "list the built-in profiles, or show one with all that it inherits",
		Example:   "  cloche profiles\n  cloche profiles judge > mine.toml",
		ValidArgs: policy.Builtins(),
		Args:      cobra.ArbitraryArgs,
		RunE:      func(_ *cobra.Command, args []string) error { return cli.Profiles(args, asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func doctorCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "tell what of Cloche works here, for this user, and what to do about the rest",
		Long: "Tries each capability of Cloche with the code that the sandbox uses, and for what does not work\n" +
			"tells the cause and the remedy. The exit status is 1 when something is missing without which the\n" +
			"default profile can't be carried out.",
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return cli.Doctor(asJSON, systemd.Doctor) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "print the version",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), version())
			return err
		},
	}
}
