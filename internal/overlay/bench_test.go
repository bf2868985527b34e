package overlay_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/internal/overlay"
	"github.com/cloche-sandbox/cloche/internal/state"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/sandbox"
)

// TestMain runs the tests as who runs it and, if that is root, again as an ordinary user.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 && os.Geteuid() == 0 {
		code = needs.OrdinaryUser()
	}
	os.Exit(code)
}

// bench is a directory with an overlay of which the changes are kept.
type bench struct {
	*testing.T
	dir, state string
	p          *policy.Policy // of the runs
}

// files is a tree: a name that ends with / is a directory, -> a link.
type files map[string]string

func newBench(t *testing.T, tree files) *bench {
	t.Helper()
	top := t.TempDir()
	b := &bench{T: t, dir: filepath.Join(top, "dir"), state: filepath.Join(top, "state")}
	t.Setenv("XDG_STATE_HOME", b.state)
	t.Cleanup(func() {
		if err := overlay.Discard("box"); err != nil {
			t.Error(err)
		}
	})
	if err := os.Mkdir(b.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	b.write(b.dir, tree)
	b.p, _ = policy.Builtin("default")
	b.p.Limits = policy.Limits{}
	return b
}

func (b *bench) write(dir string, tree files) {
	b.Helper()
	for name, text := range tree {
		p := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(p), 0o755)
		switch {
		case err != nil:
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(p, 0o755)
		case strings.HasPrefix(text, "->"):
			err = os.Symlink(text[2:], p)
		default:
			err = os.WriteFile(p, []byte(text), 0o644)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// run runs a script on the overlay, in the directory.
func (b *bench) run(script string) string {
	b.Helper()
	out, err := b.try(script)
	if err != nil {
		b.Fatalf("%s: %v\n%s", script, err, out)
	}
	return out
}

func (b *bench) try(script string) (string, error) {
	p := b.p.Clone()
	flag := policy.FlagNamed("overlay")
	if err := flag.Apply(p, b.dir); err != nil {
		return "", err
	}
	p.Cwd = b.dir
	err := overlay.Keep(p, "box", state.Process{})
	if errors.Is(err, overlay.ErrMarks) {
		needs.Skip(b.T, "temporary files are memory, and "+err.Error())
	}
	if err != nil {
		return "", err
	}
	cmd := sandbox.Command(b.Context(), p, "sh", "-c", script)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// store opens what is kept; the caller closes it.
func (b *bench) store() *overlay.Store {
	b.Helper()
	s, err := overlay.Open("box")
	if err != nil {
		b.Fatal(err)
	}
	if len(s.Layers) != 1 {
		b.Fatalf("%d layers", len(s.Layers))
	}
	return s
}

// lines are changes in a form to compare.
func lines(all []overlay.Change) []string {
	list := []string{}
	for _, c := range all {
		s := string(c.Kind) + " " + c.Path
		if c.Type != "file" {
			s += " " + c.Type
		}
		if len(c.What) > 0 {
			s += " (" + strings.Join(c.What, ", ") + ")"
		}
		if c.Refused != "" {
			s += " ! " + c.Refused
		}
		list = append(list, s)
	}
	return list
}

func (b *bench) diff() []string {
	b.Helper()
	s := b.store()
	defer s.Close()
	all, err := s.Diff(s.Layers[0])
	if err != nil {
		b.Fatal(err)
	}
	return lines(all)
}

// apply brings over what lies at or below paths; none: all.
func (b *bench) apply(paths ...string) (done, refused []string) {
	b.Helper()
	s := b.store()
	defer s.Close()
	chosen := func(p string) bool {
		return len(paths) == 0 || slices.ContainsFunc(paths, func(w string) bool { return p == w || strings.HasPrefix(p, w+"/") })
	}
	did, not, err := s.Apply(s.Layers[0], chosen, false)
	if err != nil {
		b.Fatal(err)
	}
	return lines(did), lines(not)
}

func (b *bench) wantDiff(want ...string) {
	b.Helper()
	if d := cmp.Diff(append([]string{}, want...), b.diff()); d != "" {
		b.Errorf("changes: want - got +\n%s", d)
	}
}

// tree is what a directory holds: name, mode, content.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var s strings.Builder
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		info, err := d.Info()
		if err != nil {
			return err
		}
		s.WriteString(info.Mode().String() + " " + rel)
		switch {
		case d.Type() == os.ModeSymlink:
			to, _ := os.Readlink(p)
			s.WriteString(" -> " + to)
		case d.Type().IsRegular():
			text, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			s.WriteString(" " + strings.TrimSpace(string(text)))
		}
		s.WriteString("\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s.String()
}
