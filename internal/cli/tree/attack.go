package tree

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cloche-sandbox/cloche/attack"
	"github.com/cloche-sandbox/cloche/internal/cli"
	"github.com/cloche-sandbox/cloche/internal/document"
)

// runAttacks is `cloche attack`.
func runAttacks(inv *cli.Invocation, words []string, out io.Writer) error {
	chosen, err := chooseAttacks(words)
	if err != nil {
		return err
	}
	p, err := inv.Policy()
	if err != nil {
		return err
	}
	if status, done := attack.InOwnMounts(); done {
		return cli.ExitStatus(status)
	}
	var outcomes []attack.Outcome
	escaped := 0
	for _, a := range chosen {
		o, err := a.Under(context.Background(), p)
		if err != nil {
			return err
		}
		if o.Verdict == attack.Escaped {
			escaped++
		}
		outcomes = append(outcomes, o)
	}
	if inv.JSON() {
		err = cli.WriteJSON(out, outcomes)
	} else {
		err = writeOutcomes(out, outcomes)
	}
	if err == nil && escaped > 0 {
		err = cli.ExitStatus(1)
	}
	return err
}

// chooseAttacks finds attacks by name or group; no word: all.
func chooseAttacks(words []string) ([]*attack.Attack, error) {
	if len(words) == 0 {
		return attack.Corpus(), nil
	}
	var chosen []*attack.Attack
	for _, w := range words {
		n := len(chosen)
		for _, a := range attack.Corpus() {
			if a.Name == w || a.Group == w {
				chosen = append(chosen, a)
			}
		}
		if len(chosen) == n {
			if near := document.Nearest(w, attackNames()); near != "" {
				return nil, fmt.Errorf("attack: there is no attack %q: did you mean %q?", cli.Clip(w), near)
			}
			return nil, fmt.Errorf("attack: there is no attack %q; a word is an attack's name or one of the groups %s", cli.Clip(w), strings.Join(attack.Groups, ", "))
		}
	}
	return chosen, nil
}

// attackNames are the words that `cloche attack` takes.
func attackNames() []string {
	names := slices.Clone(attack.Groups)
	for _, a := range attack.Corpus() {
		names = append(names, a.Name)
	}
	return names
}

// writeOutcomes prints a table, group by group, and a last line that counts.
func writeOutcomes(out io.Writer, outcomes []attack.Outcome) error {
	name, tries, meant := len("attack"), len("what it tries"), len("any of these stops it")
	count := map[attack.Verdict]int{}
	unshown := 0
	for _, o := range outcomes {
		name, tries, meant = max(name, len(o.Name)), max(tries, len(o.Tries)), max(meant, len(o.Meant))
		count[o.Verdict]++
		if o.Verdict == attack.Stopped && o.Unshown != "" {
			unshown++
		}
	}
	var s strings.Builder
	fmt.Fprintf(&s, "  %-*s  %-*s  %-*s  %s\n", name, "attack", tries, "what it tries", meant, "any of these stops it", "what happened")
	for _, group := range attack.Groups {
		title := group + "\n"
		for _, o := range outcomes {
			if o.Group == group {
				fmt.Fprintf(&s, "%s  %-*s  %-*s  %-*s  %s\n", title, name, o.Name, tries, o.Tries, meant, o.Meant, happened(o))
				title = ""
			}
		}
	}
	fmt.Fprintf(&s, "%d stopped, %d escaped, %d not tried", count[attack.Stopped], count[attack.Escaped], count[attack.NotTried])
	if unshown > 0 {
		fmt.Fprintf(&s, "; of those stopped, %d can't be shown to work where nothing stops them", unshown)
	}
	s.WriteString("\n")
	_, err := io.WriteString(out, s.String())
	return err
}

// happened is an outcome in words.
func happened(o attack.Outcome) string {
	unshown := ""
	if o.Unshown != "" {
		unshown = "; not shown to work: " + o.Unshown
	}
	switch {
	case o.Verdict == attack.Escaped:
		return "ESCAPED"
	case o.Verdict == attack.NotTried:
		return "not tried: " + o.Detail
	case o.Layer != "":
		return "stopped by " + o.Layer + " (" + o.Sign + ")" + unshown
	}
	return "stopped: " + o.Detail + " (" + o.Sign + ")" + unshown
}
