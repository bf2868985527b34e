package plan

import (
	"golang.org/x/sys/unix"
)

// cloneHost clones the host's tree for the act that shows all of it: later it would hold
// the scratch.
func (b *builder) cloneHost() {
	b.begin(Step{Process: Init, Name: "clone /", Kind: KindBind, Path: "/"})
	b.hostRoot = buffer("statx of /", 256)
	b.op(SysStatx, atFDCWD, b.str("/"), Num(0), named("STATX_BASIC_STATS", statxBasic), Ref(b.hostRoot))
	b.when(true, b.said.rootTree, func() {
		b.op(SysOpenTree, atFDCWD, b.str("/"), Flags(cTreeClone, cTreeCloex, cRecursive)).to(b.said.rootTree)
	})
}

// actsSaid carries out the acts that were noted, one after the other, each as act does it
// where nothing is known of what lies below the root.
func (b *builder) actsSaid() {
	b.begin(Step{Process: Init, Name: "what the command line says, in its order"})
	scratch := buffer("statx of the scratch", 256)
	b.op(SysStatx, Slot(b.scratch), b.str(""), Flags(cEmptyPath), named("STATX_BASIC_STATS", statxBasic), Ref(scratch))
	e, number := b.newVar("entry"), b.newVar("number")
	slots := b.actSlots()
	kind, source, dest, mode, more := slots[0], slots[1], slots[2], slots[3], slots[4]
	dir, tree := b.newVar("is a directory"), b.tmp("tree")
	keep := b.newVar("kept")
	loop, end, place, after := b.label(), b.label(), b.label(), b.label()

	b.set(number, Num(0))
	b.set(e, Ref(b.acts()))
	b.mark(loop)
	b.op(Branch, Slot(e), Num(every), Slot(b.said.put), Num(CondLess)).orElse(end)
	for _, v := range slots {
		b.op(Load, Slot(e), Num(8)).to(v)
		b.advance(e, 8)
	}
	b.set(dir, Num(1))
	kinds := map[ActKind]Label{}
	for _, k := range []ActKind{ActBind, ActSymlink, ActTmpfs, ActProc, ActDev, ActLock} {
		kinds[k] = b.label()
		b.ifEqual(Slot(kind), every, Num(uint64(k)), kinds[k])
	}
	b.jump(place) // a directory: it is all that is wanted

	b.begin(Step{Process: Init, Name: "bind", Kind: KindBind})
	b.mark(kinds[ActBind])
	b.bindSaid(bindSlots{source, mode, dir, tree}, scratch, loop)
	b.op(SysMountSetattr, Slot(tree), b.str(""), Flags(cEmptyPath, cRecursive), Slot(more), Num(32))
	b.set(mode, Num(0o755))
	b.set(more, Num(0o755))
	b.jump(place)

	b.begin(Step{Process: Init, Name: "link", Kind: KindSymlink})
	b.mark(kinds[ActSymlink])
	b.symlinkSaid(source, dest, more)
	b.jump(loop)

	b.begin(Step{Process: Init, Name: "tmpfs", Kind: KindTmpfs})
	b.mark(kinds[ActTmpfs])
	name := &Data{Section: SetupRW, Bytes: append([]byte("t"), make([]byte, 24)...), Align: 8, Text: `"t…"`}
	scratchTree := func() {
		b.advance(number, 1)
		b.op(Format, RefAt(name, 1), Slot(number))
		b.op(SysMkdirat, Slot(b.scratch), Ref(name), Slot(mode))
		b.op(SysOpenTree, Slot(b.scratch), Ref(name), Flags(cTreeClone, cTreeCloex)).to(tree)
		b.set(mode, Num(0o755))
	}
	scratchTree()
	b.jump(place)

	b.begin(Step{Process: Init, Name: "proc", Kind: KindProc})
	b.mark(kinds[ActProc])
	b.freshProcTree(tree)
	b.op(SysFcntl, Slot(tree), named("F_DUPFD_CLOEXEC", unix.F_DUPFD_CLOEXEC), Num(0)).to(keep)
	b.set(mode, Num(0o755))
	b.jump(place)

	b.begin(Step{Process: Init, Name: "dev", Kind: KindDev})
	b.mark(kinds[ActDev])
	b.set(mode, Num(0o755))
	scratchTree()
	b.devPlaces(false, func(child string) (dir, path Arg) { return Slot(tree), b.str(child) })
	b.op(SysFcntl, Slot(tree), named("F_DUPFD_CLOEXEC", unix.F_DUPFD_CLOEXEC), Num(0)).to(keep)
	b.jump(place)

	b.begin(Step{Process: Init, Name: "read-only", Kind: KindReadOnly})
	b.mark(kinds[ActLock])
	at := b.tmp("target")
	b.op(SysOpenat2, Slot(b.root), Slot(dest), Ref(howInRoot), Num(24)).to(at).retryOn(int(unix.EAGAIN))
	b.setAttr(at, attached, cAttrRdonly, cAttrNosuid, cAttrNodev)
	b.op(SysClose, Slot(at)).then(loop)

	b.begin(Step{Process: Init, Name: "place", Kind: KindPlace})
	b.mark(place)
	b.placeSaid(placeSlots{kind, dest, dir, mode, more, tree}, after)

	b.begin(Step{Process: Init, Name: "what lies in it"})
	b.mark(after)
	proc, dev := b.label(), b.label()
	b.ifEqual(Slot(kind), every, Num(uint64(ActProc)), proc)
	b.ifEqual(Slot(kind), every, Num(uint64(ActDev)), dev)
	b.jump(loop)
	b.mark(proc)
	b.coverProc(keep)
	b.jump(loop)
	b.mark(dev)
	b.fillDev(keep)
	b.jump(loop)
	b.mark(end)
}

type bindSlots struct{ source, optional, dir, tree Var }

// bindSaid clones the tree of a bind; where there is none that may be missing it goes to missing.
func (b *builder) bindSaid(s bindSlots, scratch *Data, missing Label) {
	src, m := b.tmp("source"), b.tmp("mode")
	host, whole, other, refuse, cloned, absent := b.label(), b.label(), b.label(), b.label(), b.label(), b.label()
	how := words("{flags=O_PATH|O_CLOEXEC, resolve=RESOLVE_NO_MAGICLINKS}", unix.O_PATH|unix.O_CLOEXEC, 0, unix.RESOLVE_NO_MAGICLINKS)
	missed := b.label()
	b.op(Compare, Slot(s.source), b.str("/"), Num(2)).then(whole).orElse(host)
	b.mark(whole)
	b.set(s.tree, Slot(b.said.rootTree)).then(cloned)
	// What a link leads to may be there, and lie in /proc.
	b.mark(absent)
	b.unlessEqual(Slot(s.optional), every, Num(1), refuse)
	b.op(SysOpenat2, atFDCWD, Slot(s.source), Ref(howNoLinks), Num(24)).on(int(unix.ENOENT), missed)
	b.jump(refuse)
	b.mark(missed)
	b.jump(missing)
	b.mark(refuse)
	b.op(Branch, Num(0), Num(0), Num(1), Num(CondEqual)) // fatal
	b.mark(host)
	b.op(SysOpenat2, atFDCWD, Slot(s.source), Ref(how), Num(24)).to(src).on(int(unix.ENOENT), absent)
	// Of the scratch, or of what holds it, nothing is shown.
	b.statxOf(src)
	b.op(Compare, RefAt(b.statx, statxDev), RefAt(scratch, statxDev), Num(8)).then(refuse).orElse(Following)
	b.op(Compare, RefAt(b.statx, statxIno), RefAt(b.hostRoot, statxIno), Num(8)).orElse(other)
	b.op(Compare, RefAt(b.statx, statxDev), RefAt(b.hostRoot, statxDev), Num(8)).then(refuse).orElse(Following)
	b.mark(other)
	b.op(SysOpenTree, Slot(src), b.str(""), Flags(cTreeClone, cTreeCloex, cEmptyPath, cRecursive)).to(s.tree)
	b.op(SysClose, Slot(src))
	b.op(Load, RefAt(b.statx, statxMode), Num(2)).to(m)
	b.ifEqual(Slot(m), unix.S_IFMT, Num(unix.S_IFDIR), cloned)
	b.set(s.dir, Num(0))
	b.mark(cloned)
}

// symlinkSaid makes a link; one that is there already and says the same is as good.
func (b *builder) symlinkSaid(source, dest, parents Var) {
	name, n, m := b.tmp("name below"), b.tmp("n"), b.tmp("length")
	there, made := b.label(), b.label()
	b.sum(name, dest, Num(1))
	last := b.walk(Slot(name), Slot(parents))
	b.op(SysSymlinkat, Slot(source), Slot(last.dir), Slot(last.name)).on(int(unix.EEXIST), there).then(made)
	b.mark(there)
	text := buffer("link", unix.PathMax)
	b.op(SysReadlinkat, Slot(last.dir), Slot(last.name), Ref(text), Num(unix.PathMax)).to(n)
	b.op(Copy, Num(0), Slot(source), Num(0), Num(unix.PathMax)).to(m)
	b.op(Branch, Slot(n), Num(every), Slot(m), Num(CondEqual)) // fatal otherwise
	b.op(Compare, Ref(text), Slot(source), Slot(m))
	b.mark(made)
	b.op(SysClose, Slot(last.dir))
}

type placeSlots struct{ kind, dest, dir, mode, parents, tree Var }

// placeSaid finds or makes the place, and mounts the tree there.
func (b *builder) placeSaid(s placeSlots, after Label) {
	name, how, at := b.tmp("name below"), b.tmp("how"), b.tmp("target")
	whole, find, slow, file, made, have, shut := b.label(), b.label(), b.label(), b.label(), b.label(), b.label(), b.label()
	b.op(Compare, Slot(s.dest), b.str("/"), Num(2)).then(whole).orElse(Following)
	b.sum(name, s.dest, Num(1))
	b.set(how, Ref(howInRootDir))
	b.ifEqual(Slot(s.dir), every, Num(1), find)
	b.set(how, Ref(howInRoot))
	b.mark(find)
	b.op(SysOpenat2, Slot(b.root), Slot(name), Slot(how), Num(24)).to(at).then(have).orElse(slow)
	b.mark(slow)
	last := b.walk(Slot(name), Slot(s.parents))
	b.unlessEqual(Slot(s.dir), every, Num(1), file)
	b.op(SysMkdirat, Slot(last.dir), Slot(last.name), Slot(s.mode)).on(int(unix.EEXIST), made).then(made)
	b.mark(file)
	b.op(SysMknodat, Slot(last.dir), Slot(last.name), fileMode(0o444), Num(0)).on(int(unix.EEXIST), Next)
	b.mark(made)
	b.op(SysClose, Slot(last.dir))
	b.op(SysOpenat2, Slot(b.root), Slot(name), Slot(how), Num(24)).to(at).retryOn(int(unix.EAGAIN))
	b.mark(have)
	b.ifEqual(Slot(s.kind), every, Num(uint64(ActDir)), shut)
	b.op(SysMoveMount, Slot(s.tree), b.str(""), Slot(at), b.str(""), Flags(cMoveEmpty, cMoveTEmpty))
	b.op(SysClose, Slot(s.tree))
	b.mark(shut)
	b.op(SysClose, Slot(at)).then(after)
	b.mark(whole)
	b.ifEqual(Slot(s.kind), every, Num(uint64(ActDir)), after)
	b.op(SysMoveMount, Slot(s.tree), b.str(""), Slot(b.root), b.str(""), Flags(cMoveEmpty, cMoveTEmpty))
	b.set(b.root, Slot(s.tree)) // the old one is covered, and goes with pid 1's other descriptors
}
