package plan

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// What lies in what: where each mount goes once the links of the sandbox's own
// are followed, which other mount it covers a part of, and whether it can.

// findTargets follows the links that the sandbox itself makes, in the paths of
// all entries.
func (b *arrangement) findTargets() {
	b.links = b.links[:0]
	for i := range b.mounts {
		if n := &b.mounts[i]; n.Kind == policy.Symlink && !n.skip {
			b.links = append(b.links, i)
		}
	}
	b.at = make(map[string]int, len(b.mounts))
	for i := range b.mounts {
		n := &b.mounts[i]
		n.target = b.followOwnLinks(n.Path)
		if n.covers() {
			if _, taken := b.at[n.target]; !taken {
				b.at[n.target] = i
			}
		}
	}
}

// covers reports whether others can lie in what a node mounts.
func (n *mountNode) covers() bool {
	return !n.skip && n.Kind != policy.Symlink && n.Kind != policy.File
}

func (b *arrangement) followOwnLinks(p string) string {
	for range 40 {
		changed := false
		for _, i := range b.links {
			n := &b.mounts[i]
			if within(p, n.Path) {
				to := n.Source
				if !strings.HasPrefix(to, "/") {
					to = path.Join(path.Dir(n.Path), to)
				}
				p = path.Join("/", to, p[len(n.Path):])
				changed = true
			}
		}
		if !changed {
			break
		}
	}
	return p
}

// findCover finds what the place of a node lies in.
func (b *arrangement) findCover(n *mountNode, i int) {
	n.cover, n.own = -1, true
	for dir := n.target; dir != "/"; {
		dir = path.Dir(dir)
		if j, ok := b.at[dir]; ok {
			if j = b.firstAt(dir, j, i); j >= 0 {
				n.cover = j
				n.own = b.mounts[j].Kind == policy.Tmpfs || b.mounts[j].Kind == policy.Dev
				return
			}
		}
	}
	n.own = n.target != "/"
}

// firstAt is the first node from j on that is mounted at dir and is not i; what
// was there may have turned out to be nothing.
func (b *arrangement) firstAt(dir string, j, i int) int {
	for ; j < len(b.mounts); j++ {
		if j != i && b.mounts[j].covers() && b.mounts[j].target == dir {
			return j
		}
	}
	return -1
}

// hostPathUnder is the host's path at a node's target, when the target lies in a
// tree of the host's.
func (b *arrangement) hostPathUnder(n *mountNode) (string, bool) {
	if n.cover < 0 {
		return "", false
	}
	c := &b.mounts[n.cover]
	tree := c.real
	switch c.Kind {
	case policy.Read, policy.Write:
	case policy.Overlay:
		tree = overlayLower(&c.Mount)[0]
	default:
		return "", false
	}
	return path.Join(tree, n.target[len(strings.TrimSuffix(c.target, "/")):]), true
}

// coverNode decides whether a node can be mounted where it goes.
func (b *arrangement) coverNode(i int) error {
	n := &b.mounts[i]
	if n.skip {
		return nil
	}
	b.findCover(n, i)
	if n.target == "/" {
		switch n.Kind {
		case policy.Read, policy.Write, policy.Tmpfs, policy.Overlay:
			if !n.dir {
				return n.refuse("the root must be a directory", "name one")
			}
			return nil
		}
		return n.refuse("the root can't be this", "use read, write, overlay or tmpfs for /")
	}
	if n.own {
		return nil
	}
	c := &b.mounts[n.cover]
	switch c.Kind {
	case policy.Hide:
		if n.Kind == policy.Hide {
			n.skip = true
			return nil
		}
		return n.refuse("it lies in "+c.Path+", which is hidden", "drop one of the two entries")
	case policy.Proc:
		return nil
	case policy.Overlay:
		// What is missing can be made: in the upper layer.
		on, _ := b.hostPathUnder(n)
		if f := b.facts[on]; f.Exists && n.Kind == policy.Hide {
			n.dir = f.Mode&unix.S_IFMT == unix.S_IFDIR
		}
		return nil
	}

	// In a host's tree nothing may be made: the name must exist there.
	on, _ := b.hostPathUnder(n)
	f, ok := b.facts[on]
	if !ok {
		// Never taken for "not there": a hide would be dropped in silence.
		return n.refuse("nobody has looked at "+on, "this is a defect of Cloche: please report it")
	}
	if !f.Exists && f.Err != "ENOENT" && f.Err != "ENOTDIR" && n.Kind == policy.Hide {
		return n.refuse(on+" can't be looked at: "+f.Err, "leave the entry out, or make its directory searchable")
	}
	if !f.Exists {
		if n.Kind == policy.Hide {
			if c.Kind == policy.Write {
				return n.refuse("it does not exist yet and "+c.Path+" is writable inside, so the name can't be kept from being made without touching the host", "create "+on+" first (mkdir or touch), or do not make "+c.Path+" writable")
			}
			n.skip = true // what is not there can't be made in a read-only tree
			return nil
		}
		if n.Kind == policy.Symlink && n.Mount.Optional {
			n.skip = true
			return nil
		}
		return n.refuse("there is no "+on+" to mount it on, and making one would change the host", "create it first, or use a root of its own (the default profile's) instead of "+string(c.Kind)+" "+c.Path)
	}
	if n.Kind == policy.Symlink {
		if f.Link == n.Source {
			n.skip = true
			return nil
		}
		return n.refuse("a link can't be made in a tree of the host", "bind what it should point to instead")
	}
	isDir := f.Mode&unix.S_IFMT == unix.S_IFDIR
	if n.Kind == policy.Hide {
		n.dir = isDir
	} else if isDir != n.dir {
		return n.refuse("one of it and "+on+" is a directory and the other is not", "name two directories or two files")
	}
	return nil
}
