// Command peers tries every attack in other sandboxes as well, and prints what became of
// each, for docs/security.md. Root and an ordinary user with an account run it, each
// for a part of the table:
//
//	go build -o peers ./attack/peers
//	./peers -o root.json
//	su user -c './peers -o user.json'
//	./peers -table root.json user.json
//
// What is attacked is in the caller's home, or in /srv. Everything that is made is taken away.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cloche-sandbox/cloche/attack"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == attack.Arg {
		os.Exit(attack.Main(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == probeArg {
		os.Exit(probe())
	}
	if status, done := attack.InOwnMounts(); done {
		os.Exit(status)
	}
	out := flag.String("o", "", "write what happened to this file, as JSON")
	table := flag.Bool("table", false, "print the table of such files")
	only := flag.String("only", "", "try this attack alone, and change what the file has of it")
	in := flag.String("in", "", "try in this sandbox alone, and change what the file has of it")
	flag.Parse()
	err := run(*out, *only, *in)
	if *table {
		err = print(flag.Args())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// Findings is what one user's run found.
type Findings struct {
	User      string // "root" or "ordinary user"
	Kernel    string
	Sandboxes []Sandbox
	Cells     map[string]map[string]string // attack → sandbox → what became of it
	Knowledge map[string]map[string]string // what there is to know → sandbox → what is told
}

// Sandbox is a column.
type Sandbox struct{ Name, Version, Flags string }

func run(out, only, in string) error {
	if out == "" && only == "" {
		return fmt.Errorf("neither -o FILE nor -table FILES nor -only ATTACK")
	}
	if out != "" {
		var err error
		if out, err = filepath.Abs(out); err != nil {
			return err
		}
	}
	// Not below /tmp, which sandboxes replace: that would hide the prey by chance.
	home, err := preyHome()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(home, "cloche-peers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Setenv("TMPDIR", dir); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	if err := os.Chdir("/"); err != nil { // nothing is shown because it is the working directory
		return err
	}
	f := Findings{
		User: "ordinary user", Kernel: words("uname", "-sr"),
		Cells: map[string]map[string]string{}, Knowledge: map[string]map[string]string{},
	}
	if os.Geteuid() == 0 {
		f.User = "root"
	}
	if b, err := os.ReadFile(out); err == nil && only+in != "" {
		if err := json.Unmarshal(b, &f); err != nil {
			return fmt.Errorf("%s: %w", out, err)
		}
	}
	for _, s := range sandboxes(dir) {
		if in != "" && s.Name != in {
			continue
		}
		if s.missing != "" {
			fmt.Fprintf(os.Stderr, "%s: %s\n", s.Name, s.missing)
			continue
		}
		if !slices.Contains(f.Sandboxes, s.Sandbox) {
			f.Sandboxes = append(f.Sandboxes, s.Sandbox)
		}
		for _, a := range attack.Corpus() {
			if only != "" && a.Name != only {
				continue
			}
			if f.Cells[a.Name] == nil {
				f.Cells[a.Name] = map[string]string{}
			}
			short, long := s.try(a)
			f.Cells[a.Name][s.Name] = short
			fmt.Fprintf(os.Stderr, "%-28s %-24s %s  %s\n", s.Name, a.Name, short, long)
		}
		if only == "" {
			if err := s.know(f.Knowledge); err != nil {
				fmt.Fprintf(os.Stderr, "%s: knowledge: %v\n", s.Name, err)
			}
		}
	}
	if out == "" {
		return nil
	}
	b, err := json.MarshalIndent(f, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(out, b, 0o644)
}

// preyHome is where what is attacked lies: root's own home is closed to the ordinary
// user who is one of its victims.
func preyHome() (string, error) {
	if os.Geteuid() == 0 {
		return "/srv", nil
	}
	return os.UserHomeDir()
}

// words is the first line of what a program says.
func words(argv ...string) string {
	out, err := exec.Command(argv[0], argv[1:]...).Output()
	if err != nil {
		return ""
	}
	s, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return s
}
