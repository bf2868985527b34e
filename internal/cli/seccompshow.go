package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/cloche-sandbox/cloche/seccomp"
	"github.com/cloche-sandbox/cloche/seccomp/profile"
)

// shown is a profile as `cloche seccomp show` has it.
type shown struct {
	Name        string       `json:"name"`
	Description string       `json:"description"`
	Default     string       `json:"default"`  // the action for calls that no rule is about
	Unknown     string       `json:"unknown"`  // for calls newer than the profile
	BadArch     string       `json:"bad_arch"` // for other architectures' calls
	Archs       []shownArch  `json:"architectures"`
	Groups      []shownGroup `json:"groups"`
	Out         []shownOut   `json:"out"` // what nothing lets pass on the first architecture
}

type shownArch struct {
	Arch         string `json:"arch"`
	Reachable    int    `json:"reachable"` // calls that some arguments get through, or all
	Calls        int    `json:"calls"`     // that the architecture has
	Docker       int    `json:"docker"`    // reachable under Docker's default profile
	Instructions int    `json:"instructions"`
}

type shownGroup struct {
	Name  string      `json:"name"`
	Why   string      `json:"why"`
	Rules []shownRule `json:"rules"`
}

type shownRule struct {
	Action string   `json:"action"`
	Calls  []string `json:"calls"`
	Origin string   `json:"origin,omitempty"`
}

type shownOut struct {
	Name  string   `json:"name"`
	Why   string   `json:"why"`
	Calls []string `json:"calls"`
}

// Show is `cloche seccomp show`.
func (s *Seccomp) Show(name string) error {
	f, err := s.read(name)
	if err != nil {
		return err
	}
	if err := f.needsProfile(); err != nil {
		return err
	}
	v, err := s.show(f)
	if err != nil {
		return err
	}
	if s.JSON {
		return writeJSON(os.Stdout, v)
	}
	return v.write(os.Stdout)
}

func (s *Seccomp) show(f *filterFile) (*shown, error) {
	p := f.profile
	prog, err := f.program()
	if err != nil {
		return nil, err
	}
	v := &shown{
		Name: p.Name, Description: p.Description, Default: p.Default.String(), Unknown: p.Unknown.String(), BadArch: p.BadArch.String(),
		Groups: []shownGroup{}, Out: []shownOut{},
	}
	for i, a := range f.archs {
		reachable, err := seccomp.Reachable(prog, a)
		if err != nil {
			return nil, err
		}
		row := shownArch{Arch: a.String(), Reachable: len(reachable), Instructions: len(prog)}
		for range a.Calls() {
			row.Calls++
		}
		if row.Docker, err = dockerReaches(a); err != nil {
			return nil, err
		}
		v.Archs = append(v.Archs, row)
		if i == 0 {
			v.Out = leftOut(a, reachable)
		}
	}
	for _, g := range p.Groups {
		group := shownGroup{Name: g.Name, Why: g.Reason, Rules: []shownRule{}}
		for _, r := range g.Rules {
			rule := shownRule{Action: r.Action.String(), Origin: r.Origin, Calls: []string{}}
			for _, call := range r.Syscalls {
				rule.Calls = append(rule.Calls, profile.FormatCall(call, r.Args))
			}
			if n := len(group.Rules); n > 0 && group.Rules[n-1].Action == rule.Action && group.Rules[n-1].Origin == rule.Origin {
				group.Rules[n-1].Calls = append(group.Rules[n-1].Calls, rule.Calls...)
				continue
			}
			group.Rules = append(group.Rules, rule)
		}
		v.Groups = append(v.Groups, group)
	}
	return v, nil
}

// dockerReaches counts the calls that Docker's default profile lets pass where nothing
// is added to the capabilities.
func dockerReaches(a seccomp.Arch) (int, error) {
	p, _, err := profile.Docker(profile.Host{Arch: a})
	if err != nil {
		return 0, err
	}
	prog, err := seccomp.Compile(p, a)
	if err != nil {
		return 0, err
	}
	reachable, err := seccomp.Reachable(prog, a)
	return len(reachable), err
}

// leftOut sorts the calls that nothing lets pass by the reasons that there are.
func leftOut(a seccomp.Arch, reachable []seccomp.Widening) []shownOut {
	open := map[string]bool{}
	for _, w := range reachable {
		open[w.Call] = true
	}
	groups := []shownOut{}
	why := map[string]int{}
	for _, o := range seccomp.LeftOut() {
		for _, call := range o.Calls {
			why[call] = len(groups)
		}
		groups = append(groups, shownOut{Name: o.Name, Why: o.Reason})
	}
	groups = append(groups, shownOut{Name: "others", Why: "no rule lets them pass"})
	for _, call := range a.Calls() {
		if open[call] {
			continue
		}
		i, ok := why[call]
		if !ok {
			i = len(groups) - 1
		}
		groups[i].Calls = append(groups[i].Calls, call)
	}
	return slices.DeleteFunc(groups, func(g shownOut) bool { return len(g.Calls) == 0 })
}

func (v *shown) write(out io.Writer) error {
	var s strings.Builder
	s.WriteString(v.Name)
	if v.Description != "" {
		s.WriteString(": " + v.Description)
	}
	s.WriteString("\n")
	for _, line := range [...][2]string{
		{"calls that no rule is about", v.Default}, {"calls newer than the profile", v.Unknown}, {"other architectures' calls", v.BadArch},
	} {
		fmt.Fprintf(&s, "  %-30s %s\n", line[0], line[1])
	}
	for _, a := range v.Archs {
		fmt.Fprintf(&s, "  %-30s %d of %d calls; %s\n", "reachable on "+a.Arch, a.Reachable, a.Calls, besideDocker(a))
	}
	fmt.Fprintf(&s, "  %-30s %d instructions\n\nrules: the first that holds for a call decides\n", "program", v.Archs[0].Instructions)
	for _, g := range v.Groups {
		n := 0
		for _, r := range g.Rules {
			n += len(r.Calls)
		}
		heading(&s, g.Name, g.Why, n)
		for _, r := range g.Rules {
			wrap(&s, "    "+r.Action+"  ", r.Calls)
		}
	}
	n := 0
	for _, o := range v.Out {
		n += len(o.Calls)
	}
	fmt.Fprintf(&s, "\nout: %d calls of %s that nothing lets pass, and why\n", n, v.Archs[0].Arch)
	for _, o := range v.Out {
		heading(&s, o.Name, o.Why, len(o.Calls))
		wrap(&s, "    ", o.Calls)
	}
	_, err := io.WriteString(out, plainText(s.String()))
	return err
}

func besideDocker(a shownArch) string {
	switch {
	case a.Reachable < a.Docker:
		return fmt.Sprintf("%d fewer than Docker's default profile, which lets %d pass", a.Docker-a.Reachable, a.Docker)
	case a.Reachable > a.Docker:
		return fmt.Sprintf("%d more than Docker's default profile, which lets %d pass", a.Reachable-a.Docker, a.Docker)
	}
	return "as many as Docker's default profile"
}

func heading(s *strings.Builder, name, why string, n int) {
	fmt.Fprintf(s, "\n  %s (%d)", name, n)
	if why != "" {
		s.WriteString(": " + why)
	}
	s.WriteString("\n")
}

// wrap writes words behind a head, on lines that begin below the first word.
func wrap(s *strings.Builder, head string, words []string) {
	const width = 118
	s.WriteString(head)
	column := len(head)
	for i, w := range words {
		if i < len(words)-1 {
			w += ","
		}
		if column+1+len(w) > width && i > 0 {
			s.WriteString("\n" + strings.Repeat(" ", len(head)))
			column = len(head)
		} else if i > 0 {
			s.WriteString(" ")
			column++
		}
		s.WriteString(w)
		column += len(w)
	}
	s.WriteString("\n")
}

// plainText keeps what a file says from steering a terminal.
func plainText(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' || r == 0x7f {
			return '?'
		}
		return r
	}, text)
}
