package checks

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cloche-sandbox/cloche/internal/cli"
	"github.com/cloche-sandbox/cloche/internal/cli/tree"
	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/policy"
)

// cloche runs the program in this process: what it printed, stdout before
// stderr, and its exit status. Not for `run`, which may take its place.
func cloche(t *testing.T, args ...string) (out string, status int) {
	t.Helper()
	stdout, stderr := os.Stdout, os.Stderr
	defer func() { os.Stdout, os.Stderr = stdout, stderr }()
	files := [...]**os.File{&os.Stdout, &os.Stderr}
	var captured [len(files)]*os.File
	for i, f := range files {
		tmp, err := os.CreateTemp(t.TempDir(), "out")
		if err != nil {
			t.Fatal(err)
		}
		defer tmp.Close()
		*f, captured[i] = tmp, tmp
	}
	status = cli.Main(append([]string{"cloche"}, args...), tree.Execute)
	for _, f := range captured {
		text, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		out += string(text)
	}
	return out, status
}

// verbs are those of the cobra tree that help and completion show.
func verbs(t *testing.T) (names []string) {
	t.Helper()
	out, status := cloche(t, "__complete", "")
	for line := range strings.Lines(out) {
		if name, _, ok := strings.Cut(line, "\t"); ok {
			names = append(names, name)
		}
	}
	if status != 0 || !slices.Contains(names, "run") {
		t.Fatalf("the tree's verbs were not found: %d, %q", status, out)
	}
	return names
}

// subverbs are the verbs of a verb that has some.
func subverbs(verb string) []string {
	if verb != "seccomp" {
		return nil
	}
	return []string{"show", "compile", "disasm", "simulate", "diff", "convert"}
}

// verbFlags are the flags on the help page of a verb, "run" or "seccomp show".
func verbFlags(t *testing.T, verb string) (names []string) {
	t.Helper()
	out, status := cloche(t, append(strings.Fields(verb), "--help")...)
	if status != 0 {
		t.Fatalf("cloche %s --help: %d, %q", verb, status, out)
	}
	_, out, _ = strings.Cut(out, "\nFlags:\n")
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "-") {
			continue
		}
		_, name, _ := strings.Cut(line, "--")
		names = append(names, name[:strings.IndexAny(name, " [")])
	}
	return names
}

func TestCommandsPageVerbs(t *testing.T) {
	text := page(t, "commands.md")
	known := verbs(t)
	for _, verb := range known {
		if !strings.Contains(text, "\n## cloche "+verb+"\n") {
			t.Errorf("docs/commands.md: no section \"## cloche %s\"", verb)
			continue
		}
		about := section(t, text, "## cloche "+verb+"\n")
		if !strings.Contains(about, "cloche "+verb) {
			t.Errorf("docs/commands.md: the section about %s has no example", verb)
		}
		if verb == "completion" || verb == "help" {
			continue // cobra's own
		}
		flags := verbFlags(t, verb)
		for _, sub := range subverbs(verb) {
			flags = append(flags, verbFlags(t, verb+" "+sub)...)
			if !strings.Contains(about, "cloche "+verb+" "+sub) {
				t.Errorf("docs/commands.md: the section about %s has no word about %s", verb, sub)
			}
		}
		for _, flag := range flags {
			// Those of a policy, and where it starts from, are in policy.md.
			if flag == "help" || flag == "profile" || flag == "policy" || policy.FlagNamed(flag) != nil {
				continue
			}
			if !strings.Contains(about, "`--"+flag) {
				t.Errorf("docs/commands.md: the section about %s does not have --%s", verb, flag)
			}
		}
	}
	for line := range strings.Lines(text) {
		if verb, ok := strings.CutPrefix(strings.TrimSpace(line), "## cloche "); ok && !slices.Contains(known, verb) {
			t.Errorf("docs/commands.md: a section about %q, which is no verb", verb)
		}
	}
}

// example is a command of a console block and what it printed.
type example struct {
	line, output string
}

func examples(block string) (all []example) {
	for line := range strings.Lines(block) {
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			all = append(all, example{line: strings.TrimSpace(command)})
		} else if len(all) > 0 {
			all[len(all)-1].output += line
		}
	}
	return all
}

// words splits a command as a shell does; of quotes it knows single ones.
func words(line string) (list []string) {
	quoted, open := false, false
	for _, r := range line {
		switch {
		case r == '\'':
			quoted = !quoted
			if !open {
				list, open = append(list, ""), true
			}
		case r == ' ' && !quoted:
			open = false
		default:
			if !open {
				list, open = append(list, ""), true
			}
			list[len(list)-1] += string(r)
		}
	}
	return list
}

// TestCommandsPageExamples runs the examples that need no sandbox, and holds
// their output against the page. The page's directory is /home/ann/src, and its user root.
func TestCommandsPageExamples(t *testing.T) {
	needs.Root(t, "the page shows what root is told")
	const shown = "/home/ann/src"
	text := page(t, "commands.md")
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", t.TempDir()) // the directory must not hold it
	t.Chdir(dir)
	ran := 0
	for _, block := range blocks(text, "console") {
		status := -1
		for _, e := range examples(block) {
			w := words(e.line)
			switch {
			case len(w) > 2 && w[0] == "cloche" && w[1] == "can",
				len(w) > 1 && w[0] == "cloche" && w[1] == "profiles",
				len(w) > 2 && w[0] == "cloche" && w[1] == "seccomp" && !slices.Contains(w, "|"):
				ran++
				var out string
				out, status = cloche(t, w[1:]...)
				out = strings.ReplaceAll(out, dir, shown)
				if d := cmp.Diff(e.output, out); d != "" {
					t.Errorf("docs/commands.md: %s: page - today +\n%s", e.line, d)
				}
			case e.line == "echo $?" && status >= 0:
				if got := strings.TrimSpace(e.output); got != strconv.Itoa(status) {
					t.Errorf("docs/commands.md: the exit status is %d, the page says %s", status, got)
				}
			default:
				status = -1
			}
		}
	}
	if ran < 5 {
		t.Errorf("only %d examples were found", ran)
	}
}

// TestCommandsPageLines looks at the command lines of all pages: their verbs and
// flags exist.
func TestCommandsPageLines(t *testing.T) {
	known := verbs(t)
	for _, name := range []string{"commands.md", "result.md", "policy.md", "seccomp.md", "inspect.md"} {
		for line := range strings.Lines(page(t, name)) {
			_, command, ok := strings.Cut(line, "$ cloche ")
			if !ok || strings.Contains(command, "runn") || strings.Contains(command, "--memroy") {
				continue // mistakes on purpose
			}
			w := words(strings.TrimSpace(command))
			if !slices.Contains(known, w[0]) {
				t.Errorf("docs/%s: %q: no such verb", name, command)
				continue
			}
			verb := w[0]
			if len(w) > 1 && slices.Contains(subverbs(verb), w[1]) {
				verb += " " + w[1]
			}
			flags := verbFlags(t, verb)
			for _, word := range w[1:] {
				if word == "--" || word == "|" {
					break
				}
				if flag, ok := strings.CutPrefix(word, "--"); ok {
					if flag, _, _ = strings.Cut(flag, "="); !slices.Contains(flags, flag) {
						t.Errorf("docs/%s: %q: %s has no flag --%s", name, command, w[0], flag)
					}
				}
			}
		}
	}
}
