package cli

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/program"
)

// interpreterOf is what the kernel starts in place of a file: the program of a
// script's first line, or the loader of a dynamic executable. what names it.
func interpreterOf(h hostFS, p string) (interpreter, what string) {
	f, err := h.open(p)
	if err != nil {
		return "", ""
	}
	defer f.Close()
	if words := program.Script(f); words != nil {
		return append(words, "")[0], "script interpreter" // "": the line names none
	}
	if e := program.ReadELF(f); e != nil {
		if i := e.Interpreter(); i != "" {
			return i, "dynamic loader"
		}
	}
	return "", ""
}

// hiddenLibraries names the shared libraries that a command needs, that the
// host has, and that are hidden inside; or "".
func (s *search) hiddenLibraries(name string) string {
	n := s.find(name)
	if n == nil || n.hostPath == "" {
		return ""
	}
	seen := map[string]bool{}
	queue := []*node{n}
	if next, what := interpreterOf(s.v.host, n.hostPath); what == "script interpreter" && next != "" {
		if n, err := s.v.walk(next); err == nil && n.hostPath != "" {
			queue = append(queue, n)
		}
	}
	var missing []string
	for len(queue) > 0 && len(seen) < 1000 {
		f := queue[0]
		queue = queue[1:]
		libs, dirs := neededBy(s.v.host, f.hostPath)
		if libs == nil {
			continue
		}
		dirs = append(dirs, strings.Split(s.libraries, ":")...)
		dirs = append(dirs, s.systemLibraries()...)
		for _, lib := range libs {
			if seen[lib] {
				continue
			}
			seen[lib] = true
			in, outside := s.library(lib, dirs)
			switch {
			case in != nil:
				queue = append(queue, in)
			case outside != "":
				missing = append(missing, outside)
			}
		}
	}
	if len(missing) == 0 {
		return ""
	}
	if pl := s.v.hiddenBy(missing[0], nil, nil); pl != nil {
		return clip(name) + ": its library " + s.hidden(missing[0], nil, nil)
	}
	line := clip(name) + ": its library " + clip(missing[0]) + " exists outside but is hidden inside; to show it:"
	if len(missing) > 1 {
		line = clip(name) + ": its libraries " + clip(strings.Join(missing, ", ")) + " exist outside but are hidden inside; to show them:"
	}
	for _, m := range missing {
		line += " --read " + shellWord(m)
	}
	return line
}

// library looks a library up in directories, inside and outside.
func (s *search) library(lib string, dirs []string) (in *node, outside string) {
	if strings.IndexByte(lib, '/') >= 0 {
		dirs, lib = []string{path.Dir(lib)}, path.Base(lib)
	}
	for _, dir := range dirs {
		if !path.IsAbs(dir) {
			continue
		}
		p := path.Join(dir, lib)
		if n, err := s.v.walk(p); err == nil && n.hostPath != "" && s.v.permits(n, mayRead) {
			return n, ""
		}
		if _, n, err := realPath(s.v.host, p); err == nil && n.is(unix.S_IFREG) && outside == "" {
			outside = p
		}
	}
	return nil, outside
}

// neededBy lists the libraries that a file names, and the directories that it
// wants them looked up in. libs is nil for what is no ELF file.
func neededBy(h hostFS, p string) (libs, dirs []string) {
	f, err := h.open(p)
	if err != nil {
		return nil, nil
	}
	defer f.Close()
	e := program.ReadELF(f)
	if e == nil {
		return nil, nil
	}
	libs, lists := e.Dynamic()
	return libs, program.Searched(lists, path.Dir(p))
}

// systemLibraries are the directories that a dynamic loader searches.
func (s *search) systemLibraries() []string {
	read := func(p string) string {
		real, n, err := realPath(s.v.host, p)
		if err != nil || !n.is(unix.S_IFREG) {
			return ""
		}
		f, err := s.v.host.open(real)
		if err != nil {
			return ""
		}
		defer f.Close()
		text := make([]byte, program.MaxConf)
		size, _ := f.ReadAt(text, 0)
		return string(text[:size])
	}
	return program.LoaderDirs(read, s.v.host.glob)
}
