package plan

import "golang.org/x/sys/unix"

// hiddenProc is what /proc shows of the whole machine and not of the sandbox:
// memory, keys, timers, hardware. A name that this kernel does not have is passed over.
var hiddenProc = [...]struct {
	name string
	dir  bool
}{
	{"acpi", true},
	{"scsi", true},
	{"kcore", false},
	{"keys", false},
	{"latency_stats", false},
	{"sched_debug", false},
	{"timer_list", false},
}

// readOnlyProc is where a write would change the machine. Uid 0 outside is
// enough for that, with no capability at all, and the caller may be uid 0.
var readOnlyProc = [...]struct {
	name  string
	where place
}{
	{"bus", detachedDir},
	{"fs", detachedDir},
	{"irq", detachedDir},
	{"sys", detachedDir},
	{"sysrq-trigger", detachedFile},
}

// proc mounts a fresh proc(5): it shows the processes of the pid namespace that
// pid 1 lives in, and none of those before it.
func (b *builder) proc(n *mountNode) {
	b.begin(Step{Process: Init, Name: "proc " + n.Path, Kind: KindProc, Path: n.Path, Origin: n.Origin})
	fs, mnt, tree := b.tmp("fs"), b.tmp("mount"), b.tmp("tree")
	b.op(SysFsopen, b.str("proc"), Flags(cFsCloexec)).to(fs)
	if n.Subset != "" {
		b.op(SysFsconfig, Slot(fs), Flags(cfgString), b.str("subset"), b.str(n.Subset), Num(0))
	}
	if n.Hidepid != "" {
		b.op(SysFsconfig, Slot(fs), Flags(cfgString), b.str("hidepid"), b.str(n.Hidepid), Num(0))
	}
	b.op(SysFsconfig, Slot(fs), Flags(cfgCreate), null, null, Num(0))
	b.op(SysFsmount, Slot(fs), Flags(cFsmCloexec), Flags(cAttrNosuid, cAttrNodev, cAttrNoexec)).to(mnt)
	b.op(SysClose, Slot(fs))
	b.attachKeeping(n, mnt)
	if n.Subset != "pid" { // subset=pid has none of the rest
		b.masks()
		b.begin(Step{Process: Init, Name: "hide what " + n.Path + " tells of the machine", Kind: KindProc, Path: n.Path, Origin: n.Origin})
		at := b.tmp("target")
		for i := range hiddenProc {
			kind := "file"
			if hiddenProc[i].dir {
				kind = "dir"
			}
			// Looked for before the mask is cloned: to drop a mount that found no
			// place costs the kernel a grace period.
			missing := b.label()
			b.op(SysOpenat, Slot(mnt), b.str(hiddenProc[i].name), Flags(cPath, cCloexec)).to(at).on(int(unix.ENOENT), missing)
			b.op(SysOpenTree, Slot(b.mask), b.str(kind), Flags(cTreeClone, cTreeCloex)).to(tree)
			b.op(SysMoveMount, Slot(tree), b.str(""), Slot(at), b.str(""), Flags(cMoveEmpty, cMoveTEmpty))
			b.op(SysClose, Slot(tree))
			b.op(SysClose, Slot(at))
			b.mark(missing)
		}
		b.begin(Step{Process: Init, Name: "keep " + n.Path + " from changing the machine", Kind: KindProc, Path: n.Path, Origin: n.Origin})
		for _, p := range readOnlyProc {
			missing := b.label()
			b.op(SysOpenTree, Slot(mnt), b.str(p.name), Flags(cTreeClone, cTreeCloex, cRecursive)).to(tree).on(int(unix.ENOENT), missing)
			b.setAttr(tree, p.where, cAttrRdonly, cAttrNosuid, cAttrNodev, cAttrNoexec)
			b.op(SysMoveMount, Slot(tree), b.str(""), Slot(mnt), b.str(p.name), Flags(cMoveEmpty))
			b.op(SysClose, Slot(tree))
			b.mark(missing)
		}
	}
	b.op(SysClose, Slot(mnt))
}
