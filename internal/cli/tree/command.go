// Package tree is every verb of Cloche as cobra commands: what help, completions
// and the manual are made from.
package tree

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cloche-sandbox/cloche/attack"
	"github.com/cloche-sandbox/cloche/internal/cgroup/systemd"
	"github.com/cloche-sandbox/cloche/internal/cli"
	"github.com/cloche-sandbox/cloche/internal/document"
)

func init() { cli.EnterScope = enterScope }

// enterScope gets a cgroup for `cloche run` from systemd.
func enterScope(name string) error {
	_, err := systemd.Enter(context.Background(), name)
	return err
}

// Execute carries out the verb that args, those of the process, name.
func Execute(args []string) error {
	if len(args) > 1 && args[1] == attack.Arg {
		os.Exit(attack.Main(args[2:]))
	}
	root := tree()
	root.SetArgs(args[1:])
	// Before cobra looks at flags that only the right verb has.
	if len(args) > 1 && !strings.HasPrefix(args[1], "-") && !isCommand(root, args[1]) {
		return unknownVerb(root, args[1])
	}
	return root.Execute()
}

func isCommand(root *cobra.Command, word string) bool {
	switch word {
	case "help", "completion", cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd:
		return true // those that cobra adds itself
	}
	for _, c := range root.Commands() {
		if c.Name() == word {
			return true
		}
	}
	return false
}

// tree is every verb: what help, completions and the manual are made from.
func tree() *cobra.Command {
	root := &cobra.Command{
		Use:           "cloche",
		Short:         "run commands that you do not trust, and see what they may do",
		Long:          "Cloche runs a command in a sandbox of namespaces, a seccomp filter, Landlock and cgroups.\nWhat the command may do is a policy: a built-in profile or a TOML file, changed by flags.",
		Example:       "  cloche run -- python3 script.py\n  cloche run --profile build -- make\n  cloche can write . connect example.org:443\n  cloche plan -- true",
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownVerb(cmd, args[0])
			}
			if err := cmd.Help(); err != nil {
				return err
			}
			return errors.New("no verb; write one of those above, such as: cloche run -- CMD")
		},
		Args: cobra.ArbitraryArgs,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return flagError(cmd, err)
	})
	root.AddCommand(runCommand(), planCommand(), buildCommand(), canCommand(), learnCommand(), attackCommand(), inspectCommand(), topCommand(), statsCommand(), execCommand(), psCommand(), logsCommand(), attachCommand(), killCommand(), stopCommand(), pauseCommand(), resumeCommand(), updateCommand(), waitCommand(), diffCommand(), applyCommand(), rmCommand(), pruneCommand(), profilesCommand(), seccompCommand(), doctorCommand(), versionCommand(), manCommand())
	return root
}

// unknownVerb names the verb that was probably meant, and what to do with a
// command that was given without one.
func unknownVerb(root *cobra.Command, word string) error {
	var names []string
	for _, c := range root.Commands() {
		if !c.Hidden {
			names = append(names, c.Name())
		}
	}
	// Two letters are a command (ls) as soon as a slip (pd).
	if near := document.Nearest(word, append(names, "help", "completion")); near != "" && len(word) > 2 {
		return fmt.Errorf("unknown verb %q: did you mean %q?", cli.Clip(word), near)
	}
	return fmt.Errorf("unknown verb %q: it is one of %s; to run a command: cloche run -- %s", cli.Clip(word), strings.Join(names, ", "), cli.Clip(word))
}

// verbOf is the set bit of a command that has policy flags, or 0.
func verbOf(cmd *cobra.Command) cli.Verb {
	switch cmd.Name() {
	case "run":
		return cli.Run
	case "plan":
		return cli.Plan
	case "build":
		return cli.Build
	case "can":
		return cli.Can
	case "attack":
		return cli.Attack
	case "learn":
		return cli.Learn
	}
	return 0
}

// flagError says in Cloche's words what pflag found.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	v := verbOf(cmd)
	switch {
	case errors.As(err, &unknown):
		short, name := unknown.GetSpecifiedShortnames(), unknown.GetSpecifiedName()
		switch {
		case v == 0:
			return unknownPlainFlag(cmd, short, name)
		case short != "":
			return cli.UnknownShort(v, "-"+short)
		}
		return cli.UnknownFlag(v, name)
	case errors.As(err, &missing):
		name := missing.GetSpecifiedName()
		if f := missing.GetFlag(); f != nil {
			name = f.Name
		}
		return cli.MissingValue(name)
	case strings.HasPrefix(err.Error(), "bad flag syntax"):
		return cli.UnknownFlag(v, "")
	}
	return err
}

// unknownPlainFlag is for a command without a policy's flags.
func unknownPlainFlag(cmd *cobra.Command, short, name string) error {
	if short != "" {
		return fmt.Errorf("unknown flag -%s: `%s --help` lists them", cli.Clip(short), cmd.CommandPath())
	}
	if cli.IsFlag(name) && !cmd.HasParent() {
		return fmt.Errorf("--%s before a verb: write cloche run --%s", name, name)
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if near := document.Nearest(name, names); near != "" {
		return fmt.Errorf("unknown flag --%s: did you mean --%s?", cli.Clip(name), near)
	}
	return fmt.Errorf("unknown flag --%s: `%s --help` lists them", cli.Clip(name), cmd.CommandPath())
}

// policyVerb makes a command that has the flags of a policy. Its flags end
// where the command to run, or the first question, begins.
func policyVerb(v cli.Verb, c *cobra.Command, do func(inv *cli.Invocation, args []string) error) *cobra.Command {
	inv := &cli.Invocation{}
	flags := c.Flags()
	flags.SetInterspersed(false)
	flags.SortFlags = false
	for _, f := range cli.Flags(v) {
		p := flags.VarPF(&recorder{inv: inv, verb: v, name: f.Name, kind: f.Value}, f.Name, f.Short, f.Usage)
		p.NoOptDefVal = f.Without
		switch {
		case f.File && len(f.Words) > 0:
			_ = c.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(f.Words, cobra.ShellCompDirectiveDefault))
		case f.File:
			_ = c.MarkFlagFilename(f.Name)
		case f.Value != "":
			_ = c.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(f.Words, cobra.ShellCompDirectiveNoFileComp))
		}
	}
	c.DisableFlagsInUseLine = true
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(_ *cobra.Command, args []string) error { return do(inv, args) }
	return c
}

// noArgs refuses a word too many.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s: it takes no argument, not %q", cmd.Name(), cli.Clip(args[0]))
	}
	return nil
}

// recorder is a pflag.Value that keeps what was written, in order. Values are
// read later: which profile they change may come after them.
type recorder struct {
	inv        *cli.Invocation
	verb       cli.Verb
	name, kind string
}

func (r *recorder) Set(value string) error {
	r.inv.Record(r.verb, r.name, value)
	return nil
}

func (r *recorder) String() string { return "" }

// Type is what a help page writes for the value. A bool is written without one.
func (r *recorder) Type() string {
	if r.kind == "" {
		return "bool"
	}
	return r.kind
}
