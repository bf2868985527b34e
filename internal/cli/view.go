package cli

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// view is the file system as the command sees it, computed from the policy and
// the host alone: nothing is mounted. It follows what internal/plan does.
type view struct {
	p        *policy.Policy
	host     hostFS
	who      credentials
	maker    credentials // who owns what the set-up makes
	places   []place     // by target, a directory before what lies in it
	landlock []landlockRule
	handled  uint64
	maySee   bool // walk without asking for permission: the set-up does
	terminal bool // the command has a terminal of its own
}

// place is an entry of the policy where it ends up.
type place struct {
	policy.Mount
	kind   policy.MountKind // Symlink for a bind of a link of the system
	target string           // after the sandbox's own links were followed
	real   string           // host path of what a bind shows
	link   string           // text of a Symlink
	dir    bool
	skip   bool // nothing is mounted for it
}

// newView computes the places of an expanded policy. abi is that of the
// kernel's Landlock, 0 for none.
func newView(p *policy.Policy, h hostFS, who, maker credentials, abi int) *view {
	v := &view{p: p, host: h, who: who, maker: maker}
	for i := range p.Mounts {
		m := &p.Mounts[i]
		v.places = append(v.places, place{Mount: *m, kind: m.Kind, target: m.Path, link: m.Source, dir: m.Kind != policy.File && m.Kind != policy.Symlink})
	}
	slices.SortStableFunc(v.places, func(a, b place) int { return strings.Compare(order(a.Path), order(b.Path)) })
	for i := range v.places {
		v.source(&v.places[i])
	}
	for i := range v.places {
		v.places[i].target = v.throughOwnLinks(v.places[i].target)
	}
	for i := range v.places {
		pl := &v.places[i]
		v.throughHostLinks(pl)
		v.settle(pl)
	}
	v.landlockRules(abi)
	return v
}

// order is a key that sorts a directory right before what lies in it.
func order(p string) string { return strings.ReplaceAll(p, "/", "\x00") }

// below reports whether p lies in dir, and is not dir itself.
func below(p, dir string) bool {
	if dir == "/" {
		return len(p) > 1
	}
	return len(p) > len(dir) && p[len(dir)] == '/' && p[:len(dir)] == dir
}

func sourceOf(m *policy.Mount) string {
	if m.Source != "" {
		return m.Source
	}
	return m.Path
}

// source looks at what a bind shows.
func (v *view) source(pl *place) {
	if pl.kind != policy.Read && pl.kind != policy.Write {
		return
	}
	src := sourceOf(&pl.Mount)
	real, n, err := realPath(v.host, src)
	if err != nil {
		pl.skip = true // plan refuses it, or leaves an optional one out
		return
	}
	pl.real, pl.dir = real, n.is(unix.S_IFDIR)
	if real == src || pl.Source != "" || pl.Path == "/" {
		return
	}
	// A link of the system, such as /bin → usr/bin, stays a link where what
	// it points to is shown at its own path too, and in the same way.
	if last, err := v.host.lstat(src); err != nil || !last.is(unix.S_IFLNK) {
		return
	}
	var shows *place
	for i := range v.places {
		o := &v.places[i]
		if o == pl || o.kind != policy.Read && o.kind != policy.Write || o.Source != "" && o.Source != o.Path {
			continue
		}
		if r, _, err := realPath(v.host, o.Path); err == nil && r == o.Path && (real == r || below(real, r)) && (shows == nil || len(o.Path) > len(shows.Path)) {
			shows = o
		}
	}
	if shows != nil && shows.kind == pl.kind {
		if to, err := v.host.readlink(src); err == nil {
			pl.kind, pl.link, pl.dir = policy.Symlink, to, false
		}
	}
}

// throughOwnLinks replaces the links that the sandbox makes in a target.
func (v *view) throughOwnLinks(p string) string {
	for range maxLinks {
		again := false
		for i := range v.places {
			if l := &v.places[i]; l.kind == policy.Symlink && !l.skip && below(p, l.Path) {
				to := l.link
				if !path.IsAbs(to) {
					to = path.Join(path.Dir(l.Path), to)
				}
				p, again = path.Join("/", to, p[len(l.Path):]), true
			}
		}
		if !again {
			break
		}
	}
	return p
}

// throughHostLinks follows the links on the way to a target that lies in a
// tree of the host, as the mount itself does.
func (v *view) throughHostLinks(pl *place) {
	cover := v.coverOf(pl.target)
	if pl.skip || cover == nil || pl.kind == policy.Symlink {
		return
	}
	v.maySee = true
	defer func() { v.maySee = false }()
	pl.skip = true // look under it
	if n, err := v.walk(pl.target); err == nil {
		pl.target = n.path
	} else if (pl.kind == policy.Read || pl.kind == policy.Write) && pl.Source == "" && pl.real != "" {
		pl.target = pl.real // it is put where the link leads
	}
	pl.skip = false
}

// settle leaves out what has nothing to be put on.
func (v *view) settle(pl *place) {
	if pl.skip || pl.kind != policy.Hide && pl.kind != policy.Symlink {
		return
	}
	cover := v.coverOf(pl.target)
	switch {
	case cover == nil:
		pl.skip = pl.kind == policy.Hide // the root has nothing to hide, and nothing can be made there
		return
	case cover.kind == policy.Tmpfs:
		return // the name is taken by an empty file
	case cover.kind == policy.Dev:
		name := pl.target[len(cover.target)+1:]
		pl.dir = name == "pts" || name == "shm" || name == "mqueue"
		if _, err := v.dev(cover, pl.target); err != nil && !strings.HasPrefix(name, "shm/") {
			pl.skip = pl.kind == policy.Hide
		}
		return
	}
	n, err := v.at(pl.target, pl)
	if err != nil {
		pl.skip = true
		return
	}
	pl.dir = n.is(unix.S_IFDIR)
	if pl.kind == policy.Symlink {
		pl.skip = true // the tree has it already
	}
}

// coverOf is the place in whose tree a path lies, or nil for the root.
func (v *view) coverOf(p string) *place {
	var best *place
	for i := range v.places {
		c := &v.places[i]
		if !c.skip && c.kind != policy.Symlink && c.kind != policy.File && below(p, c.target) && (best == nil || len(best.target) <= len(c.target)) {
			best = c
		}
	}
	return best
}

// absent refuses what a run would refuse too: an entry that shows what is not there.
func (v *view) absent() error {
	for i := range v.places {
		pl := &v.places[i]
		if (pl.kind != policy.Read && pl.kind != policy.Write) || pl.Optional {
			continue
		}
		if _, _, err := realPath(v.host, sourceOf(&pl.Mount)); err != nil {
			return fmt.Errorf("%s: %s: %s", pl.rule(), sourceOf(&pl.Mount), whyFile(err))
		}
	}
	return nil
}

// rule names a place in an answer, with the line or flag that asked for it.
func (pl *place) rule() string {
	if pl == nil {
		return ""
	}
	s := string(pl.Kind) + " " + pl.Path
	switch {
	case pl.Origin == "":
	case strings.HasPrefix(pl.Origin, "--"):
		s = pl.Origin
	default:
		s += " (" + pl.Origin + ")"
	}
	return s
}
