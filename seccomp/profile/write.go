package profile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cloche-sandbox/cloche/internal/document"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// width is how far a list of calls goes before it is broken.
const width = 118

// Write returns the TOML form of a profile. [ReadTOML] reads the same profile from
// it, with the conditions of each rule in the order of the arguments, and without
// rules that name no call. What no file could say, such as a group without a name,
// is an error.
func Write(p seccomp.Profile) ([]byte, error) {
	var b strings.Builder
	line := func(key, value string) { b.WriteString(key + " = " + value + "\n") }
	text := func(key, value string) {
		if value != "" {
			line(key, document.Quote(value))
		}
	}
	line("name", document.Quote(p.Name))
	text("description", p.Description)
	line("default", document.Quote(p.Default.String()))
	line("unknown", document.Quote(p.Unknown.String()))
	line("bad-arch", document.Quote(p.BadArch.String()))
	if flags, err := FormatFlags(p.Flags); err != nil {
		return nil, fmt.Errorf("seccomp profile %s: %w", p.Name, err)
	} else if flags != "" {
		line("flags", flags)
	}
	for _, g := range p.Groups {
		if err := writeGroup(&b, "group", g); err != nil {
			return nil, fmt.Errorf("seccomp profile %s: %w", p.Name, err)
		}
	}
	out := []byte(b.String())
	if _, _, err := ReadTOML("profile "+p.Name, out, Host{}); err != nil {
		return nil, fmt.Errorf("it can't be written as a file: %w", err)
	}
	return out, nil
}

// WriteGroups returns groups as they stand in a policy's [seccomp], whose key is given.
func WriteGroups(key string, groups []seccomp.Group) (string, error) {
	var b strings.Builder
	for _, g := range groups {
		if err := writeGroup(&b, key+".group", g); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

// FormatFlags writes filter flags as profiles have them, ["log"]; "" is none of them.
func FormatFlags(flags uint) (string, error) {
	var names []string
	for _, f := range flagNames {
		if flags&f.flag != 0 {
			names = append(names, document.Quote(f.toml))
			flags &^= f.flag
		}
	}
	if flags != 0 {
		return "", fmt.Errorf("flags %#x: a file can't ask for them", flags)
	}
	if len(names) == 0 {
		return "", nil
	}
	return "[" + strings.Join(names, ", ") + "]", nil
}

func writeGroup(b *strings.Builder, key string, g seccomp.Group) error {
	b.WriteString("\n[[" + key + "]]\nname = " + document.Quote(g.Name) + "\n")
	if g.Reason != "" {
		b.WriteString("why = " + document.Quote(g.Reason) + "\n")
	}
	for i := range g.Rules {
		r := &g.Rules[i]
		for _, a := range r.Args {
			if a.Index < 0 || a.Index >= maxArgs {
				return fmt.Errorf("group %s, rule %d: argument %d: a call has arguments 0 to %d", g.Name, i, a.Index, maxArgs-1)
			}
			if a.Op > seccomp.MaskedEqual {
				return fmt.Errorf("group %s, rule %d: there is no comparison %d", g.Name, i, a.Op)
			}
		}
		if len(r.Syscalls) == 0 {
			continue
		}
		if !joins(g.Rules, i) {
			b.WriteString("[[" + key + ".rule]]\naction = " + document.Quote(r.Action.String()) + "\ncalls = [\n")
		}
		column := 0
		for _, name := range r.Syscalls {
			call := document.Quote(FormatCall(name, r.Args)) + ","
			switch {
			case column == 0:
				b.WriteByte('\t')
			case column+1+len(call) > width:
				b.WriteString("\n\t")
				column = 0
			default:
				b.WriteByte(' ')
			}
			b.WriteString(call)
			column += 1 + len(call)
		}
		b.WriteByte('\n')
		if !joins(g.Rules, i+1) {
			b.WriteString("]\n")
		}
	}
	return nil
}

// joins reports whether a rule can stand in one list of calls with the one before
// it and still be read back as a rule of its own.
func joins(rules []seccomp.Rule, i int) bool {
	if i == 0 || i >= len(rules) {
		return false
	}
	a, b := &rules[i-1], &rules[i]
	return a.Action == b.Action && len(a.Syscalls) > 0 && len(b.Syscalls) > 0 && !slices.Equal(sorted(a.Args), sorted(b.Args))
}
