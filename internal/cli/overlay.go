package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/cloche-sandbox/cloche/internal/document"
	"github.com/cloche-sandbox/cloche/internal/overlay"
	"github.com/cloche-sandbox/cloche/internal/state"
	"github.com/cloche-sandbox/cloche/policy"
)

// keepChanges has what a sandbox with a name changes on its overlays kept; again: it has ended,
// and is looked at once more.
func keepChanges(p *policy.Policy, name string, again bool) error {
	if again {
		return overlay.Again(p, name)
	}
	me, err := state.ProcessOf(os.Getpid())
	if err != nil {
		return err
	}
	return overlay.Keep(p, name, me)
}

// kept is a store with its changes, and what they are called for people.
type kept struct {
	*overlay.Store
	verb string
}

// openKept opens what is kept of the sandbox that a verb names.
func openKept(verb, name string) (kept, error) {
	s, err := overlay.Open(name)
	switch {
	case errors.Is(err, overlay.ErrNone):
		all, lerr := overlay.Names()
		if near := document.Nearest(name, all); lerr == nil && near != "" {
			return kept{}, fmt.Errorf("%s: of %q no changes are kept: did you mean %q?", verb, clip(name), near)
		}
		return kept{}, fmt.Errorf("%s: of %q no changes are kept; they are of a sandbox with a name and an overlay: cloche run --name NAME --overlay DIR …", verb, clip(name))
	case err != nil:
		return kept{}, fmt.Errorf("%s: %w", verb, err)
	}
	return kept{s, verb}, nil
}

// shown is the path of a change as it is printed, and as `cloche apply` takes it: from the
// directory, or absolute where there are several.
func (k kept) shown(l *overlay.Layer, p string) string {
	if len(k.Layers) == 1 {
		return p
	}
	return path.Join(l.Dir, p)
}

// layerChanges are the changes of one overlay, as JSON has them.
type layerChanges struct {
	Dir     string           `json:"dir"`
	Changes []overlay.Change `json:"changes"`
}

// Diff is `cloche diff NAME`.
func Diff(args []string, asJSON, patch bool) error {
	if len(args) != 1 {
		return errors.New("diff: name one sandbox: cloche diff NAME")
	}
	k, err := openKept("diff", args[0])
	if err != nil {
		return err
	}
	defer k.Close()
	all := []layerChanges{}
	var text []byte
	for _, l := range k.Layers {
		if patch {
			if err := k.Patch(l, patchOutput()); err != nil {
				return fmt.Errorf("diff: %w", err)
			}
			continue
		}
		changes, err := k.Store.Diff(l)
		if err != nil {
			return fmt.Errorf("diff: %w", err)
		}
		all = append(all, layerChanges{l.Dir, append([]overlay.Change{}, changes...)})
		for i := range changes {
			text = k.line(text, l, &changes[i])
		}
	}
	switch {
	case patch:
		return nil
	case asJSON:
		return writeJSON(os.Stdout, all)
	}
	_, err = os.Stdout.Write(text)
	return err
}

// patchOutput is stdout. What files hold is written as it is, but to a terminal without control
// characters.
func patchOutput() io.Writer {
	if isTerminal(os.Stdout) {
		return plainLines{os.Stdout}
	}
	return os.Stdout
}

type plainLines struct{ to io.Writer }

func (p plainLines) Write(text []byte) (int, error) {
	var plain []byte
	for line := range strings.Lines(string(text)) {
		body, end := strings.CutSuffix(line, "\n")
		for i, part := range strings.Split(body, "\t") {
			if i > 0 {
				plain = append(plain, '\t')
			}
			plain = appendPlain(plain, part)
		}
		if end {
			plain = append(plain, '\n')
		}
	}
	_, err := p.to.Write(plain)
	return len(text), err
}

// line is a change for people: A, C or D, the path, and what there is to say about it.
func (k kept) line(text []byte, l *overlay.Layer, c *overlay.Change) []byte {
	text = append(text, map[overlay.Kind]string{overlay.Added: "A ", overlay.Changed: "C ", overlay.Removed: "D "}[c.Kind]...)
	text = appendPlain(text, k.shown(l, c.Path))
	if c.Type == "directory" {
		text = append(text, '/')
	}
	words := ""
	switch {
	case c.Was != "":
		words = c.Was + " → " + c.Type
	case c.Kind == overlay.Changed && (len(c.What) > 1 || c.What[0] != "content"):
		words = strings.Join(c.What, ", ")
	}
	if words != "" {
		text = append(text, "  ("+words+")"...)
	}
	if c.Refused != "" {
		text = appendPlain(append(text, "  ! "...), c.Refused)
	}
	return append(text, '\n')
}

// applied is the outcome of `cloche apply` as JSON.
type applied struct {
	Dir     string           `json:"dir"`
	Applied []overlay.Change `json:"applied"`
	Refused []overlay.Change `json:"refused"`
}

// Apply is `cloche apply NAME [PATH…]`.
func Apply(args []string, asJSON, dry bool) error {
	if len(args) == 0 {
		return errors.New("apply: name the sandbox: cloche apply NAME [PATH…]")
	}
	k, err := openKept("apply", args[0])
	if err != nil {
		return err
	}
	defer k.Close()
	if k.Running() {
		return fmt.Errorf("apply: %s runs (pid %d), and goes on changing files; end it first", clip(args[0]), k.Runner.Pid)
	}
	words := args[1:]
	used := make([]bool, len(words))
	all := []applied{}
	var text []byte
	refusals := 0
	for _, l := range k.Layers {
		chosen := func(p string) bool {
			ok := len(words) == 0
			for i, w := range words {
				if k.names(l, w, p) {
					ok, used[i] = true, true
				}
			}
			return ok
		}
		done, refused, err := k.Store.Apply(l, chosen, dry)
		for i := range done {
			text = k.line(text, l, &done[i])
		}
		for i := range refused {
			text = k.line(text, l, &refused[i])
		}
		refusals += len(refused)
		all = append(all, applied{l.Dir, append([]overlay.Change{}, done...), append([]overlay.Change{}, refused...)})
		if err != nil {
			_, _ = os.Stdout.Write(text)
			return fmt.Errorf("apply: %w", err)
		}
	}
	if asJSON {
		err = writeJSON(os.Stdout, all)
	} else {
		_, err = os.Stdout.Write(text)
	}
	if err != nil {
		return err
	}
	for i, w := range words {
		if !used[i] {
			return fmt.Errorf("apply: nothing is changed at %q; `cloche diff %s` lists what is", clip(w), args[0])
		}
	}
	if refusals > 0 {
		return &exitError{code: exitNo, err: fmt.Errorf("apply: %d of the changes were refused, marked with ! above; what was not refused is in place", refusals)}
	}
	return nil
}

// names reports whether a word of the command line stands for a change: by the path that
// `cloche diff` prints, by an absolute one, or for all below a directory.
func (k kept) names(l *overlay.Layer, word, p string) bool {
	rel := path.Clean(word)
	if path.IsAbs(word) {
		r, err := filepath.Rel(l.Dir, word)
		if err != nil || r == ".." || strings.HasPrefix(r, "../") {
			return false
		}
		rel = r
	}
	return rel == "." || p == rel || strings.HasPrefix(p, rel+"/")
}
