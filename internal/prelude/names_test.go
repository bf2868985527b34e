package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNames: by another name cloche is another program, for which run means something else: the
// prelude of `cloche run` leaves it alone.
func TestNames(t *testing.T) {
	f := programs(t)
	named := func(exe, name string) string {
		dir := exe + ".d"
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
		link := filepath.Join(dir, name)
		if err := os.Symlink(exe, link); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
		return link
	}
	for who, uid := range ids() {
		for _, c := range []struct{ name, args, says string }{
			{"bwrap", "run true", "bwrap: execvp run: No such file or directory"},
			{"bwrap", "run -- true", "bwrap: execvp run: No such file or directory"},
			{"bwrap", "--version", "bubblewrap"},
			{"bwrap", "--ro-bind / / run", "bwrap: execvp run: No such file or directory"},
			{"bwrap", "--ro-bind / / sh -c id;exit", "uid="},
			{"cloche", "bwrap --ro-bind / / --nope", "bwrap: Unknown option --nope"},
			{"cloche-oci", "run -- a b", "level=error"},
			{"cloche-oci", "run a b", "level=error"},
			{"cloche-oci", "exec -- a b", "level=error"},
			{"xbwrap", "run -- echo ran", "ran\n"},
		} {
			t.Run(who+"/"+c.name+" "+c.args, func(t *testing.T) {
				s := &start{uid: uid, cwd: f.dir, env: []string{"PATH=/usr/bin:/bin", "HOME=/"}, args: strings.Fields(c.args)}
				plain, fused := s.run(t, named(f.plain, c.name)), s.run(t, named(f.fused, c.name))
				says := func(r result) bool { return strings.Contains(r.stdout+r.stderr, c.says) }
				if plain.status != fused.status || !says(plain) || !says(fused) { // a time may be said too
					t.Errorf("without a prelude:\n%s%s%d\nwith it:\n%s%s%d\nwant %q", plain.stdout, plain.stderr, plain.status, fused.stdout, fused.stderr, fused.status, c.says)
				}
			})
		}
	}
	// What is initialised tells which program it is.
	for exe, whole := range map[string]bool{f.plain: true, f.fused: false} {
		s := &start{cwd: f.dir, env: []string{"GODEBUG=inittrace=1"}, args: []string{"--version"}}
		if r := s.run(t, named(exe, "bwrap")); r.status != 0 || !strings.Contains(r.stderr, "init os @") || strings.Contains(r.stderr, "init os/signal @") != whole {
			t.Errorf("%s: exit %d, %s", exe, r.status, r.stderr)
		}
	}
}
