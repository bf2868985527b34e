package cli

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/program"
	"github.com/cloche-sandbox/cloche/policy"
)

// defaultPath is searched by the launcher where the environment has no PATH.
const defaultPath = "/usr/local/bin:/usr/bin:/bin"

// search looks for a command as the launcher does inside and as a shell does
// outside, to tell what is missing.
type search struct {
	v         *view
	inside    string // PATH inside
	outside   string // PATH of the caller
	libraries string // LD_LIBRARY_PATH inside
	cwd       string // of the caller
}

func pathOf(env []string) string {
	if p, ok := lookup(env, "PATH"); ok {
		return p
	}
	return defaultPath
}

func variable(env []string, name string) string {
	v, _ := lookup(env, name)
	return v
}

func lookup(env []string, name string) (string, bool) {
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v, true
		}
	}
	return "", false
}

// hiddenCommand says why name can't be executed inside where the cause is that
// something that exists outside is hidden or unreadable there, or "".
func (s *search) hiddenCommand(name string, errno unix.Errno) string {
	if in := s.find(name); in != nil {
		return s.hiddenInterpreter(name, in)
	}
	out := s.findOutside(name)
	if out == "" {
		return s.nearby(name, errno)
	}
	n, err := s.v.walk(out)
	switch {
	case s.v.hiddenBy(out, n, err) != nil:
		return s.hidden(out, n, err)
	case err == nil && n.hostPath != "" && !s.v.permits(n, mayExec):
		return clip(out) + ": it is shown inside, and the ids inside may not execute it" + asWhom(s.v)
	case err == nil && n.is(unix.S_IFREG) && n.place != nil && n.noExec:
		return clip(out) + ": it lies on a file system without exec (mount -o remount,exec changes that), or copy it elsewhere"
	case err == nil && n.is(unix.S_IFREG) && strings.IndexByte(name, '/') < 0:
		return clip(name) + ": it is at " + out + ", which is not in the PATH inside (" + clip(s.inside) + "); write the whole path, or --env PATH"
	case err == nil:
		return ""
	}
	return s.hidden(out, n, err)
}

// hidden names a path that is there outside, and what would make it usable.
// n and err are what walking to it inside gave.
func (s *search) hidden(p string, n *node, err error) string {
	if pl := s.v.hiddenBy(p, n, err); pl != nil {
		return clip(p) + " exists outside but is hidden inside by " + pl.rule() + "; take that out, or copy the file elsewhere"
	}
	if l, ok := err.(*lost); ok && l.errno == unix.EACCES {
		return clip(p) + " exists outside but the ids inside may not enter " + clip(l.at) + asWhom(s.v)
	}
	return clip(p) + " exists outside but is hidden inside; to show it: --read " + shellWord(p)
}

// hiddenBy is the hide entry that keeps a path from being used, or nil: that of the
// path, of what its links lead to, or of where a walk ended.
func (v *view) hiddenBy(p string, n *node, err error) *place {
	if n != nil && n.place != nil && n.place.kind == policy.Hide {
		return n.place
	}
	if l, ok := err.(*lost); ok {
		if l.place != nil && l.place.kind == policy.Hide {
			return l.place
		}
		if pl := v.hider(l.at); pl != nil {
			return pl
		}
	}
	if pl := v.hider(p); pl != nil {
		return pl
	}
	if real, _, err := realPath(v.host, p); err == nil {
		return v.hider(real)
	}
	return nil
}

// hider is the hide entry that a path lies in, or nil.
func (v *view) hider(p string) *place {
	p = v.throughOwnLinks(p)
	for i := range v.places {
		pl := &v.places[i]
		if pl.Kind == policy.Hide && !pl.skip && (pl.target == p || below(p, pl.target)) {
			return pl
		}
	}
	return nil
}

// hiddenInWords is for a command that ran and ended as if another one was not
// found: one that env(1) should run, or a shell, on the command line or in the
// first line of a script.
func (s *search) hiddenInWords(args []string) string {
	name := args[0]
	if tool := envTool(args); tool != "" {
		return s.hiddenCommand(tool, unix.ENOENT)
	}
	if n := s.find(name); n != nil && n.hostPath != "" {
		if f, err := s.v.host.open(n.hostPath); err == nil {
			words := program.Script(f)
			f.Close()
			if len(words) == 2 {
				if tool := envTool(append(words[:1:1], strings.Fields(words[1])...)); tool != "" {
					if hint := s.hiddenCommand(tool, unix.ENOENT); hint != "" {
						return clip(name) + ": its script interpreter " + hint
					}
					return ""
				}
			}
		}
	}
	for _, c := range commandsOf(args) {
		if word := c.words[0]; word != name && !strings.ContainsAny(word, "$`*?~") && s.find(word) == nil && s.findOutside(word) != "" {
			return s.hiddenCommand(word, unix.ENOENT)
		}
	}
	return ""
}

// envTool is the command that env(1) is told to run, where args are a command line
// of it, or "".
func envTool(args []string) string {
	if path.Base(args[0]) != "env" {
		return ""
	}
	for _, word := range args[1:] {
		word = strings.TrimPrefix(word, "-S")
		if word != "" && word[0] != '-' && strings.IndexByte(word, '=') < 0 {
			return word
		}
	}
	return ""
}

// asWhom tells who the command is where that is not who the caller is.
func asWhom(v *view) string {
	if v.who.uid == v.maker.uid && v.maker.uid != 0 {
		return "; make it accessible (chmod), or copy it elsewhere"
	}
	return " (root without capabilities is an ordinary user inside); make it accessible (chmod o+rx), or copy it elsewhere"
}

// find looks name up inside. It returns the file when it could be executed.
func (s *search) find(name string) *node {
	for _, p := range s.candidates(name, s.inside, s.v.p.Cwd) {
		if n, err := s.v.walk(p); err == nil && n.is(unix.S_IFREG) && !n.noExec && s.v.permits(n, mayExec) {
			return n
		}
	}
	return nil
}

// findOutside looks name up as the caller's shell would. A script of the
// working directory, which no PATH names, is found by its path alone.
func (s *search) findOutside(name string) string {
	for _, p := range s.candidates(name, s.outside, s.cwd) {
		if _, n, err := realPath(s.v.host, p); err == nil && n.is(unix.S_IFREG) && n.mode&0o111 != 0 {
			return p
		}
	}
	return ""
}

func (s *search) candidates(name, dirs, cwd string) []string {
	if strings.IndexByte(name, '/') >= 0 {
		if !path.IsAbs(name) {
			name = path.Join(cwd, name)
		}
		return []string{name}
	}
	var all []string
	for dir := range strings.SplitSeq(dirs, ":") {
		if path.IsAbs(dir) {
			all = append(all, path.Join(dir, name))
		}
	}
	return all
}

// nearby explains a name that is not found outside either, where a reason shows.
func (s *search) nearby(name string, errno unix.Errno) string {
	if name == "." || name == ".." {
		return name + ": it is a directory; name a program"
	}
	for _, p := range s.candidates(name, s.outside, s.cwd) {
		_, n, err := realPath(s.v.host, p)
		if strings.IndexByte(name, '/') < 0 {
			continue
		}
		switch {
		case err != nil:
			if errno == unix.ENOENT {
				return clip(name) + ": no such file, inside or outside; check the path"
			}
		case n.is(unix.S_IFDIR):
			return clip(name) + ": it is a directory; name a program"
		case !n.is(unix.S_IFREG):
			return clip(name) + ": it is no regular file; name a program"
		case n.mode&0o111 == 0:
			return clip(name) + ": it has no permission to be executed; chmod +x " + shellWord(p)
		}
	}
	if strings.IndexByte(name, '/') < 0 && errno == unix.ENOENT {
		if _, n, err := realPath(s.v.host, path.Join(s.cwd, name)); err == nil && n.is(unix.S_IFREG) {
			return clip(name) + ": no such command in the PATH inside; for the file of the working directory write ./" + clip(name)
		}
		return clip(name) + ": no such command, inside or outside; check its name and PATH (inside: " + clip(s.inside) + ")"
	}
	return ""
}

// hiddenInterpreter is for a file that may be executed and was not found all the
// same: what it needs to run is missing.
func (s *search) hiddenInterpreter(name string, n *node) string {
	for range maxInterpreters {
		if n.hostPath == "" {
			return ""
		}
		next, what := interpreterOf(s.v.host, n.hostPath)
		if next == "" {
			if what != "" {
				return clip(name) + ": its first line names no " + what + " after #!; write one such as #!/bin/sh"
			}
			return ""
		}
		if !path.IsAbs(next) {
			return clip(name) + ": its interpreter " + clip(next) + " is not a whole path; write one after #!"
		}
		in, err := s.v.walk(next)
		if err != nil {
			if _, _, outside := realPath(s.v.host, next); outside != nil && s.v.hiddenBy(next, nil, err) == nil {
				return clip(name) + ": its " + what + " " + clip(next) + " does not exist, outside or inside; install it, or correct the first line"
			}
			return clip(name) + ": its " + what + " " + s.hidden(next, nil, err)
		}
		if s.v.hiddenBy(next, in, nil) != nil {
			return clip(name) + ": its " + what + " " + s.hidden(next, in, nil)
		}
		if !in.is(unix.S_IFREG) || in.noExec || !s.v.permits(in, mayExec) {
			return clip(name) + ": its " + what + " " + clip(next) + " can't be executed inside" + asWhom(s.v)
		}
		name, n = next, in
	}
	return ""
}

// maxInterpreters is how deep the kernel follows interpreters, execve(2).
const maxInterpreters = 5
