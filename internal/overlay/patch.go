package overlay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"golang.org/x/sys/unix"
)

// maxText is up to which size a file's lines are compared.
const maxText = 8 << 20

// Patch writes the changes of a layer as a unified diff, with the headers of git-diff(1) for
// what has no lines: modes, links, new and removed files. `git apply` and `patch -p1` take it.
// What a patch can't say (owners, attributes, empty directories, special files, bytes that
// are no text) stands in a line of its own that begins with "# ", or says that it differs.
func (s *Store) Patch(l *Layer, out io.Writer) error {
	v, err := s.view(l)
	if err != nil {
		return err
	}
	defer v.close()
	all, err := v.diff()
	if err != nil {
		return err
	}
	for i := range all {
		if err := v.patch(&all[i], out); err != nil {
			return fmt.Errorf("%s: %w", all[i].Path, err)
		}
	}
	return nil
}

// side is one side of a patch: nothing, or what has lines.
type side struct {
	mode string // as git writes it; "": there is nothing
	text []byte
	far  bool // too long, or no text
}

func (v *view) patch(c *Change, out io.Writer) error {
	if c.Kind == Removed && c.before.isDir() {
		return v.patchRemoved(c, out)
	}
	old, err := v.side(c.before)
	if err != nil {
		return err
	}
	now, err := v.side(c.now)
	if err != nil {
		return err
	}
	if c.before.isDir() && !c.now.isDir() && c.now != nil {
		if err := v.patchRemoved(c, out); err != nil {
			return err
		}
	}
	switch {
	case old.mode == "" && now.mode == "":
		return note(out, c)
	case old.mode[:min(3, len(old.mode))] != now.mode[:min(3, len(now.mode))] && old.mode != "" && now.mode != "":
		// A link where a file was: git says that as two changes.
		if err := section(out, c.Path, old, side{}); err != nil {
			return err
		}
		return section(out, c.Path, side{}, now)
	}
	return section(out, c.Path, old, now)
}

// note is a line about a change that a patch has no words for.
func note(out io.Writer, c *Change) error {
	words := string(c.Kind) + ": " + c.Type
	if len(c.What) > 0 {
		words += " (" + strings.Join(c.What, ", ") + ")"
	}
	_, err := fmt.Fprintf(out, "# %s %s\n", quote("", c.Path), words)
	return err
}

// patchRemoved is every file of a directory that is gone.
func (v *view) patchRemoved(c *Change, out io.Writer) error {
	fd, err := openDir(v.lower, c.Path)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	l := &level{path: c.Path, up: -1, below: -1, low: fd}
	return v.walk(l, func(child Change) {
		if err == nil {
			err = v.patch(&child, out)
		}
	})
}

func (v *view) side(n *node) (side, error) {
	if n == nil {
		return side{}, nil
	}
	switch n.st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		to, err := readlinkBelow(v.tree.layer(n), n.path)
		return side{mode: "120000", text: []byte(to)}, err
	case unix.S_IFREG:
	default:
		return side{}, nil
	}
	s := side{mode: "100644"}
	if n.st.Mode&0o100 != 0 {
		s.mode = "100755"
	}
	dir, name, st, err := v.content(n)
	if err != nil {
		return s, err
	}
	if st.Size > maxText {
		s.far = true
		return s, nil
	}
	f, err := openFile(dir, name, &st)
	if errors.Is(err, unix.EACCES) {
		s.far = true
		return s, nil
	}
	if err != nil {
		return s, err
	}
	defer f.Close()
	s.text, err = io.ReadAll(io.LimitReader(f, maxText))
	s.far = bytes.IndexByte(s.text[:min(len(s.text), 8000)], 0) >= 0 // as git does
	return s, err
}

// section writes one file's part.
func section(out io.Writer, p string, old, now side) error {
	var b bytes.Buffer
	from, to := quote("a/", p), quote("b/", p)
	fmt.Fprintf(&b, "diff --git %s %s\n", from, to)
	switch {
	case old.mode == "":
		fmt.Fprintf(&b, "new file mode %s\n", now.mode)
		from = "/dev/null"
	case now.mode == "":
		fmt.Fprintf(&b, "deleted file mode %s\n", old.mode)
		to = "/dev/null"
	case old.mode != now.mode:
		fmt.Fprintf(&b, "old mode %s\nnew mode %s\n", old.mode, now.mode)
	}
	switch {
	case old.far || now.far:
		fmt.Fprintf(&b, "Binary files %s and %s differ\n", from, to)
	case bytes.Equal(old.text, now.text):
		if old.mode == now.mode {
			return nil // owner, time or attributes
		}
	default:
		// The first line is a header of its own.
		_, hunks, _ := bytes.Cut(diff.Diff(from, old.text, to, now.text), []byte("\n"))
		b.Write(hunks)
	}
	_, err := out.Write(b.Bytes())
	return err
}

// quote is a path as git writes it: between quotation marks where it has bytes that would
// end the line or reach a terminal.
func quote(prefix, p string) string {
	for i := range len(p) {
		if c := p[i]; c < ' ' || c == 0x7f || c == '"' || c == '\\' || c >= 0x80 {
			return quoteBytes(prefix + p)
		}
	}
	return prefix + p
}

func quoteBytes(s string) string {
	b := []byte{'"'}
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c < ' ' || c >= 0x7f:
			b = append(b, '\\')
			o := strconv.FormatUint(uint64(c), 8)
			b = append(b, "000"[len(o):]...)
			b = append(b, o...)
		default:
			b = append(b, c)
		}
	}
	return string(append(b, '"'))
}
