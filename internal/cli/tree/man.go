package tree

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "man",
		Short:  "print the manual page",
		Hidden: true,
		Args:   noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.Root().InitDefaultCompletionCmd()
			return writeMan(cmd.OutOrStdout(), cmd.Root())
		},
	}
}

// writeMan writes cloche(1) in the macros of man(7), from the tree.
func writeMan(out io.Writer, root *cobra.Command) error {
	var s strings.Builder
	s.WriteString(".TH CLOCHE 1 \"\" \"" + roff(version()) + "\" \"User Commands\"\n")
	s.WriteString(".SH NAME\ncloche \\- " + roff(root.Short) + "\n.SH SYNOPSIS\n")
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" {
			s.WriteString(".B cloche " + roff(c.Name()) + "\n" + roff(strings.TrimPrefix(c.Use, c.Name())) + "\n.br\n")
		}
	}
	s.WriteString(".SH DESCRIPTION\n" + paragraphs(root.Long))
	s.WriteString(".SH VERBS\n")
	shared := root.Commands()[0]
	for _, c := range root.Commands() {
		if c.Name() == "run" {
			shared = c
		}
	}
	for _, c := range root.Commands() {
		if !c.IsAvailableCommand() || c.Name() == "help" {
			continue
		}
		s.WriteString(".SS cloche " + roff(c.Use) + "\n" + paragraphs(c.Short+"."))
		if c.Long != "" && c.Name() != "completion" {
			s.WriteString(".PP\n" + paragraphs(c.Long))
		}
		c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" && (c == shared || shared.Flags().Lookup(f.Name) == nil || verbOf(c) == 0) {
				writeManFlag(&s, f)
			}
		})
		c.PersistentFlags().VisitAll(func(f *pflag.Flag) { writeManFlag(&s, f) })
		for _, sub := range c.Commands() {
			if c.Name() != "completion" {
				s.WriteString(".TP\n.B cloche " + roff(c.Name()+" "+sub.Use) + "\n" + roff(strings.ToUpper(sub.Short[:1])+sub.Short[1:]) + ".\n")
			}
		}
		if verbOf(c) != 0 && c != shared {
			s.WriteString(".PP\nIt takes the policy's flags of \\fBcloche run\\fR as well.\n")
		}
		if c.Example != "" && c.Name() != "completion" {
			s.WriteString(".PP\n.EX\n" + roff(c.Example) + "\n.EE\n")
		}
	}
	s.WriteString(".SH EXIT STATUS\n")
	for _, e := range [...][2]string{
		{"0", "The command, or the question, had success."},
		{"1", "cloche can: at least one answer is no. cloche doctor: something is missing here."},
		{"125", "Cloche itself failed, and the command was not run."},
		{"126", "The command was found and can't be executed."},
		{"127", "The command was not found inside."},
		{"128+n", "Signal n ended the command."},
		{"other", "The command's own."},
	} {
		s.WriteString(".TP\n.B " + e[0] + "\n" + roff(e[1]) + "\n")
	}
	s.WriteString(".SH SEE ALSO\n.BR namespaces (7),\n.BR user_namespaces (7),\n.BR seccomp (2),\n.BR landlock (7),\n.BR cgroups (7),\n.BR capabilities (7)\n")
	_, err := io.WriteString(out, s.String())
	return err
}

func writeManFlag(s *strings.Builder, f *pflag.Flag) {
	s.WriteString(".TP\n")
	if f.Shorthand != "" {
		fmt.Fprintf(s, "\\fB\\-%s\\fR, ", roff(f.Shorthand))
	}
	fmt.Fprintf(s, "\\fB\\-\\-%s\\fR", roff(f.Name))
	switch t := f.Value.Type(); {
	case t == "bool":
	case f.NoOptDefVal != "":
		fmt.Fprintf(s, "[=\\fI%s\\fR]", roff(t))
	default:
		fmt.Fprintf(s, " \\fI%s\\fR", roff(t))
	}
	s.WriteString("\n" + roff(strings.ToUpper(f.Usage[:1])+f.Usage[1:]) + ".\n")
}

// paragraphs is text with its empty lines as breaks.
func paragraphs(text string) string {
	return strings.ReplaceAll(roff(text), "\n\n", "\n.PP\n") + "\n"
}

// roff escapes what the formatter would take as its own.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", `...`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}
