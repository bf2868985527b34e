package policy

import (
	"fmt"
	"path"
	"strings"

	"github.com/cloche-sandbox/cloche/internal/document"
)

// MountAt returns the entry of an expanded policy that decides what is at an
// absolute path: the one with the longest path that is the path itself or a
// directory above it. It reports false where there is none: there the root is
// empty.
func (p *Policy) MountAt(name string) (Mount, bool) {
	m := p.mountAt(path.Clean(name))
	if m == nil {
		return Mount{}, false
	}
	return *m, true
}

func (p *Policy) mountAt(name string) *Mount {
	var best *Mount
	for i := range p.Mounts {
		// <= as the later entry wins for the same path
		if m := &p.Mounts[i]; within(name, m.Path) && (best == nil || len(best.Path) <= len(m.Path)) {
			best = m
		}
	}
	return best
}

// within reports whether name is dir or lies in it; both clean.
func within(name, dir string) bool {
	return dir == "/" || name == dir || (strings.HasPrefix(name, dir) && name[len(dir)] == '/')
}

// visible says why a directory can't be seen inside, or nil. What a bind
// holds is for the host to say.
func (p *Policy) visible(dir string) error {
	if dir == "/" {
		return nil
	}
	m := p.mountAt(dir)
	if m == nil || (m.Path != dir && m.Kind == Tmpfs) {
		for i := range p.Mounts {
			if within(p.Mounts[i].Path, dir) {
				return nil // made for what is mounted in it
			}
		}
	}
	switch {
	case m == nil:
		return fmt.Errorf("nothing shows %s inside", document.Clip(dir))
	case m.Kind == Hide:
		return fmt.Errorf("%s hides it", describe(m))
	case m.Kind == File:
		return fmt.Errorf("%s is a file", document.Clip(m.Path))
	case m.Kind == Tmpfs && m.Path != dir:
		return fmt.Errorf("%s is empty", describe(m))
	case m.Kind == Dev && m.Path != dir && dir != m.Path+"/shm" && dir != m.Path+"/pts" && dir != m.Path+"/mqueue":
		return fmt.Errorf("%s has no such directory", describe(m))
	}
	return nil
}

// describe names an entry in a message about another thing.
func describe(m *Mount) string {
	s := fmt.Sprintf("%s %s", m.Kind, document.Clip(m.Path))
	if m.Origin != "" && !strings.HasPrefix(m.Origin, "--") {
		s += " (" + m.Origin + ")"
	}
	return s
}
