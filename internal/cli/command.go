package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cloche-sandbox/cloche/policy"
)

// execute runs any verb through the cobra tree.
func execute(args []string) int {
	root := tree()
	root.SetArgs(args[1:])
	// Before cobra looks at flags that only the right verb has.
	if len(args) > 1 && !strings.HasPrefix(args[1], "-") && !isCommand(root, args[1]) {
		return fail(unknownVerb(root, args[1]))
	}
	if err := root.Execute(); err != nil {
		return fail(err)
	}
	return 0
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
			return &exitError{code: exitFailure, err: errors.New("no verb; write one of those above, such as: cloche run -- CMD")}
		},
		Args: cobra.ArbitraryArgs,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return flagError(cmd, err)
	})
	root.AddCommand(runCommand(), planCommand(), buildCommand(), canCommand(), profilesCommand(), doctorCommand(), versionCommand(), manCommand())
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
	if near := nearest(word, append(names, "help", "completion")); near != "" {
		return fmt.Errorf("unknown verb %q: did you mean %q?", clip(word), near)
	}
	return fmt.Errorf("unknown verb %q: it is one of %s; to run a command: cloche run -- %s", clip(word), strings.Join(names, ", "), clip(word))
}

// verbOf is the set bit of a command that has policy flags, or 0.
func verbOf(cmd *cobra.Command) verb {
	switch cmd.Name() {
	case "run":
		return verbRun
	case "plan":
		return verbPlan
	case "build":
		return verbBuild
	case "can":
		return verbCan
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
			return unknownShort(v, "-"+short)
		}
		return unknownFlag(v, name)
	case errors.As(err, &missing):
		name := missing.GetSpecifiedName()
		if f := missing.GetFlag(); f != nil {
			name = f.Name
		}
		return missingValue(name)
	case strings.HasPrefix(err.Error(), "bad flag syntax"):
		return unknownFlag(v, "")
	}
	return err
}

// unknownPlainFlag is for a command without a policy's flags.
func unknownPlainFlag(cmd *cobra.Command, short, name string) error {
	if short != "" {
		return fmt.Errorf("unknown flag -%s: `%s --help` lists them", clip(short), cmd.CommandPath())
	}
	if _, _, known := flagTakes(verbAll, name); known && !cmd.HasParent() {
		return fmt.Errorf("--%s before a verb: write cloche run --%s", name, name)
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if near := nearest(name, names); near != "" {
		return fmt.Errorf("unknown flag --%s: did you mean --%s?", clip(name), near)
	}
	return fmt.Errorf("unknown flag --%s: `%s --help` lists them", clip(name), cmd.CommandPath())
}

// policyVerb makes a command that has the flags of a policy. Its flags end
// where the command to run, or the first question, begins.
func policyVerb(v verb, c *cobra.Command, do func(*invocation) error) *cobra.Command {
	inv := &invocation{}
	flags := c.Flags()
	flags.SetInterspersed(false)
	flags.SortFlags = false
	for i := range options {
		if o := &options[i]; o.verbs&v != 0 {
			flags.VarPF(&recorder{inv: inv, verb: v, name: o.name, kind: o.value}, o.name, o.short, o.usage)
			f := flags.Lookup(o.name)
			if o.value == "" {
				f.NoOptDefVal = "true"
			}
			if o.file {
				_ = c.MarkFlagFilename(o.name)
			}
		}
	}
	for i := range policy.Flags {
		p := &policy.Flags[i]
		f := flags.VarPF(&recorder{inv: inv, verb: v, name: p.Name, kind: p.Value}, p.Name, "", p.Usage)
		switch {
		case p.Value == "":
			f.NoOptDefVal = "true"
		case p.OptionalValue != "":
			f.NoOptDefVal = p.OptionalValue
		}
		complete(c, p)
	}
	_ = c.RegisterFlagCompletionFunc("profile", cobra.FixedCompletions(policy.Builtins(), cobra.ShellCompDirectiveNoFileComp))
	c.DisableFlagsInUseLine = true
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(_ *cobra.Command, args []string) error {
		inv.args = args
		return do(inv)
	}
	return c
}

// noArgs refuses a word too many.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s: it takes no argument, not %q", cmd.Name(), clip(args[0]))
	}
	return nil
}

// complete has the shell offer the words that a flag takes.
func complete(c *cobra.Command, f *policy.Flag) {
	var words []string
	switch {
	case f.Name == "cap-add" || f.Name == "cap-drop":
		words = append(policy.CapabilityNames(), "ALL")
	case f.Name == "unshare" || f.Name == "share":
		words = policy.NamespaceNames()
	case f.Name == "seccomp":
		words = policy.SeccompProfiles()
	case f.Name == "rlimit":
		for _, n := range policy.RlimitNames() {
			words = append(words, n+"=")
		}
	case strings.IndexByte(f.Value, '|') > 0 && strings.ToLower(f.Value) == f.Value:
		words = strings.Split(f.Value, "|")
	case strings.HasPrefix(f.Value, "PATH") || f.Name == "bind" || f.Name == "io":
		return // file names, which is what shells offer by themselves
	}
	_ = c.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// recorder is a pflag.Value that keeps what was written, in order. Values are
// read later: which profile they change may come after them.
type recorder struct {
	inv        *invocation
	verb       verb
	name, kind string
}

func (r *recorder) Set(value string) error {
	r.inv.record(r.verb, r.name, value)
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

func runCommand() *cobra.Command {
	return policyVerb(verbRun, &cobra.Command{
		Use:   "run [flags] -- CMD [ARGS…]",
		Short: "run a command in a sandbox",
		Long: "Runs a command in a sandbox. Without flags it gets the default profile: system directories\n" +
			"and the working directory read-only, a private /tmp and /dev, no network.\n\n" +
			"The exit status is the command's own; 128+n when signal n ended it; 127 when it is not found\n" +
			"inside; 126 when it can't be executed; 125 when the sandbox could not be made.",
		Example: "  cloche run -- ls -l\n  cloche run --write . --memory 512M -- make test\n  cloche run --profile judge --stdin in.txt --result result.json -- ./solution",
	}, func(inv *invocation) error {
		if code := run(inv, os.Args); code != 0 {
			return &exitError{code: code}
		}
		return nil
	})
}

func canCommand() *cobra.Command {
	c := policyVerb(verbCan, &cobra.Command{
		Use:   "can [flags] read|write|exec PATH… connect HOST:PORT… syscall NAME(ARGS)… signal PID…",
		Short: "tell what a policy allows, and which of its lines decides",
		Long: "Answers yes or no, with the line of the policy or the flag that decides, and runs nothing.\n" +
			"The exit status is 0 when all answers are yes, 1 when one is no, 125 for a question that has no answer.",
		Example: "  cloche can read /etc/passwd write .\n  cloche can --net host connect example.org:443\n  cloche can --profile judge syscall ptrace 'socket(AF_INET, SOCK_STREAM, 0)'",
	}, func(inv *invocation) error { return can(inv, os.Stdout) })
	c.ValidArgs = questionVerbs[:]
	return c
}
