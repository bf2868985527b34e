package plan

import "golang.org/x/sys/unix"

// The search for the mounts of a staged tree. mountinfo (proc_pid_mountinfo(5))
// of pid 1's own mount namespace is complete: every mount in it is private, so
// since the tree was cloned nothing is added to it from outside. Names are
// another matter, as somebody else may rename directories meanwhile: a mount
// is opened by its name and remounted by the descriptor, if that has the mount id
// that was looked for.
//
// What is not found by its name lies below another mount (then nobody can
// reach it, and two looks have to agree on that), or was renamed (then all is
// looked at again). A directory that this user may not search, as those of other
// users, hides what is mounted below it only until somebody changes its mode: it is
// covered by an empty directory that nobody may read.
//
// The limit of this: who renames directories outside, at both looks and in the
// moment between two reads of the list, so that one mount seems to lie below
// another, keeps the first from being restricted. mount_setattr has no such limit.

const (
	mountinfoSize = 2 << 20  // some 15000 mounts
	mountinfoRead = 64 << 10 // at a time
	remountLooks  = 32

	stagedLength = uint64(len(scratchPath + stageDir))
)

// mountLine is one line of mountinfo.
type mountLine struct {
	at      Var // where the line begins, and then the next
	id      Var
	parent  Var
	point   Var // address of the mount point, in which space, tab, newline and \ are octal
	length  Var // of it
	options Var // address of the options
}

func (b *builder) newMountLine(suffix string) mountLine {
	return mountLine{
		at: b.newVar("line" + suffix), id: b.newVar("id" + suffix), parent: b.newVar("parent" + suffix),
		point: b.newVar("point" + suffix), length: b.newVar("length" + suffix), options: b.newVar("options" + suffix),
	}
}

const every = ^uint64(0) // a mask that leaves everything

// add adds to a slot.
func (b *builder) add(v, n Var) { b.op(Alu, Slot(v), Num(0), Num(every), Num(0), Slot(n)).to(v) }

// sum puts a+n in v.
func (b *builder) sum(v, a Var, n Arg) { b.op(Alu, Slot(a), Num(0), Num(every), Num(0), n).to(v) }

// until puts the number of bytes before the next stop in v.
func (b *builder) until(v, at Var, stop byte) {
	b.op(Copy, Num(0), Slot(at), Num(uint64(stop)), Num(mountinfoSize)).to(v)
}

// readLine takes a line apart and goes on to the next.
func (b *builder) readLine(l mountLine, n Var) {
	field := func() {
		b.until(n, l.at, ' ')
		b.add(l.at, n)
		b.advance(l.at, 1)
	}
	b.op(Parse, Slot(l.at)).to(l.id)
	field()
	b.op(Parse, Slot(l.at)).to(l.parent)
	field()
	field() // device
	field() // root
	b.set(l.point, Slot(l.at))
	b.until(l.length, l.at, ' ')
	b.sum(l.options, l.point, Slot(l.length))
	b.advance(l.options, 1)
	b.until(n, l.options, '\n')
	b.sum(l.at, l.options, Slot(n))
	b.advance(l.at, 1)
}

// treeSearch is the routine while it is written.
type treeSearch struct {
	*builder
	list               *Data // mountinfo
	path               *Data // of one mount, from the scratch on
	l                  mountLine
	looks, again       Var
	n, char, at, flags Var
	next, lost         Label
}

// remountTrees is the routine, if anybody calls it.
func (b *builder) remountTrees() {
	r := &b.remounts
	if r.routine == 0 {
		return
	}
	b.begin(Step{Process: Init, Name: "restrict the mounts of a tree one by one", Kind: KindBind})
	over := b.label()
	b.jump(over)
	s := treeSearch{
		builder: b,
		list:    &Data{Section: SetupRW, Size: mountinfoSize, Align: 8, Text: "mountinfo"},
		path:    buffer("path", pathSize),
		l:       b.newMountLine(""),
		looks:   b.newVar("looks"), again: b.newVar("again"),
		n: b.newVar("count"), char: b.newVar("char"), at: b.newVar("where"), flags: b.newVar("flags"),
		lost: b.label(),
	}
	found := b.newVar("found")
	failed, full, busy, done := b.label(), b.label(), b.label(), b.label()

	b.mark(r.routine)
	b.set(VarOnFatal, Target(failed))
	b.op(SysFchdir, Slot(r.fds))
	b.set(s.looks, Num(0))
	look := b.here()
	b.advance(s.looks, 1)
	b.ifEqual(Slot(s.looks), every, Num(remountLooks), busy)
	b.set(s.again, Num(0))
	b.set(found, Num(0))
	s.readList(full)

	b.set(s.l.at, Ref(s.list))
	s.next = b.here()
	b.op(Load, Slot(s.l.at), Num(1)).to(s.char)
	b.ifEqual(Slot(s.char), every, Num(0), done)
	b.readLine(s.l, s.n)
	// What is in the tree has the stage as its mount point, or what is below.
	top, member := b.label(), b.label()
	b.op(Compare, Slot(s.l.point), Slot(r.staged), Num(stagedLength)).orElse(s.next)
	b.sum(s.at, s.l.point, Num(stagedLength))
	b.op(Load, Slot(s.at), Num(1)).to(s.char)
	b.ifEqual(Slot(s.char), every, Num(' '), top)
	b.ifEqual(Slot(s.char), every, Num('/'), member)
	b.jump(s.next)
	b.mark(top)
	b.set(found, Num(1))
	b.mark(member)
	s.readFlags()
	b.op(Branch, Slot(s.flags), Slot(r.set), Slot(r.set), Num(CondEqual)).then(s.next).orElse(Following)
	s.remount()
	b.mark(s.lost)
	s.explain()

	b.mark(done)
	b.ifEqual(Slot(found), every, Num(0), look)
	b.unlessEqual(Slot(s.again), every, Num(0), look)
	b.set(VarOnFatal, Target(b.fatal))
	for _, c := range r.callers {
		b.ifEqual(Slot(r.caller), every, Target(c.call), c.back)
	}
	b.mark(busy)
	b.set(VarFailedErrno, named("EBUSY", uint64(unix.EBUSY)))
	b.jump(failed)
	b.mark(full)
	b.set(VarFailedErrno, named("E2BIG", uint64(unix.E2BIG)))
	// Whatever went wrong, it is told of the caller's step.
	b.mark(failed)
	b.set(VarFailedOp, Slot(r.caller))
	b.set(VarOnFatal, Target(b.fatal))
	b.jump(b.fatal)
	b.mark(over)
}

// readList reads all of mountinfo, and puts an end to it.
func (s *treeSearch) readList(full Label) {
	r := &s.remounts
	s.op(SysLseek, Slot(r.table), Num(0), named("SEEK_SET", unix.SEEK_SET))
	s.set(s.l.at, Ref(s.list))
	have := s.label()
	more := s.here()
	s.op(Branch, Slot(s.l.at), Num(every), RefAt(s.list, mountinfoSize-mountinfoRead-64), Num(CondLess)).orElse(full)
	s.op(SysRead, Slot(r.table), Slot(s.l.at), Num(mountinfoRead)).to(s.n)
	s.ifEqual(Slot(s.n), every, Num(0), have)
	s.add(s.l.at, s.n)
	s.jump(more)
	s.mark(have)
	s.op(Store, Slot(s.l.at), Num(0), Num(8))
}

// mountFlags are those that a remount takes away unless they are said again,
// and, where they are locked, refuses to (EPERM).
var mountFlags = [...]struct {
	text string
	flag uint64
}{
	{"ro", unix.MS_RDONLY},
	{"nosuid", unix.MS_NOSUID},
	{"nodev", unix.MS_NODEV},
	{"noexec", unix.MS_NOEXEC},
	{"nosymfollow", unix.MS_NOSYMFOLLOW},
}

// readFlags reads the options of the line: words with commas between them. They
// are the kernel's own, in no other spelling, and asking the file system
// (statfs(2)) could wait for a server that is gone.
func (s *treeSearch) readFlags() {
	end := s.newVar("end")
	s.until(s.n, s.l.options, ' ')
	s.sum(end, s.l.options, Slot(s.n))
	s.op(Store, Slot(end), Num(0), Num(1))
	s.set(s.flags, Num(0))
	s.set(s.at, Slot(s.l.options))
	known, done := s.label(), s.label()
	word := s.here()
	for _, f := range mountFlags {
		other := s.label()
		s.op(Compare, Slot(s.at), s.str(f.text), Num(uint64(len(f.text)))).orElse(other)
		s.advance(s.flags, f.flag)
		s.jump(known)
		s.mark(other)
	}
	s.mark(known)
	s.until(s.n, s.at, ',')
	s.add(s.at, s.n)
	s.op(Load, Slot(s.at), Num(1)).to(s.char)
	s.ifEqual(Slot(s.char), every, Num(0), done)
	s.advance(s.at, 1)
	s.jump(word)
	s.mark(done)
	s.op(Store, Slot(end), Num(' '), Num(1))
}

// remount restricts the mount of the line. It is reached by its name, and must
// be the one that was meant.
func (s *treeSearch) remount() {
	r := &s.remounts
	fd, id, to, closed, differs := s.newVar("mounted"), s.newVar("mntid"), s.newVar("to"), s.label(), s.label()
	s.unescape(to)
	s.op(SysOpenat2, Slot(s.scratch), Ref(s.path), Ref(howNoLinks), Num(24)).to(fd).on(int(unix.EACCES), closed).orElse(s.lost)
	// No field is asked for, so that no file system has to be: the id is always told.
	s.op(SysStatx, Slot(fd), s.str(""), named("AT_EMPTY_PATH|AT_STATX_DONT_SYNC", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC), Num(0), Ref(s.statx)).orElse(differs)
	s.op(Load, RefAt(s.statx, statxMnt), Num(8)).to(id)
	s.unlessEqual(Slot(id), every, Slot(s.l.id), differs)
	s.op(Format, Ref(r.number), Slot(fd))
	s.op(Alu, Slot(s.flags), Num(0), Slot(r.keep), Num(0), Slot(r.set)).to(s.flags)
	s.op(Alu, Slot(s.flags), Num(0), Num(every), Num(0), Flags(cMsRemount, cMsBind)).to(s.flags)
	s.op(SysMount, null, Ref(r.number), null, Slot(s.flags), null)
	s.op(SysClose, Slot(fd)).then(s.next)
	s.mark(closed)
	s.cover(fd, to)
	s.mark(differs)
	s.op(SysClose, Slot(fd))
}

const (
	pathMax  = 4096
	pathSize = 2*pathMax + 64
)

// unescape makes the path of the line's mount, from the scratch on.
func (s *treeSearch) unescape(to Var) {
	end, byt := s.newVar("pointend"), s.newVar("byte")
	done, long := s.label(), s.label()
	s.sum(end, s.l.point, Slot(s.l.length))
	s.op(Store, Slot(end), Num(0), Num(1))
	s.sum(s.at, s.l.point, Num(uint64(len(scratchPath))))
	s.set(to, Ref(s.path))
	piece := s.here()
	s.op(Copy, Slot(to), Slot(s.at), Num('\\'), Num(pathMax)).to(s.n).orElse(long)
	s.add(s.at, s.n)
	s.add(to, s.n)
	s.op(Branch, Slot(to), Num(every), RefAt(s.path, pathMax), Num(CondGreater)).then(long).orElse(Following)
	s.op(Load, Slot(s.at), Num(4)).to(s.char)
	s.ifEqual(Slot(s.char), 0xff, Num(0), done)
	// \ooo: three octal digits, of which the first is in the lowest byte but one.
	s.op(Alu, Slot(s.char), Num(24), Num(7), Num(0), Num(0)).to(byt)
	s.op(Alu, Slot(s.char), Num(16), Num(7), Num(3), Slot(byt)).to(byt)
	s.op(Alu, Slot(s.char), Num(8), Num(7), Num(6), Slot(byt)).to(byt)
	s.op(Store, Slot(to), Slot(byt), Num(1))
	s.advance(to, 1)
	s.advance(s.at, 4)
	s.jump(piece)
	s.mark(long)
	s.op(Store, Slot(end), Num(' '), Num(1))
	s.jump(s.lost)
	s.mark(done)
	s.op(Store, Slot(to), Num(0), Num(1))
	s.op(Store, Slot(end), Num(' '), Num(1))
}

// cover puts an empty directory over the first one on the way that this user
// may not search.
func (s *treeSearch) cover(fd, to Var) {
	dir, fs, tree := s.newVar("closed"), s.newVar("coverfs"), s.newVar("cover")
	found, open := s.label(), s.label()
	s.set(dir, Int(-1))
	s.set(to, Ref(s.path))
	part := s.here()
	s.until(s.n, to, '/')
	s.add(to, s.n)
	s.op(Load, Slot(to), Num(1)).to(s.char)
	s.op(Store, Slot(to), Num(0), Num(1))
	s.op(SysOpenat2, Slot(s.scratch), Ref(s.path), Ref(howNoLinks), Num(24)).to(fd).on(int(unix.EACCES), found).orElse(open)
	s.op(SysClose, Slot(dir)).ignoring()
	s.set(dir, Slot(fd))
	s.ifEqual(Slot(s.char), every, Num(0), open) // somebody has opened it meanwhile
	s.op(Store, Slot(to), Num('/'), Num(1))
	s.advance(to, 1)
	s.jump(part)
	s.mark(found)
	s.op(SysFsopen, s.str("tmpfs"), Flags(cFsCloexec)).to(fs)
	s.op(SysFsconfig, Slot(fs), Flags(cfgString), s.str("mode"), s.str("0"), Num(0))
	s.op(SysFsconfig, Slot(fs), Flags(cfgCreate), null, null, Num(0))
	s.op(SysFsmount, Slot(fs), Flags(cFsmCloexec), Flags(cAttrRdonly, cAttrNosuid, cAttrNodev, cAttrNoexec)).to(tree)
	s.op(SysMoveMount, Slot(tree), s.str(""), Slot(dir), s.str(""), Flags(cMoveEmpty, cMoveTEmpty))
	s.op(SysClose, Slot(fs))
	s.op(SysClose, Slot(tree))
	s.mark(open)
	s.op(SysClose, Slot(dir)).ignoring()
	s.set(s.again, Num(1))
	s.jump(s.next)
}

// explain looks for what hides a mount that was not found: another mount that
// covers it, or one in the same mount as it (or as a mount that it is in) that
// covers a directory on the way to it.
func (s *treeSearch) explain() {
	o := s.newMountLine("2")
	self := s.newVar("self")
	up := mountLine{id: s.newVar("id3"), parent: s.newVar("parent3"), point: s.newVar("point3")}
	hidden, unknown, mayCover, parent, end := s.label(), s.label(), s.label(), s.label(), s.label()
	s.set(self, Slot(s.l.id))
	climb := s.here()
	s.set(up.id, Num(0))
	s.set(o.at, Ref(s.list))
	line := s.here()
	s.op(Load, Slot(o.at), Num(1)).to(s.char)
	s.ifEqual(Slot(s.char), every, Num(0), end)
	s.readLine(o, s.n)
	s.ifEqual(Slot(o.id), every, Slot(s.l.id), line)
	s.ifEqual(Slot(o.id), every, Slot(s.l.parent), parent)
	s.ifEqual(Slot(o.parent), every, Slot(self), mayCover)
	s.unlessEqual(Slot(o.parent), every, Slot(s.l.parent), line)
	s.mark(mayCover)
	s.op(Compare, Slot(o.point), Slot(s.l.point), Slot(o.length)).orElse(line)
	s.sum(s.at, s.l.point, Slot(o.length))
	s.op(Load, Slot(s.at), Num(1)).to(s.char)
	s.ifEqual(Slot(s.char), every, Num(' '), hidden)
	s.ifEqual(Slot(s.char), every, Num('/'), hidden)
	s.jump(line)

	s.mark(parent)
	s.op(Compare, Slot(o.point), Slot(s.remounts.staged), Num(stagedLength)).orElse(line)
	s.set(up.id, Slot(o.id))
	s.set(up.parent, Slot(o.parent))
	s.set(up.point, Slot(o.point))
	s.jump(line)

	s.mark(end)
	s.ifEqual(Slot(up.id), every, Num(0), unknown)
	s.set(s.l.id, Slot(up.id))
	s.set(s.l.parent, Slot(up.parent))
	s.set(s.l.point, Slot(up.point))
	s.set(self, Int(-1)) // what covers the parent may be the mount itself
	s.jump(climb)

	s.mark(hidden)
	s.unlessEqual(Slot(s.looks), every, Num(1), s.next) // the first look is not believed
	s.mark(unknown)
	s.set(s.again, Num(1))
	s.jump(s.next)
}
