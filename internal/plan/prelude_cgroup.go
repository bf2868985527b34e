package plan

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// Hierarchy is the cgroup hierarchy that counts processes, as the host had it when
// the prelude was made.
type Hierarchy struct {
	Version     int    // 1 or 2; 0: the policy has no limit of processes
	Mount       string // where it is mounted, whole
	Controllers string // what /proc/self/cgroup calls it; of version 2: ""
	Namespace   uint64 // inode of the cgroup namespace that its paths are told in
}

// callersCgroup finds the caller's own cgroup in the hierarchy that counts
// processes, and whether it may make one there, as package cgroup would.
func (d *decider) callersCgroup(h *Hierarchy) {
	d.openCgroup(h)
	if h.Version == 2 {
		d.noCgroup2()
		d.close()
		return
	}
	n, done := d.tmp("n"), d.label()
	d.mayMake = d.newVar("may make")
	d.set(d.mayMake, Num(0))
	d.mayWrite().on(int(unix.EACCES), done).orElse(d.leave)
	d.set(d.mayMake, Num(1))
	// What killed ones left is looked for only where there is anything at all: a
	// directory without others in it has two links.
	const nlinkAt = 16
	d.look(SysStatx, Slot(d.file), d.str(""), Flags(cEmptyPath), named("STATX_BASIC_STATS", statxBasic), Ref(d.statx))
	d.op(Load, RefAt(d.statx, nlinkAt), Num(4)).to(n)
	d.op(Branch, Slot(n), Num(^uint64(0)), Num(3), Num(CondLess)).then(done).orElse(Following)
	d.sweepCgroups(d.file, d.leave)
	d.mark(done)
	d.close()
}

// mayWrite asks whether the caller may make a directory in the one that is open.
func (d *decider) mayWrite() opRef {
	return d.op(SysFaccessat, Slot(d.file), d.str("."), named("W_OK|X_OK", unix.W_OK|unix.X_OK))
}

// openCgroup opens the caller's own cgroup.
func (d *decider) openCgroup(h *Hierarchy) {
	all := Num(^uint64(0))
	const size = 4096
	text := buffer("cgroups", size)
	dir := &Data{Section: SetupRW, Bytes: append([]byte(h.Mount), make([]byte, size)...), Align: 8, Text: `"` + h.Mount + `…"`}
	d.cgroupDir = dir
	n, at, c := d.tmp("n"), d.tmp("at"), d.tmp("byte")
	found := d.label()
	mine, magic := ":"+h.Controllers+":", words("CGROUP_SUPER_MAGIC", unix.CGROUP_SUPER_MAGIC)
	if h.Version == 2 {
		magic = cgroup2Magic
	}
	d.look(SysStatx, atFDCWD, d.str("/proc/self/ns/cgroup"), Num(0), named("STATX_BASIC_STATS", statxBasic), Ref(d.statx))
	d.same(RefAt(d.statx, statxIno), Ref(words("{ino="+strconv.FormatUint(h.Namespace, 10)+"}", h.Namespace)), 8)
	d.look(SysOpenat, atFDCWD, d.str("/proc/self/cgroup"), Flags(cRdonly, cCloexec), Num(0)).to(d.file)
	d.look(SysRead, Slot(d.file), Ref(text), Num(size-2)).to(n)
	d.close()
	d.op(Branch, Slot(n), all, Num(size-2), Num(CondLess)).orElse(d.leave)
	// Lines are "ID:CONTROLLERS:PATH", and a path may hold anything but a newline.
	upTo := func(stop uint64) {
		d.look(Copy, Num(0), Slot(at), Num(stop), Num(size)).to(n)
		d.op(Alu, Slot(at), Num(0), all, Num(0), Slot(n)).to(at)
	}
	d.set(at, Ref(text))
	loop := d.here()
	d.op(Load, Slot(at), Num(1)).to(c)
	d.ifEqual(Slot(c), ^uint64(0), Num(0), d.leave)
	upTo(':')
	d.op(Compare, Slot(at), d.str(mine), Num(uint64(len(mine)))).then(found).orElse(Following)
	upTo('\n')
	d.advance(at, 1)
	d.jump(loop)
	d.mark(found)
	d.advance(at, uint64(len(mine)))
	// A path that leads out of the cgroup namespace is no place here.
	d.op(Compare, Slot(at), d.str("/.."), Num(3)).then(d.leave).orElse(Following)
	d.look(Copy, RefAt(dir, len(h.Mount)), Slot(at), Num('\n'), Num(size-1)).to(n)
	d.look(SysOpenat2, atFDCWD, Ref(dir), Ref(howNoLinks), Num(24)).to(d.file)
	statfs := buffer("statfs", 120)
	d.look(SysFstatfs, Slot(d.file), Ref(statfs))
	d.same(Ref(statfs), Ref(magic), 8)
}

var cgroup2Magic = words("CGROUP2_SUPER_MAGIC", unix.CGROUP2_SUPER_MAGIC)

// noCgroup2 goes on only where the caller may make a cgroup nowhere, neither in its
// own nor above it: then there is no limit to set. Which one would do, the program
// finds out.
func (d *decider) noCgroup2() {
	up, refused := d.tmp("up"), d.label()
	statfs := buffer("statfs", 120)
	loop := d.here()
	d.mayWrite().on(int(unix.EACCES), refused).orElse(d.leave).then(d.leave)
	d.mark(refused)
	d.look(SysOpenat, Slot(d.file), d.str(".."), Flags(cPath, cCloexec), Num(0)).to(up)
	d.op(SysClose, Slot(d.file)).ignoring()
	d.set(d.file, Slot(up))
	d.look(SysFstatfs, Slot(d.file), Ref(statfs))
	d.op(Compare, Ref(statfs), Ref(cgroup2Magic), Num(8)).then(loop).orElse(Following)
}
