package cli

import (
	"path"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// failedToWrite is a line for a command that ended with an error and may have
// tried to write where it can't: to the place that its words name, else to
// its working directory. That it tried nobody has seen, so the line says if. For
// a command that writes nothing anyway, and where no flag would help, it is "".
// caller is the working directory outside.
func failedToWrite(v *view, args []string, caller string) string {
	all := commandsOf(args)
	elsewhere, moved := false, v.moved(caller)
	for _, c := range all {
		if c.writes == writesNothing {
			continue
		}
		for _, t := range c.targets() {
			if t.path == "" {
				continue
			}
			abs := path.Clean(t.path)
			if !path.IsAbs(t.path) {
				if moved {
					elsewhere = true
					continue
				}
				abs = path.Join(v.p.Cwd, t.path)
			}
			if !t.sure && (abs == v.p.Cwd || below(abs, v.p.Cwd)) {
				continue // the working directory's turn comes
			}
			if why := v.unwritable(abs, t.sure, c.removes()); why != "" {
				return ifWriting + why
			}
		}
		// What names all that it writes to can write there, or no flag helps.
		elsewhere = elsewhere || c.writes == writesSomewhere || c.unknown
	}
	if !elsewhere {
		return ""
	}
	if why := v.unwritableCwd(caller); why != "" {
		return ifWriting + why
	}
	return ""
}

const ifWriting = "if it failed to write: "

// unwritable says why nothing can be written at a path, and which flag changes
// that. A path that exists may as well have been read: it counts where sure says
// that it is written to. removes says that what changes is the directory.
func (v *view) unwritable(p string, sure, removes bool) string {
	if sure && removes {
		p = path.Dir(p)
	}
	n, err := v.walk(p)
	if l, ok := err.(*lost); ok && l.dir != nil {
		if line := v.notShown(path.Dir(p), l.dir); line != "" {
			return line
		}
		return v.readOnlyLine(l.dir)
	}
	switch {
	case err == nil && sure:
		return v.readOnlyLine(n)
	case err != nil:
		return v.notShown(path.Dir(p), nil)
	}
	return ""
}

// readOnlyLine is for a file or directory that is there.
func (v *view) readOnlyLine(n *node) string {
	if n.place == nil && n.readOnly {
		return "nothing in " + n.path + " itself is writable inside; to let the command write to a directory there: --write DIR, --bind DIR:PLACE:rw, or --tmpfs PLACE"
	}
	if n.place == nil || n.place.kind != policy.Read || n.hostPath == "" {
		return ""
	}
	if !v.permits(n, mayWrite) || v.host.mountFlags(n.hostPath)&unix.ST_RDONLY != 0 {
		return "" // the flag would not help
	}
	line := n.path + " is read-only inside"
	if n.is(unix.S_IFDIR) {
		line = "nothing under " + n.path + " is writable inside"
	}
	line += "; to let the command write there: "
	if n.hostPath == n.path {
		return line + "--write " + shellWord(n.path)
	}
	return line + "--bind " + shellWord(n.hostPath+":"+n.path+":rw")
}

// notShown is for a directory that the host has and the sandbox has not, or, with
// in, has something else in its place of.
func (v *view) notShown(dir string, in *node) string {
	if in != nil && in.place != nil {
		return ""
	}
	real, n, err := realPath(v.host, dir)
	if err != nil || !n.is(unix.S_IFDIR) || dir == "/" {
		return ""
	}
	for i := range v.places {
		if pl := &v.places[i]; pl.Kind == policy.Hide && (pl.target == dir || below(dir, pl.target)) {
			return ""
		}
	}
	if !v.permits(&node{inode: n, hostPath: real}, mayWrite) || v.host.mountFlags(real)&unix.ST_RDONLY != 0 {
		return ""
	}
	return dir + " is not shown inside; to let the command write there: --write " + shellWord(dir)
}

// unwritableCwd is about the working directory: that it is shown read-only, or not
// shown at all, as a whole home or a whole host is not.
func (v *view) unwritableCwd(caller string) string {
	n, err := v.walk(v.p.Cwd)
	if err != nil {
		return ""
	}
	for i := range v.places {
		pl := &v.places[i]
		if n.path != "/" && !pl.skip && below(pl.target, n.path) && (pl.kind == policy.Write || pl.kind == policy.Tmpfs || pl.kind == policy.Overlay) {
			return ""
		}
	}
	if v.moved(caller) {
		return v.notShown(caller, nil)
	}
	return v.readOnlyLine(n)
}

// moved reports whether the command runs in / because the caller's working
// directory is not shown.
func (v *view) moved(caller string) bool {
	if v.p.Cwd != "/" || caller == "/" {
		return false
	}
	n, err := v.walk(caller)
	return err != nil || n.place == nil // a directory made for what lies in it
}

// shellWord quotes a word where a shell would not take it as it is.
func shellWord(s string) string {
	plain := s != ""
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			switch c {
			case '/', '.', '-', '_', '+', ':', ',', '=', '@', '%', '~':
			default:
				plain = plain && c >= 0x80
			}
		}
	}
	if plain {
		return s
	}
	q := []byte{'\''}
	for i := range len(s) {
		if s[i] == '\'' {
			q = append(q, `'\''`...)
		} else {
			q = append(q, s[i])
		}
	}
	return string(append(q, '\''))
}
