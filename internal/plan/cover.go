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
	for i := range b.mounts {
		b.followHostLinks(&b.mounts[i], i)
	}
}

// followHostLinks puts what lies behind a link of the host's, in a tree of the
// host's that is shown, where the link leads: the link itself is shown already, and
// leads there inside as well. (/etc/resolv.conf, where it leads into /run.) In a
// tree that the command may write it could replace the link: inHostTree refuses that.
func (b *arrangement) followHostLinks(n *mountNode, i int) {
	if n.skip || n.Kind != policy.Read && n.Kind != policy.Write || n.Source != "" || n.real == n.Path || n.target == "/" {
		return
	}
	b.findCover(n, i)
	if n.cover < 0 {
		return
	}
	switch kind := b.mounts[n.cover].Kind; {
	case kind == policy.Read, n.Kind == policy.Write && (kind == policy.Write || kind == policy.Overlay):
		if b.at[n.target] == i {
			delete(b.at, n.target)
		}
		n.target = b.followOwnLinks(n.real)
		if _, taken := b.at[n.target]; !taken {
			b.at[n.target] = i
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
// tree of the host's, or in a /proc, where the host's tells what there is.
func (b *arrangement) hostPathUnder(n *mountNode) (string, bool) {
	if n.cover < 0 {
		return "", false
	}
	c := &b.mounts[n.cover]
	tree := c.real
	switch c.Kind {
	case policy.Read, policy.Write:
	case policy.Proc:
		return path.Join("/proc", n.target[len(c.target):]), true
	case policy.Overlay:
		tree = overlayLower(&c.Mount)[0]
	default:
		return "", false
	}
	return path.Join(tree, n.target[len(strings.TrimSuffix(c.target, "/")):]), true
}

// guards reports whether a node is there to keep the command from what is, or
// could come to be, at its name.
func (n *mountNode) guards() bool { return n.Kind != policy.Write && n.Kind != policy.Symlink }

// writable reports whether the command can make and rename names in the tree that
// a node lies in.
func (b *arrangement) writable(n *mountNode) bool {
	if n.cover < 0 {
		return false
	}
	c := &b.mounts[n.cover]
	switch c.Kind {
	case policy.Write, policy.Tmpfs, policy.Overlay:
		return true
	case policy.Dev:
		return within(n.target, c.target+"/shm")
	}
	return false
}

// coverNode decides whether a node can be mounted where it goes.
func (b *arrangement) coverNode(i int) error {
	n := &b.mounts[i]
	if n.skip {
		return b.missing(n, i)
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
	n.protect = n.guards() && b.writable(n)
	if n.cover < 0 {
		return nil
	}
	c := &b.mounts[n.cover]
	switch c.Kind {
	case policy.Tmpfs:
		if n.Kind == policy.Hide {
			n.dir = false // nothing is there: the name is taken by an empty file
		}
		return nil
	case policy.Dev:
		return b.inDev(n, c)
	case policy.Proc:
		return b.inProc(n, c)
	case policy.Hide:
		if n.Kind == policy.Hide {
			n.skip = true
			return nil
		}
		return n.refuse("it lies in "+c.Path+", which is hidden", "drop one of the two entries")
	}
	return b.inHostTree(n, c)
}

// missing is about an optional entry for what does not exist. Below a tree that the
// command may write such a name would be the command's to make.
func (b *arrangement) missing(n *mountNode, i int) error {
	if n.Kind != policy.Read {
		return nil
	}
	b.findCover(n, i)
	if n.cover < 0 || b.mounts[n.cover].Kind != policy.Write {
		return nil
	}
	return b.notYet(n, n.Path, &b.mounts[n.cover])
}

func (b *arrangement) notYet(n *mountNode, on string, c *mountNode) error {
	return n.refuse("it does not exist yet and "+c.Path+" is writable inside, so the name can't be kept from being made without touching the host", "create "+on+" first (mkdir or touch), or do not make "+c.Path+" writable")
}

// inDev is about a node in a fresh /dev, of which every name is known.
func (b *arrangement) inDev(n, c *mountNode) error {
	name, below, deep := strings.Cut(n.target[len(c.target)+1:], "/")
	switch name {
	case "fd", "stdin", "stdout", "stderr", "ptmx":
		return n.refuse("it is a link in the fresh "+c.Path, "name what it leads to, or leave the entry out")
	case "pts", "mqueue":
		if deep {
			return n.refuse("programs make the names in "+c.Path+"/"+name+" as they run, and "+below+" is none yet", "name the directory itself")
		}
		n.dir, n.exists = n.dir || n.Kind == policy.Hide, true
		return nil
	case "shm":
		n.exists = !deep
		if n.Kind == policy.Hide {
			n.dir = !deep // a name below it is taken by an empty file
		}
		return nil
	}
	for i := range devNodes {
		if devNodes[i].name == name && !deep {
			n.exists = true
			if n.Kind == policy.Hide {
				n.dir = false
			}
			return nil
		}
	}
	if n.Kind == policy.Hide {
		n.skip = true // a fresh /dev has no such name and is read-only
	}
	return nil
}

// inProc is about a node in a fresh /proc, of which the host's tells the names.
func (b *arrangement) inProc(n, c *mountNode) error {
	rel := n.target[len(c.target)+1:]
	f := b.facts["/proc/"+rel]
	name, _, _ := strings.Cut(rel, "/")
	switch {
	case name == "self" || name == "thread-self" || f.Link != "":
		return n.refuse("it is a link that leads each process to its own directory", "see hidepid and subset of [filesystem] proc for what processes tell")
	case name[0] >= '1' && name[0] <= '9':
		return n.refuse("the processes inside are others, and come and go", "see hidepid of [filesystem] proc")
	case !f.Exists && n.Kind == policy.Hide && f.Err == "ENOENT":
		n.skip = true
		return nil
	case !f.Exists:
		return n.refuse("/proc/"+rel+" can't be looked at: "+f.Err, "leave the entry out, or correct the name")
	}
	isDir := f.Mode&unix.S_IFMT == unix.S_IFDIR
	if n.Kind == policy.Hide {
		n.dir = isDir
	} else if isDir != n.dir {
		return n.refuse("one of it and /proc/"+rel+" is a directory and the other is not", "name two directories or two files")
	}
	return nil
}

// inHostTree is about a node in a tree of the host's, in which nothing may be
// made: the name must exist there.
func (b *arrangement) inHostTree(n, c *mountNode) error {
	on, _ := b.hostPathUnder(n)
	f, ok := b.facts[on]
	if !ok {
		// Never taken for "not there": a hide would be dropped in silence.
		return n.refuse("nobody has looked at "+on, "this is a defect of Cloche: please report it")
	}
	if n.protect && f.Exists && f.Real != on {
		return n.refuse("a symbolic link is on the way, which the command could replace, as "+c.Path+" is writable inside", "name the place itself: "+f.Real)
	}
	if c.Kind == policy.Overlay {
		// What is missing can be made: in the upper layer.
		if n.Kind == policy.Hide {
			n.dir = f.Exists && f.Mode&unix.S_IFMT == unix.S_IFDIR
		}
		return nil
	}
	if !f.Exists && f.Err != "ENOENT" && f.Err != "ENOTDIR" && n.Kind == policy.Hide {
		return n.refuse(on+" can't be looked at: "+f.Err, "leave the entry out, or make its directory searchable")
	}
	if !f.Exists {
		if n.Kind == policy.Hide {
			if c.Kind == policy.Write {
				return b.notYet(n, on, c)
			}
			n.inside = f.Linked
			n.skip = !f.Linked // what is not there can't be made in a read-only tree
			return nil
		}
		if n.Kind == policy.Symlink && n.Mount.Optional {
			n.skip = true
			return nil
		}
		return n.refuse("there is no "+on+" to mount it on, and making one would change the host", "create it first, or use a root of its own (the default profile's) instead of "+string(c.Kind)+" "+c.Path)
	}
	if n.Kind == policy.Hide && f.Link != "" && !b.isShown(f.Real, -1, policy.Read, policy.Write) {
		n.inside = true // on the host the link leads to nothing that is shown
		return nil
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
