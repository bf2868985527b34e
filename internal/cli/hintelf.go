package cli

import (
	"bytes"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// interpreterOf is what the kernel starts in place of a file: the program of a
// script's first line, or the loader of a dynamic executable. what names it.
func interpreterOf(h hostFS, p string) (interpreter, what string) {
	f, err := h.open(p)
	if err != nil {
		return "", ""
	}
	defer f.Close()
	head := make([]byte, 256) // BINPRM_BUF_SIZE
	n, _ := f.ReadAt(head, 0)
	head = head[:n]
	if bytes.HasPrefix(head, []byte("#!")) {
		line, _, _ := bytes.Cut(head[2:], []byte("\n"))
		words := bytes.Fields(line)
		if len(words) == 0 {
			return "", ""
		}
		return string(words[0]), "script interpreter"
	}
	e := readELF(f)
	if e == nil {
		return "", ""
	}
	for _, seg := range e.segments {
		if seg.kind == ptInterp && seg.size <= unix.PathMax {
			return string(bytes.TrimRight(e.bytes(seg.offset, seg.size), "\x00")), "dynamic loader"
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
	if next, what := interpreterOf(s.v.host, n.hostPath); what == "script interpreter" {
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
	e := readELF(f)
	if e == nil {
		return nil, nil
	}
	libs, lists := e.dynamic()
	for _, list := range lists {
		for dir := range strings.SplitSeq(list, ":") {
			dir = strings.ReplaceAll(dir, "${ORIGIN}", path.Dir(p))
			dirs = append(dirs, strings.ReplaceAll(dir, "$ORIGIN", path.Dir(p)))
		}
	}
	return libs, dirs
}

// systemLibraries are the directories that a dynamic loader searches: those of
// ld.so.conf(5), and the usual ones.
func (s *search) systemLibraries() []string {
	dirs := s.loaderConf("/etc/ld.so.conf", 0)
	return append(dirs, "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu",
		"/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib")
}

// loaderConf reads the directories of one file and of those that it includes.
func (s *search) loaderConf(p string, depth int) []string {
	real, n, err := realPath(s.v.host, p)
	if err != nil || !n.is(unix.S_IFREG) || depth > 4 {
		return nil
	}
	f, err := s.v.host.open(real)
	if err != nil {
		return nil
	}
	defer f.Close()
	text := make([]byte, 64<<10)
	size, _ := f.ReadAt(text, 0)
	var dirs []string
	for line := range strings.SplitSeq(string(text[:size]), "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		switch {
		case len(words) == 1 && path.IsAbs(words[0]):
			dirs = append(dirs, words[0])
		case len(words) == 2 && words[0] == "include":
			for _, inc := range s.v.host.glob(words[1]) {
				dirs = append(dirs, s.loaderConf(inc, depth+1)...)
			}
		}
	}
	return dirs
}
