package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cloche-sandbox/cloche/attack"
	"github.com/cloche-sandbox/cloche/internal/bwrap"
	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/internal/supervise"
)

// TestMain plays the parts of attacks, is bwrap by that name, and else runs the tests as who
// runs them and, if that is root, again as an ordinary user.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == attack.Arg {
		os.Exit(attack.Main(os.Args[2:]))
	}
	if skip, ok := bwrap.Asked(os.Args); ok {
		os.Exit(bwrap.Main(os.Args, skip))
	}
	if status, done := attack.InOwnMounts(); done {
		os.Exit(status)
	}
	code := m.Run()
	if code == 0 && os.Geteuid() == 0 {
		code = needs.OrdinaryUser()
	}
	os.Exit(code)
}

// TestBwrap: with the command lines of bubblewrap's callers, every attack that bubblewrap stops is stopped.
func TestBwrap(t *testing.T) {
	needs.Programs(t, "bwrap")
	theirs, err := exec.LookPath("bwrap")
	if err != nil {
		t.Fatal(err)
	}
	home, err := preyHome()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(home, "cloche-peers-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ours := filepath.Join(dir, "bwrap")
	program, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	// As `make build` makes it: an image reads these lines itself.
	if with, err := supervise.WithPrelude(program, nil, bwrap.Argv()); err == nil {
		program = with
	} else {
		t.Log("no prelude can be made here:", err)
	}
	if err := os.WriteFile(ours, program, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", dir)
	t.Chdir("/")
	for name, line := range map[string]string{"runtime": asRuntime, "Flatpak": asFlatpak} {
		mine, other := bubblewrap(ours, name, name == "Flatpak", line), bubblewrap(theirs, name, name == "Flatpak", line)
		for _, a := range attack.Corpus() {
			got, why := mine.try(a)
			if got == stopped || got == refused || got == noLimit {
				continue
			}
			want, how := other.try(a)
			// On a busy machine what ends is still there when one looks, now and then.
			for range 2 {
				if got != want {
					got, why = mine.try(a)
				}
			}
			if got != want && got != stopped && got != refused {
				t.Errorf("%s: %s: Cloche %s %s; bubblewrap %s %s", name, a.Name, got, why, want, how)
			}
		}
	}
}
