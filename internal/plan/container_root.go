package plan

import "golang.org/x/sys/unix"

// finishRoot covers what must not be seen or written, and makes the root the root.
func (b *containerBuilder) finishRoot() {
	for _, p := range b.c.Masked {
		b.maskPath(p)
	}
	for _, p := range b.c.ReadOnlyPaths {
		b.readOnlyPath(p)
	}
	for i := range b.c.Mounts {
		if m := &b.c.Mounts[i]; m.LateReadOnly {
			b.mountStep(m, "read-only ")
			at := b.openInRoot(m.Dest, howInRoot)
			b.mountAttr(Slot(at), false, unix.MOUNT_ATTR_RDONLY, 0, 0, 0)
			b.op(SysClose, Slot(at))
		}
	}
	r := &b.c.Root
	if r.ReadOnly {
		b.begin(Step{Process: Init, Name: "read-only root", Kind: KindRoot, Path: "/", Origin: "root.readonly"})
		b.mountAttr(Slot(b.root), false, unix.MOUNT_ATTR_RDONLY, 0, 0, 0)
	}
	b.containerPivot()
	if r.Final != 0 {
		b.begin(Step{Process: Init, Name: "propagation of the root", Kind: KindPropagation, Origin: "linux.rootfsPropagation"})
		b.mountAttr(Slot(b.root), r.FinalRecursive, 0, 0, r.Final, 0)
	}
	b.op(SysClose, Slot(b.root))
}

// maskPath covers a path with an empty, read-only directory or with /dev/null,
// which is the host's and checked to be the null device.
func (b *containerBuilder) maskPath(p string) {
	b.begin(Step{Process: Init, Name: "mask " + p, Kind: KindContainerMount, Path: p, Origin: "linux.maskedPaths"})
	at, tree, mode := b.tmp("target"), b.tmp("tree"), b.tmp("mode")
	missing, file, mount := b.label(), b.label(), b.label()
	b.openInRootIfThere(at, p, missing)
	b.statxOf(at)
	b.op(Load, RefAt(b.statx, statxMode), Num(2)).to(mode)
	b.unlessEqual(Slot(mode), unix.S_IFMT, named("S_IFDIR", unix.S_IFDIR), file)
	b.emptyDir(tree)
	b.jump(mount)
	b.mark(file)
	b.nullDevice(tree)
	b.mark(mount)
	b.op(SysMoveMount, Slot(tree), b.str(""), Slot(at), b.str(""), Flags(cMoveEmpty, cMoveTEmpty))
	b.op(SysClose, Slot(tree))
	b.op(SysClose, Slot(at))
	b.mark(missing)
}

// emptyDir is an empty file system of its own for each directory that it covers.
func (b *containerBuilder) emptyDir(tree Var) {
	fs := b.tmp("fs")
	b.op(SysFsopen, b.str("tmpfs"), Flags(cFsCloexec)).to(fs)
	b.op(SysFsconfig, Slot(fs), Flags(cfgString), b.str("size"), b.str("0k"), Num(0))
	b.op(SysFsconfig, Slot(fs), Flags(cfgFlag), b.str("ro"), null, Num(0))
	b.op(SysFsconfig, Slot(fs), Flags(cfgCreate), null, null, Num(0))
	b.op(SysFsmount, Slot(fs), Flags(cFsmCloexec), Flags(cAttrRdonly, cAttrNosuid, cAttrNodev, cAttrNoexec)).to(tree)
	b.op(SysClose, Slot(fs))
}

func (b *containerBuilder) nullDevice(tree Var) {
	src := b.tmp("source")
	b.op(SysOpenat2, atFDCWD, b.str("/dev/null"), Ref(howNoLinks), Num(24)).to(src)
	b.isDevice(src, &ContainerDevice{Kind: unix.S_IFCHR, Major: 1, Minor: 3})
	b.op(SysOpenTree, Slot(src), b.str(""), Flags(cTreeClone, cTreeCloex, cEmptyPath, cRecursive)).to(tree)
	b.op(SysClose, Slot(src))
}

// readOnlyPath covers a path with a read-only mount of itself.
func (b *containerBuilder) readOnlyPath(p string) {
	b.begin(Step{Process: Init, Name: "read-only " + p, Kind: KindContainerMount, Path: p, Origin: "linux.readonlyPaths"})
	at, tree := b.tmp("target"), b.tmp("tree")
	missing := b.label()
	b.openInRootIfThere(at, p, missing)
	b.op(SysOpenTree, Slot(at), b.str(""), Flags(cTreeClone, cTreeCloex, cEmptyPath, cRecursive)).to(tree)
	b.mountAttr(Slot(tree), true, unix.MOUNT_ATTR_RDONLY, 0, 0, 0)
	b.op(SysMoveMount, Slot(tree), b.str(""), Slot(at), b.str(""), Flags(cMoveEmpty, cMoveTEmpty))
	b.op(SysClose, Slot(tree))
	b.op(SysClose, Slot(at))
	b.mark(missing)
}

// containerPivot is [builder.pivot] for a root that lies at its own path.
func (b *containerBuilder) containerPivot() {
	b.begin(Step{Process: Init, Name: "pivot", Kind: KindPivot})
	b.op(SysFchdir, Slot(b.root))
	if b.c.Root.NoPivot {
		// The root of an initramfs can't be pivoted away. What is mounted below it
		// stays reachable for nobody: the root is moved on top of it.
		b.op(SysMount, b.str("."), b.str("/"), null, named("MS_MOVE", unix.MS_MOVE), null)
		b.op(SysChroot, b.str("."))
		b.op(SysChdir, b.str("/"))
		return
	}
	if b.c.Root.Propagation == 0 {
		// Else taking the old root away would take the host's mounts away. It is addressed by a descriptor:
		// mount(2) takes "." for the new root, which the old one covers.
		old := b.tmp("old")
		b.op(SysOpenat, atFDCWD, b.str("/"), named("O_PATH|O_DIRECTORY|O_CLOEXEC", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC), Num(0)).to(old)
		b.op(SysPivotRoot, b.str("."), b.str("."))
		b.op(SysFchdir, Slot(old))
		b.op(SysMount, null, b.str("."), null, Flags(cMsRec, cMsSlave), null)
		b.op(SysClose, Slot(old))
	} else {
		b.op(SysPivotRoot, b.str("."), b.str("."))
	}
	b.op(SysUmount2, b.str("."), Flags(fDetach))
	b.op(SysChdir, b.str("/"))
	above := buffer("above", 256)
	b.op(SysStatx, Slot(b.root), b.str(""), Flags(cEmptyPath), named("STATX_MNT_ID", statxMntID), Ref(b.statx))
	b.op(SysStatx, atFDCWD, b.str("/.."), Num(0), named("STATX_MNT_ID", statxMntID), Ref(above))
	b.op(Compare, RefAt(b.statx, statxMnt), RefAt(above, statxMnt), Num(8)) // fatal otherwise
}
