package bwrap_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cloche-sandbox/cloche/internal/bwrap"
	"github.com/cloche-sandbox/cloche/internal/needs"
)

// script is one that completes, for a shell.
func script(t *testing.T, shell string) string {
	t.Helper()
	r := start(t, nil, "/", ours(t), []string{"--cloche-completion", shell})
	if r.code != 0 || r.stderr != "" {
		t.Fatalf("exit %d, %q", r.code, r.stderr)
	}
	return r.stdout
}

// TestCompletion has bash complete command lines.
func TestCompletion(t *testing.T) {
	needs.Programs(t, "bash")
	source := script(t, "bash") + `
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _bwrap; printf '%s\n' "${COMPREPLY[@]}" | sort -u`
	for line, want := range map[string]string{
		"--ro-b":                           "--ro-bind\n--ro-bind-data\n--ro-bind-fd\n--ro-bind-try\n",
		"--bind /usr/bi":                   "/usr/bin\n",
		"--bind /a /usr/bi":                "/usr/bin\n",
		"--bind /a --unsh":                 "\n", // a path
		"--bind /a /b --unshare-a":         "--unshare-all\n",
		"--bind --bind --bind --unshare-a": "--unshare-all\n",
		"--uid --unsh":                     "\n",
		"--cap-add CAP_NET_A":              "CAP_NET_ADMIN\n",
		"--cloche-completion z":            "zsh\n",
		"--ro-bind / / unshar":             "unshare\n",
		"--ro-bind / / -- unshar":          "unshare\n",
		"--ro-bind / / ls /usr/bi":         "/usr/bin\n",
		"--ro-bind / / ls --unsh":          "\n",
	} {
		cmd := exec.Command("bash", append([]string{"-c", source, "bash", "bwrap"}, strings.Fields(line)...)...)
		out, err := cmd.CombinedOutput()
		if err != nil || string(out) != want {
			t.Errorf("%s: %q, %v, want %q", line, out, err, want)
		}
	}
}

// TestCompletionOfOthers: every option is in the scripts of the other shells, which zsh can read.
func TestCompletionOfOthers(t *testing.T) {
	zsh, fish := script(t, "zsh"), script(t, "fish")
	bwrap.Options(func(name, _, _, _ string) {
		if !strings.Contains(zsh, "'*"+name+"[") || !strings.Contains(fish, "-l "+name[2:]+" -d ") {
			t.Errorf("%s is missing", name)
		}
	})
	needs.Programs(t, "zsh")
	cmd := exec.Command("zsh", "-n")
	cmd.Stdin = strings.NewReader(zsh)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if r := start(t, nil, "/", ours(t), []string{"--cloche-completion", "csh"}); r.code != 1 || r.stderr != "bwrap: --cloche-completion takes bash, zsh or fish\n" {
		t.Errorf("%+v", r)
	}
}

// TestDocumented: the table of the documentation is that of the program.
func TestDocumented(t *testing.T) {
	var table strings.Builder
	table.WriteString("| option | arguments | meaning | since |\n|---|---|---|---|\n")
	bwrap.Options(func(name, args, help, since string) {
		if since == "" {
			since = "Cloche"
		}
		if args != "" {
			args = "`" + args + "`"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", name, args, help, since)
	})
	file := filepath.Join("..", "..", "docs", "bubblewrap.md")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(text), "## Every option\n")
	intro, rest, _ := strings.Cut(rest, "\n\n| option | arguments |")
	_, after, found := strings.Cut(rest, "\n\n## From bwrap")
	want := before + "## Every option\n" + intro + "\n\n" + table.String() + "\n## From bwrap" + after
	if !found || want != string(text) {
		if os.Getenv("CLOCHE_UPDATE") == "" {
			t.Fatalf("%s differs from the table of options; CLOCHE_UPDATE=1 rewrites it", file)
		}
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
