package tree

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/template"

	"github.com/spf13/cobra"

	"github.com/cloche-sandbox/cloche/internal/cli"
	"github.com/cloche-sandbox/cloche/internal/named"
)

func psCommand() *cobra.Command {
	var asJSON bool
	var format string
	c := &cobra.Command{
		Use:   "ps [flags]",
		Short: "list the sandboxes with a name: what they run, use, and how they ended",
		Long: "Lists the sandboxes that were started with --name: those that run, and those that have ended and\n" +
			"were not removed. What a killed one left is cleaned up, and said. --format takes a Go template\n" +
			"over one sandbox, with the fields .Name .State .PID .Created .Age .Command .Processes .Threads\n" +
			".Memory .CPU .MemoryLimit .CPULimit .PidsLimit .Reason .ExitCode, and the function json.",
		Example: "  cloche ps\n  cloche ps --json\n  cloche ps --format '{{.Name}} {{.State}}'",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("format") {
				return cli.Ps(asJSON, nil)
			}
			show, err := rowTemplate(format)
			if err != nil {
				return err
			}
			return cli.Ps(false, show)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().StringVar(&format, "format", "", "print each sandbox by this Go `TEMPLATE`")
	c.MarkFlagsMutuallyExclusive("json", "format")
	return c
}

// rowTemplate prints rows by a template, a line each.
func rowTemplate(text string) (func([]cli.Row) error, error) {
	t, err := template.New("format").Funcs(template.FuncMap{
		"json": func(v any) (string, error) {
			b, err := json.Marshal(v)
			return string(b), err
		},
	}).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("ps: --format: %w; it is a Go template over one sandbox, such as '{{.Name}} {{.State}}'", err)
	}
	wrong := func(err error) error {
		return fmt.Errorf("ps: --format: %w; `cloche ps --help` lists the fields", err)
	}
	if err := t.Execute(io.Discard, cli.Row{}); err != nil {
		return nil, wrong(err) // also where there is no row
	}
	return func(rows []cli.Row) error {
		for _, r := range rows {
			var line strings.Builder
			if err := t.Execute(&line, r); err != nil {
				return wrong(err)
			}
			if _, err := fmt.Fprintln(os.Stdout, cli.Plain(line.String())); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

func rmCommand() *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use:               "rm [flags] NAME…",
		Short:             "remove sandboxes that have ended, with what they changed on overlays",
		Example:           "  cloche rm web\n  cloche rm --force web",
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: sandboxNames,
		RunE:              func(_ *cobra.Command, args []string) error { return cli.Remove(args, force) },
	}
	c.Flags().BoolVarP(&force, "force", "f", false, "kill those that run first")
	return c
}

func pruneCommand() *cobra.Command {
	var changes bool
	c := &cobra.Command{
		Use:     "prune [flags]",
		Short:   "remove all sandboxes that have ended",
		Example: "  cloche prune\n  cloche prune --changes",
		Args:    noArgs,
		RunE:    func(*cobra.Command, []string) error { return cli.Prune(changes) },
	}
	c.Flags().BoolVar(&changes, "changes", false, "also those whose changes on overlays are kept, and discard these")
	return c
}

// sandboxNames completes the names of sandboxes.
func sandboxNames(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	all, _, _ := named.List()
	var names []string
	for _, s := range all {
		names = append(names, s.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
