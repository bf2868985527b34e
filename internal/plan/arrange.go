package plan

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/policy"
)

// mountNode is a Mount with its place decided.
type mountNode struct {
	policy.Mount
	target string // where, after links of the sandbox's own were followed
	real   string // host path of what is shown, without symbolic links; Read, Write
	fact   host.PathFact
	dir    bool // what is shown is a directory

	// cover is the node in whose tree the target lies, -1 for the root.
	cover int
	// own: the tree there was made here, so it holds no name that anybody else
	// chose, and a missing directory can be made in it.
	own bool
	// protect: what is mounted here guards a name in a tree that the command may
	// write, where it could rename what the name lies in.
	protect bool
	// exists: the place is there though the tree was made here, as in a fresh /dev.
	exists bool
	// early holds the tree when it had to be cloned before all others.
	early Var
	// inside: whether there is anything to hide is only known inside: a link of the
	// tree's is on the way, which leads elsewhere on the host.
	inside bool
	// skip: there is nothing to do.
	skip bool
}

// arrangement is what is mounted where.
type arrangement struct {
	policy *policy.Policy
	facts  map[string]host.PathFact
	mounts []mountNode
	links  []int          // the mounts that are links
	at     map[string]int // the first mount with a target, of those in which others can lie
}

// SourcePaths lists the host paths that a policy shows. Their facts are looked
// up first; then those of TargetPaths, which depend on them.
func SourcePaths(p *policy.Policy) []string {
	paths := make([]string, 0, len(p.Mounts))
	for i := range p.Mounts {
		m := &p.Mounts[i]
		paths = append(paths, Sources(m)...)
		if m.Kind == policy.Overlay && m.Upper != "" {
			paths = append(paths, overlayWork(m), commonDir(m.Upper, overlayWork(m)))
		}
	}
	return paths
}

// TargetPaths lists the host paths on which something is mounted: what is there
// decides whether it can be. They are known once f holds the facts of
// SourcePaths, because a target may lie behind a link of the sandbox's own
// (/bin/ls, where /bin is shown as a link to usr/bin).
//
// Of those in resolve it matters, too, whether a link is on the way.
func TargetPaths(p *policy.Policy, f host.Facts) (look, resolve []string) {
	a := arrangement{policy: p, facts: f.Paths}
	a.chooseMounts()
	for i := range a.mounts {
		if a.resolveNode(i) != nil {
			a.mounts[i].skip = true // Compile refuses it with the same words
		}
	}
	a.findTargets()
	look = make([]string, 0, len(a.mounts))
	for i := range a.mounts {
		if n := &a.mounts[i]; !n.skip {
			a.findCover(n, i)
			switch on, ok := a.hostPathUnder(n); {
			case ok && n.guards() && a.mounts[n.cover].Kind != policy.Read:
				resolve = append(resolve, on)
			case ok:
				look = append(look, on)
			}
		}
	}
	return look, resolve
}

// within reports whether p lies below dir.
func within(p, dir string) bool {
	if dir == "/" {
		return len(p) > 1
	}
	return len(p) > len(dir) && p[len(dir)] == '/' && p[:len(dir)] == dir
}

// arrangeMounts decides what is mounted where and in which order.
func (b *arrangement) arrangeMounts() error {
	if !b.policy.Unshare.Mount {
		return nil
	}
	b.chooseMounts()
	for i := range b.mounts {
		if err := b.resolveNode(i); err != nil {
			return err
		}
	}
	b.findTargets()
	for i := range b.mounts {
		if err := b.coverNode(i); err != nil {
			return err
		}
	}
	return nil
}

// chooseMounts puts the entries in order: for the same path the later wins.
func (b *arrangement) chooseMounts() {
	last := make(map[string]int, len(b.policy.Mounts))
	for i := range b.policy.Mounts {
		last[b.policy.Mounts[i].Path] = i
	}
	nodes := make([]mountNode, 0, len(b.policy.Mounts))
	for i := range b.policy.Mounts {
		if last[b.policy.Mounts[i].Path] == i {
			nodes = append(nodes, mountNode{Mount: b.policy.Mounts[i], cover: -1})
		}
	}
	// A directory before what lies in it; otherwise by name, for the reader.
	slices.SortFunc(nodes, func(a, c mountNode) int { return comparePaths(a.Path, c.Path) })

	b.mounts = nodes
}

// mountingOrder is by target, not by the path that was asked for: what is behind
// a link of the sandbox's own comes after what the link points to.
func (b *arrangement) mountingOrder() []*mountNode {
	order := make([]*mountNode, len(b.mounts))
	for i := range b.mounts {
		order[i] = &b.mounts[i]
	}
	slices.SortStableFunc(order, func(a, c *mountNode) int { return comparePaths(a.target, c.target) })
	return order
}

// comparePaths orders paths so that a directory comes right before its content.
func comparePaths(a, c string) int {
	for i := 0; i < len(a) && i < len(c); i++ {
		if a[i] == c[i] {
			continue
		}
		if a[i] == '/' {
			return -1
		}
		if c[i] == '/' {
			return 1
		}
		return int(a[i]) - int(c[i])
	}
	return len(a) - len(c)
}

// refuse is an error about a mount.
func (n *mountNode) refuse(why, fix string) error {
	return &Error{Setting: string(n.Kind) + " " + n.Path, Origin: n.Origin, Why: why, Fix: fix}
}

// resolveNode looks at what a bind shows.
func (b *arrangement) resolveNode(i int) error {
	n := &b.mounts[i]
	n.dir = true
	switch n.Kind {
	case policy.File:
		n.dir = false
	case policy.Symlink:
		n.dir = false
	case policy.Read, policy.Write:
		src := sourceOf(&n.Mount)
		f, ok := b.facts[src]
		if !ok || !f.Exists {
			if n.Optional {
				n.skip = true
				return nil
			}
			why := src + " does not exist"
			if f.Err != "" && f.Err != "ENOENT" {
				why = src + " can't be looked at: " + f.Err
			}
			return n.refuse(why, "create it, correct the path, or leave the entry out")
		}
		n.fact, n.real = f, f.Real
		if err := b.planted(n); err != nil {
			return err
		}
		n.dir = f.Mode&unix.S_IFMT == unix.S_IFDIR
		if f.Link != "" && n.Source == "" && n.Path != "/" {
			// A link of the system, such as /bin → usr/bin: shown as the link it
			// is when what it points to is shown too, and in the same way.
			if b.isShown(f.Real, i, n.Kind) {
				n.Kind, n.Source, n.dir = policy.Symlink, f.Link, false
			}
		}
	case policy.Overlay:
		for _, l := range overlayLower(&n.Mount) {
			f := b.facts[l]
			if !f.Exists || f.Mode&unix.S_IFMT != unix.S_IFDIR {
				return n.refuse("its lower layer "+l+" is not a directory", "name directories that exist")
			}
		}
		if n.Upper != "" {
			for _, d := range []string{n.Upper, overlayWork(&n.Mount)} {
				f := b.facts[d]
				if !f.Exists || f.Mode&unix.S_IFMT != unix.S_IFDIR {
					return n.refuse(d+" is not a directory", "make it first: mkdir -p "+d+"; upper and work directory must be empty directories of one file system")
				}
			}
		}
	}
	return nil
}

// isShown reports whether the host path real is shown at its own path by another
// bind than node i, of one of the kinds.
func (b *arrangement) isShown(real string, i int, kinds ...policy.MountKind) bool {
	best := -1
	for j := range b.mounts {
		m := &b.mounts[j]
		if j == i || m.Kind != policy.Read && m.Kind != policy.Write || m.Source != "" && m.Source != m.Path {
			continue
		}
		if f := b.facts[m.Path]; !f.Exists || f.Link != "" || m.Path != real && !within(real, m.Path) {
			continue
		}
		if best < 0 || len(m.Path) > len(b.mounts[best].Path) {
			best = j
		}
	}
	return best >= 0 && slices.Contains(kinds, b.mounts[best].Kind)
}

// Sources lists the host paths whose content a mount shows.
func Sources(m *policy.Mount) []string {
	switch m.Kind {
	case policy.Read, policy.Write:
		return []string{sourceOf(m)}
	case policy.Overlay:
		layers := overlayLower(m)
		if m.Upper != "" {
			layers = append(layers[:len(layers):len(layers)], m.Upper)
		}
		return layers
	}
	return nil
}

func sourceOf(m *policy.Mount) string {
	if m.Source != "" {
		return m.Source
	}
	return m.Path
}

func overlayLower(m *policy.Mount) []string {
	if len(m.Lower) == 0 {
		return []string{m.Path}
	}
	return m.Lower
}

func overlayWork(m *policy.Mount) string {
	if m.Work != "" {
		return m.Work
	}
	return m.Upper + ".work"
}
