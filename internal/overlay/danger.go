package overlay

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// dangerous says why a thing that a sandbox made has no place outside of it, or "".
func (v *view) dangerous(c *Change, links *resolver) string {
	n := c.now
	if c.Refused != "" || n == nil {
		return c.Refused
	}
	switch n.st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return ""
	case unix.S_IFREG:
		if bits := n.st.Mode & (unix.S_ISUID | unix.S_ISGID); bits != 0 {
			return "it would run with the rights of its owner or group (mode " + octal(n.st.Mode) + "): take the bits away inside (chmod ug-s), or copy it by hand"
		}
		attrs, err := xattrs(v.tree.layer(n), n.path)
		if err != nil {
			return "its attributes can't be read: " + err.Error()
		}
		if _, ok := attrs[capability]; ok {
			return "it would give capabilities to who executes it (" + capability + "): take them away inside (setcap -r), or copy it by hand"
		}
		return ""
	case unix.S_IFLNK:
		to, err := readlinkBelow(v.tree.layer(n), n.path)
		if err != nil {
			return "it can't be read: " + err.Error()
		}
		if links.leadsOut(path.Dir(c.Path), to) {
			return "it leads out of the directory, to " + to
		}
		return ""
	case unix.S_IFIFO:
		return "a fifo leads to whatever process opens it"
	case unix.S_IFSOCK:
		return "a socket leads to whatever process listens on it"
	}
	return "a device node leads out of the directory"
}

func octal(mode uint32) string {
	const digits = "01234567"
	m := mode & 0o7777
	return string([]byte{digits[m>>9&7], digits[m>>6&7], digits[m>>3&7], digits[m&7]})
}

// resolver follows symbolic links as the kernel would, without ever asking it to, in the merged
// tree and in the directory as it is now.
type resolver struct {
	dir  string // the absolute path of the directory
	read []func(p string) (to string, link bool)
}

func (v *view) resolver() *resolver {
	r := &resolver{dir: v.layer.Dir}
	inLayer := func(layer int) func(p string) (string, bool) {
		return func(p string) (string, bool) {
			to, err := readlinkBelow(layer, p)
			return to, err == nil
		}
	}
	upper, lower := inLayer(v.upper), inLayer(v.lower)
	r.read = append(r.read, lower, func(p string) (string, bool) {
		// What the upper layer has under this name hides the one below.
		if fd, err := openBelow(v.upper, p, unix.O_PATH|unix.O_NOFOLLOW); err == nil {
			unix.Close(fd)
			return upper(p)
		}
		return lower(p)
	})
	return r
}

// leadsOut reports whether a link in dir with this text may lead out of the directory.
func (r *resolver) leadsOut(dir, text string) bool {
	for _, read := range r.read {
		if r.follow(read, dir, text) {
			return true
		}
	}
	return false
}

// maxLinks is how many links the kernel follows, path_resolution(7).
const maxLinks = 40

func (r *resolver) follow(read func(string) (string, bool), dir, text string) bool {
	at := dir
	rest, ok := r.start(&at, text)
	if !ok {
		return true
	}
	links := 0
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			if at == "." {
				return true
			}
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, name)
		to, link := read(next)
		if !link {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return true // nobody can follow it; nothing is said of where it leads
		}
		more, ok := r.start(&at, to)
		if !ok {
			return true
		}
		rest = append(more, rest...)
	}
	return false
}

// start splits a link's text, and goes to the top where it is absolute; ok is false when that
// leads out. An absolute path into the directory is taken at its word as far as the directory's own path.
func (r *resolver) start(at *string, text string) (rest []string, ok bool) {
	if strings.HasPrefix(text, "/") {
		below, ok := strings.CutPrefix(text, r.dir)
		if !ok || below != "" && below[0] != '/' {
			return nil, false
		}
		*at, text = ".", below
	}
	return strings.Split(text, "/"), true
}
