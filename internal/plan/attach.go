package plan

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// How a detached tree comes to its place below the new root, where every name may
// be somebody else's.

// mountPoint makes what a node is mounted on, where it may.
func (b *builder) mountPoint(n *mountNode) {
	if !b.holdsNew(n) {
		return
	}
	if b.ownWay(n) {
		b.parents(n.target)
		if n.dir {
			b.makeDir(n.target)
		} else {
			b.makeFile(b.root, n.target[1:])
		}
		return
	}
	dir, name := b.parentInRoot(n), path.Base(n.target)
	if n.dir {
		b.makeDirAt(dir, name)
	} else {
		b.makeFile(dir, name)
	}
	b.op(SysClose, Slot(dir))
}

// holdsNew reports whether names may be made in the tree that n lies in: one of our
// own, or the upper layer of an overlay.
func (b *builder) holdsNew(n *mountNode) bool {
	return n.own || n.cover >= 0 && b.mounts[n.cover].Kind == policy.Overlay
}

// ownWay reports whether every name on the way from the root to n was made here. Where
// one was not it may be a link, and a path that is walked from the new root would leave
// it by that: an absolute link leads to the old root, which is still the process's own.
func (b *builder) ownWay(n *mountNode) bool {
	own := n.own
	for c := n.cover; own && c >= 0; c = b.mounts[c].cover {
		own = b.mounts[c].own && (b.mounts[c].Kind == policy.Tmpfs || b.mounts[c].Kind == policy.Dev)
	}
	return own
}

// howFor is how a name is looked up that somebody else may have made.
func howFor(n *mountNode) *Data {
	if n.protect {
		return howInRootNoLinks
	}
	return howInRoot
}

// parentInRoot makes the directories between the tree that n lies in and n, each in
// the one above it, which is opened without leaving the root, and opens the last.
func (b *builder) parentInRoot(n *mountNode) Var {
	for i := len(b.mounts[n.cover].target) + 1; i < len(n.target); i++ {
		if dir := n.target[:i]; n.target[i] == '/' && !b.made[dir] {
			if b.made == nil {
				b.made = make(map[string]bool)
			}
			b.made[dir] = true
			above := b.openInRoot(path.Dir(dir), howFor(n))
			b.makeDirAt(above, path.Base(dir))
			b.op(SysClose, Slot(above))
		}
	}
	return b.openInRoot(path.Dir(n.target), howFor(n))
}

// attach mounts the detached tree v where n wants it and closes it.
func (b *builder) attach(n *mountNode, v Var) {
	b.attachKeeping(n, v)
	b.op(SysClose, Slot(v))
}

// attachKeeping leaves v open: it is the mounted tree then.
func (b *builder) attachKeeping(n *mountNode, v Var) {
	b.mountPoint(n)
	b.pin(n)
	if b.ownWay(n) {
		b.op(SysMoveMount, Slot(v), b.str(""), Slot(b.root), b.below(n.target), Flags(cMoveEmpty))
	} else {
		at := b.openInRoot(n.target, howFor(n))
		b.op(SysMoveMount, Slot(v), b.str(""), Slot(at), b.str(""), Flags(cMoveEmpty, cMoveTEmpty))
		b.op(SysClose, Slot(at))
	}
}

// pin makes a mount point of every directory between a guarded name and the tree
// that it lies in, of the directory itself: a mount point can't be renamed or
// removed, while a directory that merely holds one can, and the guarded name would
// go away with it.
func (b *builder) pin(n *mountNode) {
	if !n.protect {
		return
	}
	top := b.mounts[n.cover].target
	for at := len(strings.TrimSuffix(top, "/")) + 1; ; at++ {
		next := strings.IndexByte(n.target[at:], '/')
		if next < 0 {
			return
		}
		at += next
		dir := n.target[:at]
		if j, taken := b.at[dir]; b.pinned[dir] || taken && !b.mounts[j].skip {
			continue
		}
		if b.pinned == nil {
			b.pinned = make(map[string]bool)
		}
		b.pinned[dir] = true
		fd, tree := b.openInRoot(dir, howInRootNoLinks), b.tmp("pin")
		b.op(SysOpenTree, Slot(fd), b.str(""), Flags(cTreeClone, cTreeCloex, cEmptyPath, cRecursive)).to(tree)
		b.op(SysMoveMount, Slot(tree), b.str(""), Slot(fd), b.str(""), Flags(cMoveEmpty, cMoveTEmpty))
		b.op(SysClose, Slot(tree))
		b.op(SysClose, Slot(fd))
	}
}

// openInRoot opens a path below the new root in which anybody may have put
// links: they are followed, but never out. EAGAIN, a rename at the very moment,
// is tried again, a bounded number of times.
func (b *builder) openInRoot(p string, how *Data) Var {
	at, tries := b.tmp("target"), b.tmp("tries")
	again, done := b.label(), b.label()
	b.set(tries, Num(0))
	loop := b.here()
	name := b.str(".")
	if p != "/" {
		name = b.str(p[1:])
	}
	b.op(SysOpenat2, Slot(b.root), name, Ref(how), Num(24)).to(at).on(int(unix.EAGAIN), again).then(done)
	b.mark(again)
	b.op(Alu, Slot(tries), Num(0), Num(^uint64(0)), Num(0), Num(1)).to(tries)
	b.unlessEqual(Slot(tries), ^uint64(0), Num(128), loop)
	b.op(SysOpenat2, Slot(b.root), name, Ref(how), Num(24)).to(at)
	b.mark(done)
	return at
}

// openInRootIfThere is openInRoot of what may be missing.
func (b *builder) openInRootIfThere(at Var, p string, missing Label) {
	done := b.label()
	b.op(SysOpenat2, Slot(b.root), b.str(p[1:]), Ref(howInRoot), Num(24)).to(at).on(int(unix.ENOENT), missing).then(done).orElse(Following)
	b.set(at, Slot(b.openInRoot(p, howInRoot)))
	b.mark(done)
}

// parents makes the directories above p that nobody has made yet.
func (b *builder) parents(p string) {
	for i := 1; i < len(p); i++ {
		if p[i] == '/' {
			b.makeDir(p[:i])
		}
	}
}

func (b *builder) makeDir(p string) {
	if b.made == nil {
		b.made = make(map[string]bool)
	}
	if b.made[p] {
		return
	}
	b.made[p] = true
	if b.cwd != nil && p == WorkingDirectory {
		b.makeWorkingDirectory()
		return
	}
	b.makeDirAt(b.root, p[1:])
}

func (b *builder) makeDirAt(dir Var, name string) {
	b.op(SysMkdirat, Slot(dir), b.str(name), octal(0o755)).on(int(unix.EEXIST), Next)
}

// makeFile makes an empty file, to mount one on.
func (b *builder) makeFile(dir Var, name string) {
	b.op(SysMknodat, Slot(dir), b.str(name), named("S_IFREG|0644", unix.S_IFREG|0o644), Num(0)).on(int(unix.EEXIST), Next)
}

// hideInside hides what is found inside by a name with a link on the way, if there is
// anything. It lies where nobody can make it later: in a tree that is read-only.
func (b *builder) hideInside(n *mountNode) {
	b.begin(Step{Process: Init, Name: "hide " + n.Path + " where its links lead", Kind: KindHide, Path: n.Path, Origin: n.Origin})
	b.masks()
	at, tree := b.tmp("target"), b.tmp("tree")
	file, done := b.label(), b.label()
	mask := func(name string) opRef {
		b.op(SysOpenTree, Slot(b.mask), b.str(name), Flags(cTreeClone, cTreeCloex)).to(tree)
		return b.op(SysMoveMount, Slot(tree), b.str(""), Slot(at), b.str(""), Flags(cMoveEmpty, cMoveTEmpty))
	}
	b.openInRootIfThere(at, n.target, done)
	mask("dir").on(int(unix.EINVAL), file).then(done)
	b.mark(file) // a directory can't be mounted on it
	mask("file")
	b.mark(done) // what is open here goes with pid 1's other descriptors
}
