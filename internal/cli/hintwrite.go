package cli

import (
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// nothingWritable is a line for a command that ended with an error where it
// could write nothing: its working directory is shown read-only, and the caller
// could have written there. Otherwise it is "".
func nothingWritable(v *view) string {
	cwd := v.p.Cwd
	n, err := v.walk(cwd)
	if err != nil || n.place == nil || n.place.kind != policy.Read || n.hostPath == "" {
		return ""
	}
	for i := range v.places {
		pl := &v.places[i]
		if !pl.skip && below(pl.target, n.path) && (pl.kind == policy.Write || pl.kind == policy.Tmpfs || pl.kind == policy.Overlay) {
			return ""
		}
	}
	if !v.permits(n, mayWrite) || v.host.mountFlags(n.hostPath)&unix.ST_RDONLY != 0 {
		return "" // the flag would not help
	}
	line := "nothing under " + n.path + " is writable inside; to let the command write there: "
	if n.hostPath == n.path {
		return line + "--write " + shellWord(n.path)
	}
	return line + "--bind " + shellWord(n.hostPath+":"+n.path+":rw")
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
