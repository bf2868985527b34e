package policy

import (
	"errors"
	"fmt"
	"path"

	"github.com/cloche-sandbox/cloche/internal/document"
)

// checkMount refuses an entry that contradicts itself, expanded or not.
func checkMount(m *Mount) error {
	bind := m.Kind == Read || m.Kind == Write
	switch m.Kind {
	case Read, Write, Hide, Tmpfs, Overlay, File, Symlink, Dev, Proc:
	default:
		return document.OneOf("kind", string(m.Kind), kinds())
	}
	for _, field := range [...]struct {
		name string
		set  bool
		fits bool
	}{
		{"source", m.Source != "", bind || m.Kind == Symlink},
		{"optional", m.Optional, bind || m.Kind == Hide},
		{"size", m.Size != 0, m.Kind == Tmpfs},
		{"mode", m.Mode != 0, m.Kind == Tmpfs || m.Kind == File},
		{"data", m.Data != "", m.Kind == File},
		{"lower", len(m.Lower) > 0, m.Kind == Overlay},
		{"upper", m.Upper != "", m.Kind == Overlay},
		{"work", m.Work != "", m.Kind == Overlay},
		{"subset", m.Subset != "", m.Kind == Proc},
		{"hidepid", m.Hidepid != "", m.Kind == Proc},
	} {
		if field.set && !field.fits {
			return fmt.Errorf("a %s has no %s: leave it out", m.Kind, field.name)
		}
	}
	for _, name := range [...]string{m.Upper, m.Work, m.Source} {
		if name == "" {
			continue
		}
		if err := checkPath(name); err != nil {
			return err
		}
	}
	for _, name := range m.Lower {
		if err := checkPath(name); err != nil {
			return fmt.Errorf("lower: %w", err)
		}
	}
	switch {
	case m.Size != 0 && checkLimit(m.Size, minMemory) != nil:
		return fmt.Errorf("size: %w", checkLimit(m.Size, minMemory))
	case m.Mode > 0o7777:
		return fmt.Errorf(`mode %#o is more than permission bits: write one such as "0755"`, m.Mode)
	case m.Kind == Symlink && m.Source == "":
		return errors.New("a symlink needs what it points to")
	case m.Work != "" && m.Upper == "":
		return errors.New("work without upper: changes that are kept in memory need none")
	case m.Upper != "" && path.Clean(m.Upper) == path.Clean(m.Work):
		return errors.New("upper and work must be two directories of one file system")
	case m.Subset != "" && m.Subset != "pid":
		return fmt.Errorf("subset: %w", document.OneOf("subset", m.Subset, []string{"pid"}))
	}
	if m.Hidepid != "" {
		return document.OneOf("hidepid", m.Hidepid, []string{"noaccess", "invisible", "ptraceable"})
	}
	return nil
}

func kinds() []string {
	names := [...]string{"read", "write", "hide", "tmpfs", "overlay", "file", "symlink", "dev", "proc"}
	return names[:]
}

// clean reports whether a path is absolute and path.Clean would leave it alone.
func clean(name string) bool {
	if name == "" || name[0] != '/' || (len(name) > 1 && name[len(name)-1] == '/') {
		return false
	}
	for i := 1; i < len(name); i++ {
		if name[i-1] != '/' || (name[i] != '/' && name[i] != '.') {
			continue
		}
		if name[i] == '/' || path.Clean(name) != name {
			return false
		}
	}
	return true
}

func notExpanded(what, name string) error {
	return fmt.Errorf("its %s %s is not absolute and clean: policy.Expand makes it so", what, document.Clip(name))
}

func validateMounts(p *Policy) error {
	kind := make(map[string]*Mount, len(p.Mounts))
	for i := range p.Mounts {
		m := &p.Mounts[i]
		if err := checkPath(m.Path); err != nil {
			return mountError(m, err)
		}
		if err := checkMount(m); err != nil {
			return mountError(m, err)
		}
		for _, name := range [...]string{m.Path, m.Upper, m.Work} {
			if name != "" && !clean(name) {
				return mountError(m, notExpanded("path", name))
			}
		}
		for _, name := range m.Lower {
			if !clean(name) {
				return mountError(m, notExpanded("lower", name))
			}
		}
		if m.Source != "" && m.Kind != Symlink && !clean(m.Source) {
			return mountError(m, notExpanded("source", m.Source))
		}
		if m.Path == "/" {
			switch m.Kind {
			case Hide, File, Symlink, Dev, Proc:
				return mountError(m, fmt.Errorf("/ can't be a %s: give a path below it", m.Kind))
			}
		}
		kind[m.Path] = m
	}
	// What lies in a thing that has no inside could never be reached.
	for i := range p.Mounts {
		m := &p.Mounts[i]
		for dir := m.Path; dir != "/"; {
			dir = path.Dir(dir)
			above := kind[dir]
			if above == nil {
				continue
			}
			switch {
			case above.Kind == Hide && m.Kind != Hide:
				return mountError(m, fmt.Errorf("it lies in what is hidden by %s: take one of the two out", describe(above)))
			case above.Kind == File || above.Kind == Symlink:
				return mountError(m, fmt.Errorf("it lies in %s, which is no directory: take one of the two out", describe(above)))
			}
		}
	}
	return nil
}
