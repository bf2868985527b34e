package policy

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/cloche-sandbox/cloche/internal/document"
)

// Expand makes every path of p absolute and clean, given the caller's home
// and working directory: "~" is the home, a relative path lies in the working
// directory. Of several entries for one path only the last stays; Mounts come
// out sorted by path, so that a parent comes before what lies in it. Modes
// that are "" are set to the strictest.
//
// A relative path is not what the policy's author saw, so it may not open
// what nobody named: one that turns out to be /, or to lie in a /proc or /dev
// that the policy makes fresh, or that the policy covers with something of
// its own, is an error. So is one that would show the home directory or what
// the home lies in, unless it says "~" or was given as a flag, by someone who
// knows where they are. Where such an entry is Optional it is left out, and
// p.Notes says so.
//
// home may be "", then "~" is an error.
func Expand(p *Policy, home, cwd string) error {
	if cwd == "" || cwd[0] != '/' {
		return fmt.Errorf("the working directory %s is not absolute", document.Clip(cwd))
	}
	if home != "" && home[0] != '/' {
		return fmt.Errorf("the home directory %s is not absolute: set HOME", document.Clip(home))
	}
	x := &expander{p: p, cwd: path.Clean(cwd)}
	if home != "" {
		x.home = path.Clean(home)
	}
	p.fillModes()
	if err := x.mounts(); err != nil {
		return err
	}
	for i := range p.Limits.IO {
		device, err := x.abs(p.Limits.IO[i].Device)
		if err != nil {
			return at(p, "limits.io", err)
		}
		p.Limits.IO[i].Device = device
	}
	if p.Cwd == "" {
		p.Cwd = "/"
	}
	dir, err := x.abs(p.Cwd)
	if err != nil {
		return at(p, "cwd", err)
	}
	if relative(p.Cwd) && x.dropped && p.visible(dir) != nil {
		p.Notes = append(p.Notes, fmt.Sprintf("the command starts in /, as %s is not shown inside", dir))
		dir = "/"
	}
	p.Cwd = dir
	return nil
}

// at names the place where a setting was asked for.
func at(p *Policy, key string, err error) error {
	where := p.Origins[key]
	if strings.HasPrefix(where, "--") {
		return fmt.Errorf("%s: %w", where, err)
	}
	if where != "" {
		return fmt.Errorf("%s: %s: %w", where, key, err)
	}
	return fmt.Errorf("%s: %w", key, err)
}

// fillModes makes the modes that a Go literal left out explicit.
func (p *Policy) fillModes() {
	if p.Network == "" {
		p.Network = NetworkNone
	}
	if p.User.Mode == "" {
		p.User.Mode = UserCurrent
	}
	if p.Seccomp == "" && p.SeccompProfile == nil {
		p.Seccomp = "default"
	}
	if p.Landlock == "" {
		p.Landlock = LandlockRequire
	}
	if p.Terminal == "" {
		p.Terminal = TerminalNever
	}
}

type expander struct {
	p         *Policy
	home, cwd string
	dropped   bool // an optional entry for the working directory was left out
}

// relative reports whether what a path means depends on where it is read.
func relative(name string) bool { return name == "" || name[0] != '/' }

// abs makes one path absolute.
func (x *expander) abs(name string) (string, error) {
	if err := checkPath(name); err != nil {
		return "", err
	}
	switch {
	case name[0] == '/':
		return path.Clean(name), nil
	case name == "~" || strings.HasPrefix(name, "~/"):
		if x.home == "" {
			return "", fmt.Errorf("%s needs a home directory, and HOME is not set: set it, or write the whole path", document.Clip(name))
		}
		return path.Join(x.home, name[1:]), nil
	case name[0] == '~':
		return "", fmt.Errorf("%s: only ~ itself is the home directory; for a file of that name write %s", document.Clip(name), document.Clip("./"+name))
	}
	return path.Join(x.cwd, name), nil
}

// mounts expands p.Mounts.
func (x *expander) mounts() error {
	fixed := make(map[string]MountKind, len(x.p.Mounts)) // what the policy itself puts at absolute paths
	for i := range x.p.Mounts {
		if m := &x.p.Mounts[i]; !relative(m.Path) {
			fixed[path.Clean(m.Path)] = m.Kind
		}
	}
	place := make(map[string]int, len(x.p.Mounts))
	out := make([]Mount, 0, len(x.p.Mounts))
	for _, m := range x.p.Mounts {
		keep, err := x.mount(&m, fixed)
		if err != nil {
			return mountError(&m, err)
		}
		if !keep {
			continue
		}
		if i, ok := place[m.Path]; ok {
			out[i] = m
			continue
		}
		place[m.Path] = len(out)
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b Mount) int { return strings.Compare(a.Path, b.Path) })
	x.p.Mounts = out
	return nil
}

// mountError names the entry that a problem is with.
func mountError(m *Mount, err error) error {
	where := m.Origin
	switch {
	case where == "":
		return fmt.Errorf("%s %s: %w", m.Kind, document.Clip(m.Path), err)
	case strings.HasPrefix(where, "--"):
		return fmt.Errorf("%s: %w", where, err)
	}
	return fmt.Errorf("%s: %s %s: %w", where, m.Kind, document.Clip(m.Path), err)
}

// mount expands one entry; keep is false when it is to be left out.
func (x *expander) mount(m *Mount, fixed map[string]MountKind) (keep bool, err error) {
	written := m.Path
	name, err := x.abs(m.Path)
	if err != nil {
		if m.Optional && x.home == "" && strings.HasPrefix(m.Path, "~") {
			x.leaveOut(written, "HOME is not set")
			return false, nil
		}
		return false, err
	}
	if relative(m.Path) && (m.Kind == Read || m.Kind == Write) {
		if why := x.unshowable(m, name, fixed); why != "" {
			if !m.Optional {
				return false, errors.New(why)
			}
			x.dropped = true
			x.leaveOut(written, why)
			return false, nil
		}
		// What is there already with the same access needs no second entry.
		if fixed[name] == m.Kind && m.Source == "" && m.Optional {
			return false, nil
		}
	}
	m.Path = name
	if m.Kind == Read || m.Kind == Write {
		if m.Source != "" {
			from := m.Source
			if m.Source, err = x.abs(from); err != nil {
				return false, err
			}
			if m.Source == "/" && relative(from) {
				return false, fmt.Errorf("its source %s is /, the whole host: write / if that is meant", document.Clip(from))
			}
		}
	}
	for i := range m.Lower {
		if m.Lower[i], err = x.abs(m.Lower[i]); err != nil {
			return false, err
		}
	}
	for _, dir := range [...]*string{&m.Upper, &m.Work} {
		if *dir != "" {
			if *dir, err = x.abs(*dir); err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

func (x *expander) leaveOut(written, why string) {
	what := document.Clip(written)
	if written == "." {
		what = "the working directory"
	}
	x.p.Notes = append(x.p.Notes, what+" is not shown: "+why)
}

// unshowable says why a relative entry that came out as name must not be
// shown, or "".
func (x *expander) unshowable(m *Mount, name string, fixed map[string]MountKind) string {
	flag := "--" + string(m.Kind) + " " + name
	if name == "/" {
		return "it is /, which is the whole host: change to another directory, or ask for it by name with " + flag
	}
	for dir := name; dir != "/"; dir = path.Dir(dir) {
		switch fixed[dir] {
		case Dev:
			if strings.HasPrefix(name, dir+"/shm/") {
				continue // a directory for data, though it lies in /dev
			}
			fallthrough
		case Proc:
			return fmt.Sprintf("%s lies in %s, which is made fresh: change to another directory", name, dir)
		}
	}
	switch kind := fixed[name]; kind {
	case Tmpfs, Overlay, File, Symlink, Hide:
		return fmt.Sprintf("the policy puts its own %s at %s: change to another directory, or ask for the host's by name with %s", kind, name, flag)
	}
	byName := strings.HasPrefix(m.Path, "~") || strings.HasPrefix(m.Origin, "--")
	if x.home != "" && x.home != "/" && !byName && within(x.home, name) {
		return fmt.Sprintf("%s holds all of your home directory: change to another directory, or ask for it by name with %s", name, flag)
	}
	return ""
}
