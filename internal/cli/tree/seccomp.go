package tree

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/cloche-sandbox/cloche/internal/cli"
	"github.com/cloche-sandbox/cloche/internal/document"
)

func seccompCommand() *cobra.Command {
	s := &cli.Seccomp{}
	root := &cobra.Command{
		Use:   "seccomp show|compile|disasm|simulate|diff|convert",
		Short: "show, compile, compare and convert seccomp profiles",
		Long: "PROFILE is a built-in profile (default, build, strict, docker, none) or a file: Cloche's TOML, the\n" +
			"JSON of Docker and the OCI runtime spec, or, where no rules are asked for, a compiled program.\n\n" +
			"show PROFILE             its rules by group, why each is there, and what is left out and why\n" +
			"compile [-o F] PROFILE   the program, an array of struct sock_filter; --verify proves it\n" +
			"disasm PROFILE           the program with labels and names\n" +
			"simulate PROFILE CALL…   the answer to calls, and the way through the program\n" +
			"diff A B                 what B allows that A does not; the exit status is 1 when there is something\n" +
			"convert FILE             TOML from JSON, JSON from TOML",
		Example: "  cloche seccomp show default\n  cloche seccomp simulate default 'socket(AF_VSOCK, SOCK_STREAM, 0)'\n  cloche seccomp diff default docker",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fmt.Errorf("seccomp: say what to do: %s", cmd.Use[len("seccomp "):])
			}
			var names []string
			for _, c := range cmd.Commands() {
				names = append(names, c.Name())
			}
			if near := document.Nearest(args[0], names); near != "" {
				return fmt.Errorf("seccomp: unknown verb %q: did you mean %q?", cli.Clip(args[0]), near)
			}
			return fmt.Errorf("seccomp: unknown verb %q: it is %s", cli.Clip(args[0]), cmd.Use[len("seccomp "):])
		},
	}
	flags := root.PersistentFlags()
	flags.StringArrayVar(&s.Archs, "arch", nil, "an architecture (`ARCH`) to compile for, such as aarch64; again for more")
	flags.StringArrayVar(&s.Caps, "cap", nil, "a capability (`CAP`) that the command keeps, for profiles that ask")
	flags.StringVar(&s.Kernel, "kernel", "", "the kernel's `VERSION`, for profiles that ask (default newer than any)")

	show := profileCommand("show PROFILE", "print a profile's rules by group, and what it leaves out", 1, 1,
		func(args []string) error { return s.Show(args[0]) })
	var verify bool
	var output, to string
	compile := profileCommand("compile [-o FILE] [--verify] PROFILE", "write the program of a profile", 1, 1,
		func(args []string) error { return s.Compile(args[0], output, verify) })
	compile.Flags().BoolVar(&verify, "verify", false, "prove that the program answers what the rules say, for every input")
	disasm := profileCommand("disasm PROFILE", "print the program with labels, names and comments", 1, 1,
		func(args []string) error { return s.Disasm(args[0]) })
	simulate := profileCommand("simulate PROFILE CALL…", "tell the answer to a call, and the way through the program", 2, -1,
		func(args []string) error { return s.Simulate(args[0], args[1:]) })
	diff := profileCommand("diff A B", "list what profile B allows that A does not", 2, 2,
		func(args []string) error { return s.Diff(args[0], args[1]) })
	convert := profileCommand("convert [-o FILE] PROFILE", "turn a profile from one form of file into the other", 1, 1,
		func(args []string) error { return s.Convert(args[0], to, output) })
	convert.Flags().StringVar(&to, "to", "", "`toml|json`: the form to write (default the other form)")
	_ = convert.RegisterFlagCompletionFunc("to", cobra.FixedCompletions([]string{"toml", "json"}, cobra.ShellCompDirectiveNoFileComp))
	for _, c := range []*cobra.Command{compile, convert} {
		c.Flags().StringVarP(&output, "output", "o", "", "the `FILE` to write (default standard output)")
		_ = c.MarkFlagFilename("output")
	}
	for _, c := range []*cobra.Command{show, simulate, diff} {
		c.Flags().BoolVar(&s.JSON, "json", false, "print JSON")
	}
	root.AddCommand(show, compile, disasm, simulate, diff, convert)
	return root
}

// profileCommand makes a verb of `cloche seccomp` that takes from least to most words;
// most -1: any number.
func profileCommand(use, short string, least, most int, do func([]string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short,
		ValidArgsFunction: cobra.FixedCompletions(cli.SeccompProfiles(), cobra.ShellCompDirectiveDefault),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < least || most >= 0 && len(args) > most {
				return fmt.Errorf("seccomp %s: write it as: cloche seccomp %s", cmd.Name(), use)
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return do(args) },
	}
}
