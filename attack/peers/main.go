// Command peers tries every attack in other sandboxes, and prints a table of what
// became of each:
//
//	CGO_ENABLED=0 go run ./attack/peers > table.md
//
// Root runs it. It looks at no ordinary user's sandboxes yet.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/cloche-sandbox/cloche/attack"
	"github.com/cloche-sandbox/cloche/policy"
)

// peer is a sandbox.
type peer struct {
	name, flags string
	version     []string
	box         func(a *attack.Attack, o *attack.Outside) (attack.Box, error)
}

// notTried is why a cell is left empty.
type notTried string

func (n notTried) Error() string { return string(n) }

func main() {
	if len(os.Args) > 1 && os.Args[1] == attack.Arg {
		os.Exit(attack.Main(os.Args[2:]))
	}
	if status, done := attack.InOwnMounts(); done {
		os.Exit(status)
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run() error {
	// Not below /tmp, which the sandboxes replace: that would hide the prey by chance.
	dir, err := os.MkdirTemp("/var/tmp", "cloche-peers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Setenv("TMPDIR", dir); err != nil {
		return err
	}
	peers := contenders()
	fmt.Printf("%s, %s, uid %d.\n\n", time.Now().UTC().Format(time.DateOnly), words("uname", "-sr"), os.Getuid())
	head, rule := "| attack |", "|---|"
	for _, p := range peers {
		fmt.Printf("- **%s** (%s): `%s`\n", p.name, words(p.version...), p.flags)
		head += " " + p.name + " |"
		rule += "---|"
	}
	fmt.Printf("\n%s\n%s\n", head, rule)
	for _, a := range attack.Corpus() {
		fmt.Fprintln(os.Stderr, a.Name)
		row := "| `" + a.Name + "` |"
		for _, p := range peers {
			row += " " + cell(a, p) + " |"
		}
		fmt.Println(row)
	}
	return nil
}

// cell is what became of an attack, in a word.
func cell(a *attack.Attack, p peer) string {
	out, err := a.In(context.Background(), func(o *attack.Outside) (attack.Box, error) {
		b, err := p.box(a, o)
		if _, ok := b.(attack.Sandboxed); ok {
			return b, err
		}
		for _, e := range o.Env {
			name, value, _ := strings.Cut(e, "=")
			if err := os.Setenv(name, value); err != nil {
				return nil, err
			}
			o.Defer(func() { os.Unsetenv(name) })
		}
		return b, err
	})
	var n notTried
	switch {
	case errors.As(err, &n):
		return "not tried: " + string(n)
	case err != nil:
		return "not tried: " + clean(err.Error())
	case out.Verdict == attack.Escaped:
		return "**OUT**"
	case out.Verdict == attack.Stopped:
		return "stopped (" + out.Sign + ")"
	}
	return "not tried: " + clean(out.Detail)
}

func clean(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return strings.ReplaceAll(s, "|", `\|`)
}

func words(argv ...string) string {
	if len(argv) == 0 {
		return "no program"
	}
	out, err := exec.Command(argv[0], argv[1:]...).Output()
	if err != nil {
		return "not installed"
	}
	return clean(strings.TrimSpace(string(out)))
}

func contenders() []peer {
	readOnly := "--new-session --die-with-parent --ro-bind / / --dev /dev --proc /proc --tmpfs /tmp --unshare-net --unshare-pid"
	app := "--unshare-pid --unshare-ipc --unshare-uts --unshare-net --unshare-cgroup-try --die-with-parent --ro-bind /usr /usr --ro-bind /etc /etc " +
		"--symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64 --proc /proc --dev /dev --tmpfs /tmp"
	return []peer{
		{"no sandbox", "unshare --mount", []string{"unshare", "--version"}, func(a *attack.Attack, _ *attack.Outside) (attack.Box, error) {
			if len(a.Given) > 0 {
				return nil, notTried("there is no set-up")
			}
			if len(a.Limits) > 0 {
				return attack.Bare{}, nil
			}
			for _, d := range a.Door {
				if strings.Contains(d, "$DIR") {
					return nil, notTried("there is no mount to undo")
				}
			}
			return attack.Bare{Prefix: []string{"unshare", "--mount"}}, nil
		}},
		{"cloche", "default profile", nil, cloche},
		{"bwrap, read-only /", readOnly, []string{"bwrap", "--version"}, bubblewrap(readOnly)},
		{"bwrap, an application", app, []string{"bwrap", "--version"}, bubblewrap(app)},
		{"firejail", "--quiet", []string{"sh", "-c", "firejail --version | head -1"}, firejail},
	}
}

// cloche is the default profile with the attack's doors to files, which the others
// get too, and its limits.
func cloche(a *attack.Attack, o *attack.Outside) (attack.Box, error) {
	p, _ := policy.Builtin("default")
	flags := slices.Concat(a.Limits, a.Given)
	for _, d := range a.Door {
		if strings.Contains(d, "$DIR") {
			flags = append(flags, d)
		}
	}
	return attack.SandboxOf(p, o, flags)
}

func bubblewrap(flags string) func(*attack.Attack, *attack.Outside) (attack.Box, error) {
	return func(a *attack.Attack, o *attack.Outside) (attack.Box, error) {
		exe, err := os.Executable()
		if err != nil {
			return nil, err
		}
		argv := append([]string{"bwrap"}, strings.Fields(flags)...)
		argv = append(argv, "--ro-bind", exe, exe)
		for _, l := range a.Limits {
			size, ok := strings.CutPrefix(l, "tmpfs /tmp:size=")
			if !ok || size != "1M" {
				return nil, notTried("no such limit")
			}
			argv = append(argv, "--size", "1048576", "--tmpfs", "/tmp")
			argv = append(argv, "--ro-bind", exe, exe)
		}
		for _, d := range o.Given(slices.Concat(a.Given, a.Door)) {
			name, at, _ := strings.Cut(d, " ")
			switch name {
			case "bind":
				from, to, _ := strings.Cut(at, ":")
				argv = append(argv, "--bind", from, to)
			case "tmpfs":
				argv = append(argv, "--tmpfs", at)
			case "overlay":
				to, from, _ := strings.Cut(at, ":lower=")
				argv = append(argv, "--bind", from, to) // this version has no overlay
			case "read":
				argv = append(argv, "--ro-bind", at, at)
			case "write":
				argv = append(argv, "--bind", at, at)
			case "hide":
				argv = append(argv, "--ro-bind", "/dev/null", at)
			case "map-root", "cap-add":
				return nil, notTried("no door")
			}
		}
		return attack.Bare{Prefix: append(argv, "--")}, nil
	}
}

// firejail is as it is without flags: its default profile is a list of what is hidden.
func firejail(a *attack.Attack, o *attack.Outside) (attack.Box, error) {
	if len(a.Given) > 0 {
		return nil, notTried("no such flags")
	}
	if len(a.Limits) > 0 {
		return nil, notTried("no such limit")
	}
	for _, d := range a.Door {
		if strings.HasPrefix(d, "hide ") || d == "map-root" {
			return nil, notTried("no door")
		}
	}
	return attack.Bare{Prefix: []string{"firejail", "--quiet", "--"}}, nil
}
