package cli

import (
	"bytes"
	"context"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/sandbox"
)

// Doctor is `cloche doctor`. manager is systemd's row: it speaks D-Bus, which
// `cloche run` should not have to initialise, so it comes from package tree.
func Doctor(asJSON bool, manager func(context.Context) host.Row) error {
	ctx := context.Background()
	rows := append(host.Doctor(ctx), limitRows()...)
	rows = append(rows, manager(ctx), completeSandbox(), preludeRow())
	var err error
	if asJSON {
		err = writeJSON(os.Stdout, rows)
	} else {
		err = writeRows(os.Stdout, rows)
	}
	if err == nil && lacksRequired(rows) {
		err = &exitError{code: exitNo}
	}
	return err
}

func lacksRequired(rows []host.Row) bool {
	for _, r := range rows {
		if r.Required && r.Status == host.Missing {
			return true
		}
	}
	return false
}

// completeSandbox starts a command under the default profile, with all that
// it has: what the other rows say in parts.
func completeSandbox() host.Row {
	r := host.Row{Group: "sandbox", Name: "complete sandbox", Status: host.Works, Required: true}
	p, _ := policy.Builtin("default")
	cmd := sandbox.Command(context.Background(), p, "true")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	if err == nil {
		r.Detail = "default profile, /bin/true"
		return r
	}
	cause, remedy, _ := strings.Cut(err.Error(), "; ")
	if s := strings.TrimSpace(stderr.String()); s != "" {
		cause += ": " + s
	}
	r.Status, r.Cause, r.Remedy = host.Missing, cause, aboveInstead(remedy)
	return r
}

// aboveInstead is a remedy for who asked the doctor already.
func aboveInstead(remedy string) string {
	const above = "see the rows above"
	if remedy == "" {
		return above
	}
	parts := strings.Split(remedy, "; ")
	for i := range parts {
		if strings.Contains(parts[i], "`cloche doctor`") {
			parts[i] = above
		}
	}
	return strings.Join(parts, "; ")
}

// writeRows writes a table, and below it the cause and the remedy of whatever
// does not work.
func writeRows(out io.Writer, rows []host.Row) error {
	width, group := 0, ""
	first := map[string]int{} // a group's rows stand together, where its first one is
	for i, r := range rows {
		width = max(width, len(r.Name))
		if _, ok := first[r.Group]; !ok {
			first[r.Group] = i
		}
	}
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b host.Row) int { return first[a.Group] - first[b.Group] })
	var text []byte
	for _, r := range rows {
		if r.Group != group {
			if group != "" {
				text = append(text, '\n')
			}
			group = r.Group
			text = append(append(text, group...), '\n')
		}
		text = append(text, "  "+r.Name+strings.Repeat(" ", width-len(r.Name)+2)+string(r.Status)...)
		if r.Detail != "" {
			text = append(text, strings.Repeat(" ", max(0, len(host.Limited)-len(r.Status))+2)...)
			text = appendPlain(text, r.Detail)
		}
		text = append(text, '\n')
		for _, line := range [...]struct{ word, s string }{{"why:    ", r.Cause}, {"remedy: ", r.Remedy}} {
			if line.s != "" {
				text = append(append(text, "      "...), line.word...)
				text = append(appendPlain(text, line.s), '\n')
			}
		}
	}
	_, err := out.Write(text)
	return err
}
