package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/cloche-sandbox/cloche/attack"
)

// print writes the tables of docs/security.md: a cell holds what each user's run found, once
// where they agree.
func print(files []string) error {
	var all []Findings
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		var f Findings
		if err := json.Unmarshal(b, &f); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, f)
	}
	if len(all) == 0 {
		return fmt.Errorf("-table: no files")
	}
	var names []string
	fmt.Printf("%s, as %s.\n\n| sandbox | version | how it is called |\n|---|---|---|\n", all[0].Kernel, users(all))
	for _, f := range all {
		for _, s := range f.Sandboxes {
			if !slices.Contains(names, s.Name) {
				names = append(names, s.Name)
				fmt.Printf("| %s | %s | %s |\n", s.Name, s.Version, s.Flags)
			}
		}
	}
	containers := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !isContainer(n) })
	names = slices.DeleteFunc(names, onlyContainer)
	head := headOf(names)
	group := ""
	for _, a := range attack.Corpus() {
		if a.Group != group {
			group = a.Group
			fmt.Printf("\n### %s\n\n| attack | what stops it in Cloche%s\n", group, strings.Replace(head, "|---", "|---|---", 1))
		}
		fmt.Printf("| `%s`: %s | %s |", a.Name, clean(a.Tries), layers(a))
		for _, n := range names {
			fmt.Printf(" %s |", cell(all, n, func(f *Findings) map[string]string { return f.Cells[a.Name] }))
		}
		fmt.Println()
	}
	fmt.Printf("\n## What is visible of the host\n\n| what%s\n", head)
	for _, k := range things {
		fmt.Printf("| %s |", k.name)
		for _, n := range names {
			fmt.Printf(" %s |", cell(all, n, func(f *Findings) map[string]string { return f.Knowledge[k.name] }))
		}
		fmt.Println()
	}
	printContainers(all, containers)
	return nil
}

func headOf(names []string) string {
	return " | " + strings.Join(names, " | ") + " |\n|" + strings.Repeat("---|", len(names)+1)
}

// onlyContainer reports whether a sandbox is in the table of containers alone.
func onlyContainer(name string) bool {
	return strings.Contains(name, "cloche-oci") || strings.HasSuffix(name, " as Docker")
}

func isContainer(name string) bool {
	return onlyContainer(name) || name == "crun" || name == "runc" || name == "podman"
}

// printContainers is the corpus in containers: a row for each attack that was not
// stopped in all of them.
func printContainers(all []Findings, names []string) {
	if len(names) == 0 {
		return
	}
	fmt.Printf("\n## In containers\n\n| attack%s\n", headOf(names))
	for _, a := range attack.Corpus() {
		row, differs := "", false
		for _, n := range names {
			c := cell(all, n, func(f *Findings) map[string]string { return f.Cells[a.Name] })
			differs = differs || c != "stopped" && c != "refused" && c != untried && c != noLimit
			row += " " + c + " |"
		}
		if differs {
			fmt.Printf("| `%s` |%s\n", a.Name, row)
		}
	}
}

// layers are those that stop an attack, each by itself.
func layers(a *attack.Attack) string {
	s := a.Meant()
	if a.Unshown != "" {
		s += " (not shown to work: " + clean(a.Unshown) + ")"
	}
	return s
}

func users(all []Findings) string {
	var who []string
	for _, f := range all {
		who = append(who, f.User)
	}
	return strings.Join(who, " and as ")
}

// cell is what the runs found of one sandbox.
func cell(all []Findings, name string, of func(*Findings) map[string]string) string {
	var said []string
	for i := range all {
		if s := of(&all[i])[name]; s != "" && !slices.Contains(said, s) {
			said = append(said, s)
		}
	}
	if len(said) > 1 {
		said = slices.DeleteFunc(said, func(s string) bool { return s == untried })
	}
	switch {
	case len(said) == 0:
		return untried
	case len(said) == 1:
		return said[0]
	}
	var each []string
	for i := range all {
		if s := of(&all[i])[name]; s != "" {
			each = append(each, all[i].User+": "+s)
		}
	}
	return strings.Join(each, "; ")
}

func clean(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return strings.ReplaceAll(s, "|", `\|`)
}
