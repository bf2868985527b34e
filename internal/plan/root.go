package plan

import (
	"path"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// buildRoot makes the root. Everything made here lives in one tmpfs, the
// scratch: directories of it become the new root, /dev, /tmp and the masks, by
// cloning a mount of each. The scratch itself is mounted over the old /proc, which
// has served its purpose, and goes away with the old root, so nothing inside can
// reach from one of its directories to another.
func (b *builder) buildRoot() error {
	b.begin(Step{Process: Init, Name: "keep mounts private", Kind: KindPropagation})
	b.op(SysMount, null, b.str("/"), null, Flags(cMsRec, cMsPrivate), null)
	b.op(SysUmask, Num(0)).to(b.umask)

	b.cloneHostRoot()
	b.prepareRemounts()

	b.begin(Step{Process: Init, Name: "scratch", Kind: KindTmpfs})
	b.newTmpfs(b.scratch, "0755", 0)
	b.op(SysMoveMount, Slot(b.scratch), b.str(""), atFDCWD, b.str("/proc"), Flags(cMoveEmpty))

	order := b.mountingOrder()
	if len(order) > 0 && order[0].target == "/" {
		b.bindRoot(order[0])
		order = order[1:]
	} else {
		b.begin(Step{Process: Init, Name: "root", Kind: KindRoot})
		b.scratchTree("root", 0o755, b.root)
		b.op(SysMoveMount, Slot(b.root), b.str(""), Slot(b.scratch), b.str("root"), Flags(cMoveEmpty))
		b.ownRoot = true
	}
	for _, n := range order {
		if !n.skip && !n.inside {
			b.mountNode(n)
		}
	}
	for _, n := range order { // what else is mounted decides where their links lead
		if n.inside {
			b.hideInside(n)
		}
	}
	b.remountTrees()
	return nil
}

// cloneHostRoot clones / for the entries that show it, before the scratch is
// mounted in it: a later clone would hold the scratch as well.
func (b *builder) cloneHostRoot() {
	for i := range b.mounts {
		n := &b.mounts[i]
		if n.skip || n.early != Void {
			continue
		}
		switch n.Kind {
		case policy.Read, policy.Write:
			if n.real == "/" || n.real == "/proc" || within(n.real, "/proc") {
				b.begin(Step{Process: Init, Name: "clone " + n.real + " for " + string(n.Kind) + " " + n.Path, Kind: KindBind, Path: n.real, Origin: n.Origin})
				v := b.newVar("tree" + strconv.Itoa(i))
				b.cloneEarly(n, v)
			}
		case policy.Overlay:
			for _, l := range overlayLower(&n.Mount) {
				if f := b.in.Facts.Paths[l]; f.Real == "/" {
					b.begin(Step{Process: Init, Name: "clone / for overlay " + n.Path, Kind: KindBind, Path: "/", Origin: n.Origin})
					v := b.newVar("tree" + strconv.Itoa(i))
					b.cloneEarly(&mountNode{Mount: policy.Mount{Kind: policy.Read, Path: "/"}, fact: f, real: "/", dir: true}, v)
					n.early = v
				}
			}
		}
	}
}

// bindRoot makes an entry for / the root.
func (b *builder) bindRoot(n *mountNode) {
	b.begin(Step{Process: Init, Name: "root: " + string(n.Kind) + " /", Kind: KindRoot, Path: n.real, Origin: n.Origin})
	b.op(SysMkdirat, Slot(b.scratch), b.str("root"), Num(0o755))
	switch n.Kind {
	case policy.Tmpfs:
		b.tmpfsTree(n, b.root)
	case policy.Overlay:
		b.overlayTree(n, b.root)
	default:
		b.bindTree(n, b.root)
	}
	b.op(SysMoveMount, Slot(b.root), b.str(""), Slot(b.scratch), b.str("root"), Flags(cMoveEmpty))
}

// mountNode does one entry of the policy.
func (b *builder) mountNode(n *mountNode) {
	tree := b.tmp("tree")
	step := func(kind Kind) {
		name := string(n.Kind) + " " + n.Path
		if n.real != "" && n.real != n.Path {
			name += " from " + n.real
		}
		b.begin(Step{Process: Init, Name: name, Kind: kind, Path: n.Path, Origin: n.Origin})
	}
	switch n.Kind {
	case policy.Read, policy.Write:
		step(KindBind)
		b.bindTree(n, tree)
		b.attach(n, tree)
	case policy.Tmpfs:
		step(KindTmpfs)
		b.tmpfsTree(n, tree)
		b.attach(n, tree)
	case policy.Hide:
		step(KindHide)
		b.masks()
		name := "dir"
		if !n.dir {
			name = "file"
		}
		if n.own && !n.protect && !n.exists {
			return // nothing is there, and only this set-up could put something there
		}
		b.op(SysOpenTree, Slot(b.mask), b.str(name), Flags(cTreeClone, cTreeCloex)).to(tree)
		b.attach(n, tree)
	case policy.Symlink:
		if n.exists {
			return // made with the /dev that it lies in
		}
		step(KindFile)
		if b.ownWay(n) {
			b.parents(n.target)
			b.op(SysSymlinkat, b.str(n.Source), Slot(b.root), b.str(n.target[1:]))
			return
		}
		dir := b.parentInRoot(n)
		b.op(SysSymlinkat, b.str(n.Source), Slot(dir), b.str(path.Base(n.target)))
		b.op(SysClose, Slot(dir))
	case policy.File:
		step(KindFile)
		b.dataFile(n, tree)
	case policy.Overlay:
		step(KindOverlay)
		b.overlayTree(n, tree)
		b.attach(n, tree)
	case policy.Dev:
		b.dev(n)
	case policy.Proc:
		b.proc(n)
	}
}

// newTmpfs makes a tmpfs(5) that is not mounted anywhere yet.
func (b *builder) newTmpfs(v Var, mode string, size policy.Size) {
	fs := b.tmp("fs")
	b.op(SysFsopen, b.str("tmpfs"), Flags(cFsCloexec)).to(fs)
	b.op(SysFsconfig, Slot(fs), Flags(cfgString), b.str("mode"), b.str(mode), Num(0))
	if size > 0 {
		b.op(SysFsconfig, Slot(fs), Flags(cfgString), b.str("size"), b.str(strconv.FormatInt(int64(size), 10)), Num(0))
	}
	if m := b.in.Manner; m != nil && m.FileLabel != "" {
		b.op(SysFsconfig, Slot(fs), Flags(cfgString), b.str("context"), b.str(m.FileLabel), Num(0))
	}
	b.op(SysFsconfig, Slot(fs), Flags(cfgCreate), null, null, Num(0))
	b.op(SysFsmount, Slot(fs), Flags(cFsmCloexec), Flags(cAttrNosuid, cAttrNodev)).to(v)
	b.op(SysClose, Slot(fs))
}

// scratchTree makes a directory of the scratch and a mount of it.
func (b *builder) scratchTree(name string, mode uint64, v Var) {
	b.op(SysMkdirat, Slot(b.scratch), b.str(name), octal(mode))
	b.op(SysOpenTree, Slot(b.scratch), b.str(name), Flags(cTreeClone, cTreeCloex)).to(v)
}

// tmpfsTree is a tmpfs of the size that was asked for, or a directory of the
// scratch when any size will do.
func (b *builder) tmpfsTree(n *mountNode, v Var) {
	mode := uint64(n.Mode)
	if mode == 0 {
		mode = 0o755
	}
	if n.Size > 0 {
		b.newTmpfs(v, strconv.FormatUint(mode, 8), n.Size)
		return
	}
	b.scratchTree(b.scratchName(), mode, v)
}

func (b *builder) scratchName() string {
	b.scratchDirs++
	return "t" + strconv.Itoa(b.scratchDirs)
}

// bindTree clones the tree at n.real and takes from it what it must not have.
func (b *builder) bindTree(n *mountNode, v Var) {
	if n.early != Void { // cloned before the scratch was mounted
		b.set(v, Slot(n.early))
		if b.remounts.late {
			b.restrict(n, v)
		}
		return
	}
	b.cloneTree(n, v)
	b.restrict(n, v)
}

// cloneEarly is bindTree before there is a scratch.
func (b *builder) cloneEarly(n *mountNode, v Var) {
	b.cloneTree(n, v)
	if !b.remounts.late {
		b.restrict(n, v)
	}
	n.early = v
}

// cloneTree clones the tree at n.real. The path was free of links when the plan
// was made, and RESOLVE_NO_SYMLINKS holds it to that; what is found must be the
// very file that the plan looked at.
func (b *builder) cloneTree(n *mountNode, v Var) {
	src := b.tmp("source")
	b.op(SysOpenat2, atFDCWD, b.path(n.real), Ref(howNoLinks), Num(24)).to(src)
	b.sameFile(src, n)
	b.op(SysOpenTree, Slot(src), b.str(""), Flags(cTreeClone, cTreeCloex, cEmptyPath, cRecursive)).to(v)
	b.op(SysClose, Slot(src))
}

// howNoLinks is the open_how of a host path that holds no symbolic link.
var howNoLinks = words("{flags=O_PATH|O_CLOEXEC, resolve=RESOLVE_NO_SYMLINKS|RESOLVE_NO_MAGICLINKS}",
	unix.O_PATH|unix.O_CLOEXEC, 0, unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_MAGICLINKS)

// howInRoot is the open_how of a path in a tree whose content somebody else chose.
var howInRoot = words("{flags=O_PATH|O_CLOEXEC, resolve=RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS}",
	unix.O_PATH|unix.O_CLOEXEC, 0, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)

// howInRootNoLinks is that of a guarded name: a link on the way could be replaced.
var howInRootNoLinks = words("{flags=O_PATH|O_CLOEXEC, resolve=RESOLVE_IN_ROOT|RESOLVE_NO_SYMLINKS|RESOLVE_NO_MAGICLINKS}",
	unix.O_PATH|unix.O_CLOEXEC, 0, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_MAGICLINKS)

// Offsets in struct statx, statx(2).
const (
	statxMode  = 28
	statxIno   = 32
	statxRdev  = 128
	statxDev   = 136
	statxMnt   = 144
	statxMntID = 0x1000 // STATX_MNT_ID, Linux 5.8
	statxBasic = 0x7ff  // STATX_BASIC_STATS
)

func (b *builder) statxOf(fd Var) {
	b.op(SysStatx, Slot(fd), b.str(""), Flags(cEmptyPath), named("STATX_BASIC_STATS", statxBasic), Ref(b.statx))
}

// sameFile compares device and inode with what the plan saw.
func (b *builder) sameFile(fd Var, n *mountNode) {
	if n.real == WorkingDirectory && b.cwd != nil {
		b.statxOf(fd)
		b.op(Compare, RefAt(b.statx, statxIno), RefAt(b.cwdStat, statxIno), Num(8))
		b.op(Compare, RefAt(b.statx, statxDev), RefAt(b.cwdStat, statxDev), Num(8))
		return
	}
	if b.builds() || b.prelude() != nil {
		return // made for other machines, or other days: there is nothing to compare with
	}
	b.statxOf(fd)
	ino := b.words(showIno, n.fact.Ino)
	b.op(Compare, RefAt(b.statx, statxIno), Ref(ino), Num(8))
	dev := b.words(showDev, uint64(n.fact.DevMajor)|uint64(n.fact.DevMinor)<<32)
	b.op(Compare, RefAt(b.statx, statxDev), Ref(dev), Num(8))
}

func showIno(d *Data) string { return "{ino=" + strconv.FormatUint(d.word(0), 10) + "}" }

func showDev(d *Data) string {
	n := d.word(0)
	return "{dev=" + strconv.FormatUint(n&0xffffffff, 10) + ":" + strconv.FormatUint(n>>32, 10) + "}"
}

// octal is a mode, which is printed in octal.
func octal(n uint64) Arg { return Arg{kind: argMode, value: n} }

// dataFile is a file whose content the policy gives.
func (b *builder) dataFile(n *mountNode, tree Var) {
	mode := uint64(n.Mode)
	if mode == 0 {
		mode = 0o644
	}
	fd := b.tmp("file")
	dir, name := b.root, n.target[1:]
	// The root of our own becomes read-only with all that lies in it; anywhere
	// else the file needs a read-only mount of its own.
	plain := n.cover < 0
	if plain {
		b.parents(n.target)
	} else {
		dir, name = b.scratch, b.scratchName()
	}
	b.op(SysOpenat, Slot(dir), b.str(name), Flags(cWronly, cCreat, cExcl, cCloexec), octal(mode)).to(fd)
	if len(n.Data) > 0 {
		b.op(SysWrite, Slot(fd), Ref(&Data{Bytes: []byte(n.Data)}), Num(uint64(len(n.Data))))
	}
	b.op(SysClose, Slot(fd))
	if plain {
		return
	}
	b.op(SysOpenTree, Slot(b.scratch), b.str(name), Flags(cTreeClone, cTreeCloex)).to(tree)
	b.setAttr(tree, detachedFile, cAttrRdonly, cAttrNosuid, cAttrNodev)
	b.attach(n, tree)
}

// masks makes, once, what hides: an empty file and an empty directory that
// nobody may read, on a read-only mount whose clones are read-only too.
func (b *builder) masks() {
	if b.haveMasks {
		return
	}
	b.haveMasks = true
	b.mask = b.newVar("masks")
	b.scratchTree("masks", 0o755, b.mask)
	b.op(SysMkdirat, Slot(b.mask), b.str("dir"), octal(0))
	b.op(SysMknodat, Slot(b.mask), b.str("file"), named("S_IFREG", unix.S_IFREG), Num(0))
	b.setAttr(b.mask, detachedDir, cAttrRdonly, cAttrNosuid, cAttrNodev, cAttrNoexec)
	b.op(SysMoveMount, Slot(b.mask), b.str(""), Slot(b.scratch), b.str("masks"), Flags(cMoveEmpty))
}

// pivot makes the new root the root and lets the old one go, pivot_root(2).
// The old root comes to lie on the new one and is taken away from there. That
// nothing of it is left is then checked: what lies above the root must be the root.
func (b *builder) pivot() {
	b.begin(Step{Process: Init, Name: "pivot", Kind: KindPivot})
	b.op(SysFchdir, Slot(b.root))
	b.op(SysPivotRoot, b.str("."), b.str("."))
	b.op(SysUmount2, b.str("."), Flags(fDetach))
	if b.ownRoot {
		b.setAttr(b.root, attached, cAttrRdonly)
	}
	b.op(SysChdir, b.str("/"))
	above := buffer("above", 256)
	b.op(SysStatx, Slot(b.root), b.str(""), Flags(cEmptyPath), named("STATX_MNT_ID", statxMntID), Ref(b.statx))
	b.op(SysStatx, atFDCWD, b.str("/.."), Num(0), named("STATX_MNT_ID", statxMntID), Ref(above))
	b.op(Compare, RefAt(b.statx, statxMnt), RefAt(above, statxMnt), Num(8)) // fatal otherwise
	b.op(SysClose, Slot(b.root))
	b.op(SysClose, Slot(b.scratch))
	b.endRemounts()
}
