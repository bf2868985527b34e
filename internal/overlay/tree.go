package overlay

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// tree is an upper layer, the directory below it, and what they are together.
type tree struct {
	upper, lower int
	marks        string // prefix of overlayfs's own attributes
	base         base
}

// node is a name in the merged tree or in the directory.
type node struct {
	st   unix.Stat_t
	path string // from the layer's top
	up   bool   // in the upper layer; else in the directory
	data string // where its content is in the directory, if not with the name itself (metacopy)
}

// layer is the descriptor of the layer that a node is in.
func (t *tree) layer(n *node) int {
	if n.up {
		return t.upper
	}
	return t.lower
}

func (n *node) isDir() bool { return n != nil && n.st.Mode&unix.S_IFMT == unix.S_IFDIR }

func (n *node) isFile() bool { return n != nil && n.st.Mode&unix.S_IFMT == unix.S_IFREG }

// mark reads one of overlayfs's own attributes.
func (t *tree) mark(dir int, name, attr string) (string, bool, error) {
	return xattr(dir, name, t.marks+attr)
}

// whiteout reports whether a name in the upper layer stands for one that was removed. The
// second form is made by tools that may not make devices (Linux 6.7).
func (t *tree) whiteout(dir int, name string, st *unix.Stat_t) (bool, error) {
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFCHR:
		return st.Rdev == 0, nil
	case st.Mode&unix.S_IFMT == unix.S_IFREG && st.Size == 0:
		_, ok, err := t.mark(dir, name, "whiteout")
		return ok, err
	}
	return false, nil
}

// level is a directory of the merged tree: where it is in the upper layer, which directory
// is merged into it from below, and what the directory itself has under its name. Each may
// be missing (-1). The last two are the same unless the directory is opaque or redirected.
type level struct {
	path           string
	up, below, low int
	belowPath      string
	same           bool
	depth          int
}

func (l *level) close() {
	fds := []int{l.up, l.low}
	if !l.same {
		fds = append(fds, l.below)
	}
	for _, fd := range fds {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// top is the first level.
func (t *tree) top() (*level, error) {
	up, err := openDir(t.upper, ".")
	if err != nil {
		return nil, err
	}
	low, err := openDir(t.lower, ".")
	if err != nil {
		unix.Close(up)
		return nil, err
	}
	return &level{up: up, below: low, low: low, same: true, belowPath: "."}, nil
}

// names are those that may differ between the merged tree and the directory.
func (l *level) names() ([]string, error) {
	fds := []int{l.up}
	if !l.same {
		fds = append(fds, l.below, l.low)
	}
	var all []string
	for _, fd := range fds {
		if fd < 0 {
			continue
		}
		some, err := names(fd)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// look finds what a name is in the merged tree, and what in the directory; nil: nothing.
func (t *tree) look(l *level, name string) (merged, before *node, err error) {
	if l.low >= 0 {
		st, ok, err := stat(l.low, name)
		if err != nil {
			return nil, nil, err
		}
		if ok {
			before = &node{st: st, path: path.Join(l.path, name)}
		}
	}
	if l.up >= 0 {
		st, ok, err := stat(l.up, name)
		if err != nil {
			return nil, nil, err
		}
		if ok {
			merged = &node{st: st, path: path.Join(l.path, name), up: true}
			gone, err := t.whiteout(l.up, name, &st)
			if err != nil || gone {
				return nil, before, err
			}
			if merged.isFile() {
				err = t.metacopy(l, name, merged)
			}
			return merged, before, err
		}
	}
	if l.below >= 0 {
		st, ok, err := stat(l.below, name)
		if err != nil {
			return nil, nil, err
		}
		if ok {
			merged = &node{st: st, path: path.Join(l.belowPath, name)}
		}
	}
	return merged, before, nil
}

// metacopy finds the content of a file of which the upper layer has the metadata alone.
func (t *tree) metacopy(l *level, name string, n *node) error {
	_, is, err := t.mark(l.up, name, "metacopy")
	if err != nil || !is {
		return err
	}
	to, redirected, err := t.mark(l.up, name, "redirect")
	switch {
	case err != nil:
		return err
	case redirected:
		n.data, err = target(l.belowPath, to)
		return err
	case l.below < 0:
		return fmt.Errorf("%s: its content is in no layer", n.path)
	}
	n.data = path.Join(l.belowPath, name)
	return nil
}

// target is the path that a redirect names: from the top, or beside the name.
func target(dir, to string) (string, error) {
	if rest, ok := strings.CutPrefix(to, "/"); ok {
		return path.Clean(rest), nil
	}
	if to == "" || strings.Contains(to, "/") {
		return "", fmt.Errorf("a redirect to %q, which overlayfs never makes", to)
	}
	return path.Join(dir, to), nil
}

// enter opens a directory of the merged tree.
func (t *tree) enter(l *level, name string, merged, before *node) (_ *level, err error) {
	next := &level{path: path.Join(l.path, name), up: -1, below: -1, low: -1, depth: l.depth + 1}
	if next.depth > maxDepth {
		return nil, fmt.Errorf("%s: %w", next.path, errDeep)
	}
	defer func() {
		if err != nil {
			next.close()
		}
	}()
	if before.isDir() {
		if next.low, err = openDir(l.low, name); err != nil {
			return nil, fmt.Errorf("%s: %w", next.path, err)
		}
	}
	opaque, redirect, redirected := "", "", false
	if merged.up {
		if next.up, err = openDir(l.up, name); err != nil {
			return nil, fmt.Errorf("%s: %w", next.path, err)
		}
		if opaque, _, err = t.mark(l.up, name, "opaque"); err != nil {
			return nil, err
		}
		if redirect, redirected, err = t.mark(l.up, name, "redirect"); err != nil {
			return nil, err
		}
	}
	switch {
	case opaque == "y" || opaque == "Y":
	case redirected:
		if next.belowPath, err = target(l.belowPath, redirect); err != nil {
			return nil, fmt.Errorf("%s: %w", next.path, err)
		}
		if next.below, err = openDir(t.lower, next.belowPath); err != nil {
			return nil, fmt.Errorf("%s was %s, which can't be opened: %w", next.path, next.belowPath, err)
		}
	case l.same && next.low >= 0:
		next.below, next.same, next.belowPath = next.low, true, next.path
	case !l.same && l.below >= 0:
		st, ok, err := stat(l.below, name)
		if err != nil {
			return nil, err
		}
		if ok && st.Mode&unix.S_IFMT == unix.S_IFDIR {
			next.belowPath = path.Join(l.belowPath, name)
			if next.below, err = openDir(l.below, name); err != nil {
				return nil, fmt.Errorf("%s: %w", next.belowPath, err)
			}
		}
	}
	return next, nil
}

// inUpper lists the paths that the upper layer has anything for, and of them those below
// which the directory is out of sight.
func (t *tree) inUpper() (have, covers map[string]bool, err error) {
	have, covers = map[string]bool{}, map[string]bool{}
	var walk func(dir int, prefix string, depth int) error
	walk = func(dir int, prefix string, depth int) error {
		if depth > maxDepth {
			return fmt.Errorf("%s: %w", prefix, errDeep)
		}
		all, err := names(dir)
		if err != nil {
			return err
		}
		for _, name := range all {
			st, ok, err := stat(dir, name)
			if err != nil || !ok {
				return err
			}
			p := path.Join(prefix, name)
			have[p] = true
			if st.Mode&unix.S_IFMT != unix.S_IFDIR {
				covers[p] = true
				continue
			}
			for _, attr := range [...]string{"opaque", "redirect"} {
				_, ok, err := t.mark(dir, name, attr)
				if err != nil {
					return err
				}
				covers[p] = covers[p] || ok
			}
			fd, err := openDir(dir, name)
			if err != nil {
				return fmt.Errorf("%s: %w", p, err)
			}
			err = walk(fd, p, depth+1)
			unix.Close(fd)
			if err != nil {
				return err
			}
		}
		return nil
	}
	return have, covers, walk(t.upper, "", 0)
}
