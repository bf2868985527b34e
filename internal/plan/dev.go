package plan

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// devNode is a device that every program may expect, null(4) and its like.
type devNode struct {
	name         string
	major, minor uint32
}

var devNodes = [...]devNode{{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}}

// dev makes a fresh /dev. Its devices are binds of the host's, each checked by
// type and number on the descriptor that is then mounted, never by its path;
// pts, shm and mqueue are the sandbox's own.
func (b *builder) dev(n *mountNode) {
	tree := b.tmp("tree")
	b.begin(Step{Process: Init, Name: "dev " + n.Path, Kind: KindDev, Path: n.Path, Origin: n.Origin})
	name, shm := "dev", "shm"
	if b.devs++; b.devs > 1 {
		name, shm = b.scratchName(), b.scratchName()
	}
	b.op(SysMkdirat, Slot(b.scratch), b.str(name), octal(0o755))
	for i := range devNodes {
		b.op(SysMknodat, Slot(b.scratch), b.str(name+"/"+devNodes[i].name), named("S_IFREG|0666", unix.S_IFREG|0o666), Num(0))
	}
	for _, dir := range []string{"pts", "shm", "mqueue"} {
		b.op(SysMkdirat, Slot(b.scratch), b.str(name+"/"+dir), octal(0o755))
	}
	for _, l := range [...][2]string{{"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"}, {"pts/ptmx", "ptmx"}} {
		b.op(SysSymlinkat, b.str(l[0]), Slot(b.scratch), b.str(name+"/"+l[1]))
	}
	b.addedToDev(n, name)
	b.op(SysOpenTree, Slot(b.scratch), b.str(name), Flags(cTreeClone, cTreeCloex)).to(tree)
	b.setAttr(tree, detachedDir, cAttrRdonly, cAttrNosuid, cAttrNoexec)
	b.attachKeeping(n, tree)

	// From here on tree is /dev itself: names below it were made here.
	for i := range devNodes {
		b.devNode(&devNodes[i], tree)
	}

	b.begin(Step{Process: Init, Name: "devpts", Kind: KindDevpts, Path: n.Path + "/pts", Origin: n.Origin})
	fs, mnt := b.tmp("fs"), b.tmp("mount")
	b.devpts(tree)

	b.begin(Step{Process: Init, Name: "shared memory", Kind: KindTmpfs, Path: n.Path + "/shm", Origin: n.Origin})
	b.scratchTree(shm, 0o1777, mnt)
	b.setAttr(mnt, detachedDir, cAttrNosuid, cAttrNodev)
	b.op(SysMoveMount, Slot(mnt), b.str(""), Slot(tree), b.str("shm"), Flags(cMoveEmpty))
	b.op(SysClose, Slot(mnt))

	if b.policy.Unshare.IPC {
		b.begin(Step{Process: Init, Name: "message queues", Kind: KindMqueue, Path: n.Path + "/mqueue", Origin: n.Origin})
		b.op(SysFsopen, b.str("mqueue"), Flags(cFsCloexec)).to(fs)
		b.op(SysFsconfig, Slot(fs), Flags(cfgCreate), null, null, Num(0))
		b.op(SysFsmount, Slot(fs), Flags(cFsmCloexec), Flags(cAttrNosuid, cAttrNodev, cAttrNoexec)).to(mnt)
		b.op(SysMoveMount, Slot(mnt), b.str(""), Slot(tree), b.str("mqueue"), Flags(cMoveEmpty))
		b.op(SysClose, Slot(fs))
		b.op(SysClose, Slot(mnt))
	}
	b.op(SysClose, Slot(tree))
}

// devpts mounts a devpts(5) of the sandbox's own at pts in dev.
func (b *builder) devpts(dev Var) {
	fs, mnt := b.tmp("fs"), b.tmp("mount")
	b.op(SysFsopen, b.str("devpts"), Flags(cFsCloexec)).to(fs)
	b.op(SysFsconfig, Slot(fs), Flags(cfgString), b.str("ptmxmode"), b.str("0666"), Num(0))
	b.op(SysFsconfig, Slot(fs), Flags(cfgString), b.str("mode"), b.str("0620"), Num(0))
	b.op(SysFsconfig, Slot(fs), Flags(cfgCreate), null, null, Num(0))
	b.op(SysFsmount, Slot(fs), Flags(cFsmCloexec), Flags(cAttrNosuid, cAttrNoexec)).to(mnt)
	b.op(SysMoveMount, Slot(mnt), b.str(""), Slot(dev), b.str("pts"), Flags(cMoveEmpty))
	b.op(SysClose, Slot(fs))
	b.op(SysClose, Slot(mnt))
}

// addedToDev makes the names that other entries want in a fresh /dev, which is
// read-only afterwards.
func (b *builder) addedToDev(n *mountNode, scratch string) {
	for i := range b.mounts {
		m := &b.mounts[i]
		if m.skip || m.exists || m.cover < 0 || &b.mounts[m.cover] != n || within(m.target, n.target+"/shm") {
			continue
		}
		name := m.target[len(n.target)+1:]
		for at := range len(name) {
			if name[at] == '/' {
				b.op(SysMkdirat, Slot(b.scratch), b.str(scratch+"/"+name[:at]), octal(0o755)).on(int(unix.EEXIST), Next)
			}
		}
		name = scratch + "/" + name
		switch {
		case m.Kind == policy.Symlink:
			b.op(SysSymlinkat, b.str(m.Source), Slot(b.scratch), b.str(name))
			m.exists = true
		case m.dir:
			b.op(SysMkdirat, Slot(b.scratch), b.str(name), octal(0o755)).on(int(unix.EEXIST), Next)
		default:
			b.op(SysMknodat, Slot(b.scratch), b.str(name), named("S_IFREG|0644", unix.S_IFREG|0o644), Num(0)).on(int(unix.EEXIST), Next)
		}
	}
}

// devNode binds one device.
func (b *builder) devNode(d *devNode, dev Var) {
	src, tree, mode := b.tmp("source"), b.tmp("node"), b.tmp("mode")
	b.op(SysOpenat2, atFDCWD, b.str("/dev/"+d.name), Ref(howNoLinks), Num(24)).to(src)
	b.statxOf(src)
	b.op(Load, RefAt(b.statx, statxMode), Num(2)).to(mode)
	b.op(Branch, Slot(mode), Num(unix.S_IFMT), named("S_IFCHR", unix.S_IFCHR), Num(CondEqual)) // fatal otherwise
	rdev := &Data{Bytes: make([]byte, 8), Text: "{rdev of " + d.name + "}"}
	binary.LittleEndian.PutUint32(rdev.Bytes, d.major)
	binary.LittleEndian.PutUint32(rdev.Bytes[4:], d.minor)
	b.op(Compare, RefAt(b.statx, statxRdev), Ref(rdev), Num(8))
	b.op(SysOpenTree, Slot(src), b.str(""), Flags(cTreeClone, cTreeCloex, cEmptyPath, cRecursive)).to(tree)
	b.op(SysMoveMount, Slot(tree), b.str(""), Slot(dev), b.str(d.name), Flags(cMoveEmpty))
	b.op(SysClose, Slot(src))
	b.op(SysClose, Slot(tree))
}
