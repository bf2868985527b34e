package plan

import (
	"strings"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/policy"
)

// What a policy names is looked up outside, by its caller's rights, and symbolic links are
// followed: they are the caller's. A link in a tree that the command may write is not: a
// command that ran there before may have put it there, so that the next one is shown what
// it leads to (CVE-2017-1002101 was that, of volumes' subpaths).

// LinkedSources lists the host paths of which the links on the way matter: a policy
// that lets nothing of the host be written has none.
func LinkedSources(p *policy.Policy, f host.Facts) (paths []string) {
	a := arrangement{policy: p, facts: f.Paths}
	if len(a.writableTrees()) == 0 {
		return nil
	}
	for i := range p.Mounts {
		m := &p.Mounts[i]
		if m.Kind != policy.Read && m.Kind != policy.Write {
			continue
		}
		if src := sourceOf(m); f.Paths[src].Exists && f.Paths[src].Real != src {
			paths = append(paths, src)
		}
	}
	return paths
}

// writableTrees are the trees of the host that the policy lets the command write.
func (b *arrangement) writableTrees() (trees []string) {
	for i := range b.policy.Mounts {
		if m := &b.policy.Mounts[i]; m.Kind == policy.Write {
			if f := b.facts[sourceOf(m)]; f.Exists {
				trees = append(trees, f.Real)
			}
		}
	}
	return trees
}

// planted refuses a source that leads out of such a tree by a link in it.
func (b *arrangement) planted(n *mountNode) error {
	for link := range strings.SplitSeq(strings.TrimSuffix(n.fact.Links, "\x00"), "\x00") {
		for _, tree := range b.writableTrees() {
			if within(link, tree) && n.real != tree && !within(n.real, tree) {
				return n.refuse(link+" is a symbolic link in "+tree+", which this policy lets the command write: one that ran before may have put it there",
					"it leads to "+n.real+": name that, if it is what you mean")
			}
		}
	}
	return nil
}
