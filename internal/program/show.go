package program

import (
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// defaultPath is searched where the environment has no PATH, as the launcher does.
const defaultPath = "/usr/local/bin:/usr/bin:/bin"

// Show carries out a policy's ShowCommand: it adds to p, which is not expanded
// yet, the command's own file and what that needs to load, read-only. env is the
// environment inside; home and dir are the caller's, as for policy.Expand. What
// the policy shows, hides or replaces itself stays as it is.
//
// It returns the arguments with a path of the command that means the same
// inside, where the working directory may be another. A command that it
// can't find is left for the launcher to complain of.
func Show(p *policy.Policy, args, env []string, home, dir string) []string {
	if !p.ShowCommand || len(args) == 0 || args[0] == "" {
		return args
	}
	inside := p.Clone()
	if policy.Expand(inside, home, dir) != nil {
		return args // whoever expands p has the same error
	}
	s := &shower{
		inside: inside, origin: p.Origins["filesystem.show-command"], seen: make(map[string]bool), dir: dir,
		path: variable(env, "PATH", defaultPath), libraries: strings.Split(variable(env, "LD_LIBRARY_PATH", ""), ":"),
	}
	file := s.find(args[0])
	if file == "" {
		return args
	}
	s.program(file, 0)
	p.Mounts = append(slices.Clip(p.Mounts), s.added...)
	if _, proc := inside.MountAt("/proc/self/exe"); s.byOrigin && !proc {
		p.Notes = append(p.Notes, `the command's libraries are beside it ($ORIGIN), which the loader finds out from /proc, and the policy shows none: add proc = "private" to [filesystem]`)
	}
	if strings.IndexByte(args[0], '/') > 0 && inside.Cwd != path.Clean(dir) {
		args = append([]string{file}, args[1:]...)
	}
	return args
}

func variable(env []string, name, otherwise string) string {
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return otherwise
}

// shower collects what is to be shown.
type shower struct {
	inside    *policy.Policy // expanded, with what was added
	added     []policy.Mount
	origin    string
	dir       string // of the caller
	path      string
	libraries []string // LD_LIBRARY_PATH
	system    []string // LoaderDirs, once they were read
	seen      map[string]bool
	byOrigin  bool // where a library is depends on $ORIGIN
}

// find is where a program is that is looked up as the launcher does, "" where
// there is none.
func (s *shower) find(name string) string {
	runs := func(p string) bool {
		info, err := os.Stat(p)
		return err == nil && info.Mode().IsRegular() && unix.Access(p, unix.X_OK) == nil
	}
	if strings.IndexByte(name, '/') >= 0 {
		if !path.IsAbs(name) {
			name = path.Join(s.dir, name)
		}
		if runs(name) {
			return name
		}
		return ""
	}
	for dir := range strings.SplitSeq(s.path, ":") {
		if p := path.Join(dir, name); path.IsAbs(dir) && runs(p) {
			return p
		}
	}
	return ""
}

// maxDepth is how deep the kernel follows interpreters, execve(2).
const maxDepth = 5

// program shows an executable file with its interpreters and libraries.
func (s *shower) program(name string, depth int) {
	if s.seen[name] || depth > maxDepth {
		return
	}
	s.seen[name] = true
	if depth > 0 && unix.Access(name, unix.X_OK) != nil {
		return // a script may name any file: what the kernel would not execute is not shown for it
	}
	s.show(name)
	real, err := filepath.EvalSymlinks(name)
	if err != nil {
		return
	}
	f, err := open(real)
	if err != nil {
		return // one may execute a file that one can't read: only the file itself, then
	}
	defer f.Close()
	if words := Script(f); words != nil {
		if len(words) == 0 || !path.IsAbs(words[0]) {
			return
		}
		s.program(words[0], depth+1)
		if path.Base(words[0]) == "env" && len(words) > 1 {
			if name := s.find(envCommand(words[1])); name != "" {
				s.program(name, depth+1)
			}
		}
		return
	}
	if e := ReadELF(f); e != nil {
		if loader := e.Interpreter(); path.IsAbs(loader) && isELF(loader) {
			s.show(loader)
			s.show("/etc/ld.so.cache")
		}
		s.needed(e, path.Dir(real))
	}
}

// isELF reports whether a file is one that could be a loader.
func isELF(name string) bool {
	f, err := open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	return ReadELF(f) != nil
}

// needed shows the libraries of an object, and those that they need.
func (s *shower) needed(top *ELF, origin string) {
	type object struct {
		names, dirs []string
	}
	names, lists := top.Dynamic()
	if len(names) == 0 {
		return
	}
	if s.system == nil {
		s.system = LoaderDirs(text, func(pattern string) []string { names, _ := filepath.Glob(pattern); return names })
	}
	s.byOrigin = s.byOrigin || strings.Contains(strings.Join(lists, ":"), "ORIGIN")
	own := Searched(lists, origin) // DT_RPATH holds for what the libraries need, too
	queue := []object{{names, nil}}
	const most = 1000 // no program needs as many; a hostile one may name as many
	for len(queue) > 0 && len(s.seen) < most {
		o := queue[0]
		queue = queue[1:]
		dirs := slices.Concat(o.dirs, own, s.libraries, s.system)
		for _, name := range o.names {
			if s.seen[name] || len(s.seen) >= most {
				continue
			}
			s.seen[name] = true
			file, lib := s.library(top, name, dirs)
			if lib == nil {
				continue
			}
			s.show(file)
			names, lists := lib.Dynamic()
			lib.file.(io.Closer).Close()
			queue = append(queue, object{names, Searched(lists, path.Dir(file))})
		}
	}
}

// library finds a library for top, open; the caller closes it.
func (s *shower) library(top *ELF, name string, dirs []string) (string, *ELF) {
	if strings.IndexByte(name, '/') >= 0 {
		dirs, name = []string{path.Dir(name)}, path.Base(name)
	}
	for _, dir := range dirs {
		if !path.IsAbs(dir) {
			continue
		}
		file := path.Join(dir, name)
		f, err := open(file)
		if err != nil {
			continue
		}
		if lib := ReadELF(f); lib != nil && top.Matches(lib) {
			return file, lib
		}
		f.Close()
	}
	return "", nil
}

// open opens a regular file; a pipe or a device must not make anybody wait.
func open(name string) (*os.File, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd)
		return nil, unix.EINVAL
	}
	return os.NewFile(uintptr(fd), name), nil
}

// text is the beginning of a text file, "" of one that can't be read.
func text(name string) string {
	f, err := open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, MaxConf))
	return string(b)
}
