package plan

import (
	"path"
	"strconv"

	"golang.org/x/sys/unix"
)

// devLinks are the names in /dev that are not devices. ptmx is that of the
// container's own devpts, whatever the root file system holds by this name.
func (b *containerBuilder) devLinks() {
	b.begin(Step{Process: Init, Name: "links of /dev", Kind: KindContainerDevice, Path: "/dev", Origin: "mounts"})
	dev := b.makeInRoot("/dev", true, howInRoot)
	b.op(SysUnlinkat, Slot(dev), b.str("ptmx"), Num(0)).on(int(unix.ENOENT), Following)
	for _, l := range [...][2]string{{"pts/ptmx", "ptmx"}, {"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"}} {
		b.op(SysSymlinkat, b.str(l[0]), Slot(dev), b.str(l[1])).on(int(unix.EEXIST), Following)
	}
	b.op(SysClose, Slot(dev))
}

// device makes a device node, or shows the host's. One that is there already has
// to be the same device.
func (b *containerBuilder) device(d *ContainerDevice) {
	b.begin(Step{Process: Init, Name: "device " + d.Path, Kind: KindContainerDevice, Path: d.Path, Origin: d.Origin})
	if d.Bind {
		b.bindDevice(d)
		return
	}
	dir, name := b.makeInRoot(path.Dir(d.Path), true, howInRoot), path.Base(d.Path)
	node, there := b.tmp("node"), b.label()
	b.op(SysMknodat, Slot(dir), b.str(name), modeArg(d.Kind|d.Mode), Num(deviceNumber(d.Major, d.Minor))).on(int(unix.EEXIST), there).orElse(Next)
	b.mark(there)
	b.op(SysOpenat, Slot(dir), b.str(name), named("O_PATH|O_NOFOLLOW|O_CLOEXEC", unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC), Num(0)).to(node)
	b.isDevice(node, d)
	if d.UID|d.GID != 0 {
		b.op(SysFchownat, Slot(node), b.str(""), Num(uint64(d.UID)), Num(uint64(d.GID)), Flags(cEmptyPath))
	}
	b.op(SysClose, Slot(node))
	b.op(SysClose, Slot(dir))
}

// deviceNumber is a dev_t as mknodat(2) takes it.
func deviceNumber(major, minor uint32) uint64 {
	return uint64(minor&0xff | major<<8 | (minor&^0xff)<<12)
}

func modeArg(mode uint32) Arg {
	kind := map[uint32]string{unix.S_IFCHR: "S_IFCHR", unix.S_IFBLK: "S_IFBLK", unix.S_IFIFO: "S_IFIFO"}[mode&unix.S_IFMT]
	return named(kind+"|0"+strconv.FormatUint(uint64(mode&^unix.S_IFMT), 8), uint64(mode))
}

// isDevice makes sure that fd is the device that d is.
func (b *containerBuilder) isDevice(fd Var, d *ContainerDevice) {
	mode := b.tmp("mode")
	b.statxOf(fd)
	b.op(Load, RefAt(b.statx, statxMode), Num(2)).to(mode)
	b.op(Branch, Slot(mode), Num(unix.S_IFMT), modeArg(d.Kind), Num(CondEqual)) // fatal otherwise
	if d.Kind != unix.S_IFIFO {
		b.op(Compare, RefAt(b.statx, statxRdev), Ref(b.words(showRdev, uint64(d.Major)|uint64(d.Minor)<<32)), Num(8))
	}
}

func showRdev(d *Data) string { return "{r" + showDev(d)[1:] }

func (b *containerBuilder) bindDevice(d *ContainerDevice) {
	src, tree := b.tmp("source"), b.tmp("tree")
	b.op(SysOpenat2, atFDCWD, b.str(d.Path), Ref(howNoLinks), Num(24)).to(src)
	b.isDevice(src, d)
	b.op(SysOpenTree, Slot(src), b.str(""), Flags(cTreeClone, cTreeCloex, cEmptyPath, cRecursive)).to(tree)
	at := b.makeInRoot(d.Path, false, howInRoot)
	b.op(SysMoveMount, Slot(tree), b.str(""), Slot(at), b.str(""), Flags(cMoveEmpty, cMoveTEmpty))
	b.op(SysClose, Slot(at))
	b.op(SysClose, Slot(tree))
	b.op(SysClose, Slot(src))
}
