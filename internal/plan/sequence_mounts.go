package plan

import (
	"path"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// procWritable is what of /proc an act covers with itself, read-only, where it could be written.
var procWritable = [...]string{"sys", "sysrq-trigger", "irq", "bus"}

// actProc mounts proc(5), and keeps from being written in it what could change the machine.
// Where that is not writable anyway nothing is mounted.
func (b *builder) actProc(a *Act, n *mountNode) {
	b.begin(b.actStep(a, KindProc, "proc "+a.Dest))
	tree := b.tmp("tree")
	if b.freshProc() {
		b.freshProcTree(tree)
	} else {
		b.set(tree, Slot(n.early))
		b.limitTree(tree, true, false, []Const{cAttrNosuid, cAttrNodev})
	}
	keep := b.tmp("proc")
	b.op(SysFcntl, Slot(tree), named("F_DUPFD_CLOEXEC", unix.F_DUPFD_CLOEXEC), Num(0)).to(keep)
	b.mountAct(a, true, tree, nameOther)
	b.begin(b.actStep(a, KindProc, "keep "+a.Dest+" from changing the machine"))
	b.coverProc(keep)
}

func (b *builder) freshProcTree(tree Var) {
	fs := b.tmp("fs")
	b.op(SysFsopen, b.str("proc"), Flags(cFsCloexec)).to(fs)
	b.op(SysFsconfig, Slot(fs), Flags(cfgCreate), null, null, Num(0))
	b.op(SysFsmount, Slot(fs), Flags(cFsmCloexec), Flags(cAttrNosuid, cAttrNodev, cAttrNoexec)).to(tree)
	b.op(SysClose, Slot(fs))
}

// coverProc covers what can be written of the /proc that is open.
func (b *builder) coverProc(keep Var) {
	part := b.tmp("part")
	for _, name := range procWritable {
		next := b.label()
		b.op(SysFaccessat, Slot(keep), b.str(name), named("W_OK", unix.W_OK)).orElse(next)
		b.op(SysOpenTree, Slot(keep), b.str(name), Flags(cTreeClone, cTreeCloex, cRecursive)).to(part)
		where := detachedDir
		if name == "sysrq-trigger" {
			where = detachedFile
		}
		b.setAttr(part, where, cAttrRdonly, cAttrNosuid, cAttrNodev, cAttrNoexec)
		b.op(SysMoveMount, Slot(part), b.str(""), Slot(keep), b.str(name), Flags(cMoveEmpty))
		b.op(SysClose, Slot(part))
		b.mark(next)
	}
	b.op(SysClose, Slot(keep))
}

// actDev makes a fresh /dev, a tmpfs that can be written. Its devices are checked as dev's
// are.
func (b *builder) actDev(a *Act) {
	b.begin(b.actStep(a, KindDev, "dev "+a.Dest))
	tree, keep := b.tmp("tree"), b.tmp("dev")
	name := b.scratchName()
	b.op(SysMkdirat, Slot(b.scratch), b.str(name), octal(0o755))
	b.devPlaces(a.Console != "", func(child string) (dir, path Arg) { return Slot(b.scratch), b.str(name + "/" + child) })
	b.op(SysOpenTree, Slot(b.scratch), b.str(name), Flags(cTreeClone, cTreeCloex)).to(tree)
	b.op(SysFcntl, Slot(tree), named("F_DUPFD_CLOEXEC", unix.F_DUPFD_CLOEXEC), Num(0)).to(keep)
	b.mountAct(a, true, tree, nameOther)
	b.begin(b.actStep(a, KindDev, "devices of "+a.Dest))
	if a.Console != "" {
		f := b.facts[a.Console]
		n := b.nodeOf(a, a.Console, f)
		b.cloneTree(&n, tree)
		b.limitTree(tree, false, false, []Const{cAttrNosuid})
		b.op(SysMoveMount, Slot(tree), b.str(""), Slot(keep), b.str("console"), Flags(cMoveEmpty))
		b.op(SysClose, Slot(tree))
	}
	b.fillDev(keep)
}

// devPlaces makes what devices are mounted on, each where at says, in an empty directory.
func (b *builder) devPlaces(console bool, at func(name string) (dir, path Arg)) {
	file := func(name string) {
		dir, path := at(name)
		b.op(SysMknodat, dir, path, fileMode(0o444), Num(0))
	}
	for i := range devNodes {
		file(devNodes[i].name)
	}
	if console {
		file("console")
	}
	for _, name := range []string{"pts", "shm"} {
		dir, path := at(name)
		b.op(SysMkdirat, dir, path, octal(0o755))
	}
	for _, l := range [...][2]string{{"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"}, {"/proc/kcore", "core"}, {"pts/ptmx", "ptmx"}} {
		dir, path := at(l[1])
		b.op(SysSymlinkat, b.str(l[0]), dir, path)
	}
}

// fillDev mounts the devices and a devpts(5) in it.
func (b *builder) fillDev(keep Var) {
	for i := range devNodes {
		b.devNode(&devNodes[i], keep)
	}
	s := b.p.Steps[b.step]
	b.begin(Step{Process: Init, Name: "devpts " + path.Join(s.Path, "pts"), Kind: KindDevpts, Path: s.Path, Origin: s.Origin})
	b.devpts(keep)
	b.op(SysClose, Slot(keep))
}

// actOverlay makes an overlayfs as overlayTree does: of what is there, of an upper layer of
// the host's, or of one that is dropped at the end.
func (b *builder) actOverlay(a *Act, tree Var) {
	layer := b.tmp("layer")
	mount := func(dir string, readOnly bool) string {
		n := b.nodeOf(a, dir, b.facts[dir])
		if n.early != Void {
			b.set(layer, Slot(n.early))
		} else {
			b.cloneTree(&n, layer)
		}
		b.limitTree(layer, true, readOnly, []Const{cAttrNosuid, cAttrNodev})
		name := b.scratchName()
		b.op(SysMkdirat, Slot(b.scratch), b.str(name), octal(0o755))
		b.op(SysMoveMount, Slot(layer), b.str(""), Slot(b.scratch), b.str(name), Flags(cMoveEmpty))
		b.op(SysClose, Slot(layer))
		return name
	}
	var lower []string
	for _, l := range a.Lower {
		lower = append(lower, mount(l, true))
	}
	upper, work := "", ""
	switch {
	case a.Upper != "":
		// Both must lie in one mount: that of the directory which holds them.
		u, w := b.facts[a.Upper].Real, b.facts[a.Work].Real
		top := commonDir(u, w)
		if within(w, u) { // a work directory in the upper one: refused by overlayfs, with its own words
			top = path.Dir(u)
		}
		n := mountNode{Mount: policy.Mount{Path: top, Origin: a.Origin}, real: top, dir: true}
		src := b.tmp("source")
		b.op(SysOpenat2, atFDCWD, b.path(top), Ref(howNoLinks), Num(24)).to(src)
		b.op(SysOpenTree, Slot(src), b.str(""), Flags(cTreeClone, cTreeCloex, cEmptyPath, cRecursive)).to(layer)
		b.op(SysClose, Slot(src))
		b.limitTree(layer, n.dir, false, []Const{cAttrNosuid, cAttrNodev})
		name := b.scratchName()
		b.op(SysMkdirat, Slot(b.scratch), b.str(name), octal(0o755))
		b.op(SysMoveMount, Slot(layer), b.str(""), Slot(b.scratch), b.str(name), Flags(cMoveEmpty))
		b.op(SysClose, Slot(layer))
		upper, work = path.Join(name, u[len(top):]), path.Join(name, w[len(top):])
	case !a.ReadOnly:
		upper, work = b.droppedUpper()
	}
	b.overlayFS(lower, upper, work, true, tree)
}
