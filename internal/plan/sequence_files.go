package plan

import (
	"path"
	"strconv"

	"golang.org/x/sys/unix"
)

// Files and links that acts make.

// wayTo opens the directory that p lies in and gives the address of its last name.
func (b *builder) wayTo(a *Act, p string) (dir, name Arg, done func()) {
	if b.seq.known(path.Dir(p)) && !hasDotDot(p) {
		b.ownParents(p, a.Tight)
		return Slot(b.root), b.str(p[1:]), func() {}
	}
	last := b.walk(b.str(p[1:]), a.parents())
	return Slot(last.dir), Slot(last.name), func() { b.op(SysClose, Slot(last.dir)) }
}

// actSymlink makes a link; one that is there already and says the same is as good.
func (b *builder) actSymlink(a *Act) {
	b.begin(b.actStep(a, KindSymlink, "link "+a.Dest))
	p := cleanDest(a.Dest)
	dir, name, done := b.wayTo(a, p)
	there, made := b.label(), b.label()
	b.op(SysSymlinkat, b.str(a.Source), dir, name).on(int(unix.EEXIST), there).then(made)
	b.mark(there)
	text, n := buffer("link", unix.PathMax), b.tmp("n")
	b.op(SysReadlinkat, dir, name, Ref(text), Num(unix.PathMax)).to(n)
	b.op(Branch, Slot(n), Num(^uint64(0)), Num(uint64(len(a.Source))), Num(CondEqual)) // fatal otherwise
	b.op(Compare, Ref(text), b.str(a.Source), Num(uint64(len(a.Source))))
	b.mark(made)
	done()
	b.seq.is(p, nameOther, nameUnknown)
}

// actFile writes a file where nothing is mounted on it.
func (b *builder) actFile(a *Act) {
	p := cleanDest(a.Dest)
	b.begin(b.actStep(a, KindPlace, "parents of "+a.Dest))
	_, _, done := b.wayTo(a, p)
	done()
	b.begin(b.actStep(a, KindFile, "file "+a.Dest))
	fd := b.tmp("file")
	how := words("{flags=O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC, mode=0"+strconv.FormatUint(uint64(a.Mode), 8)+", resolve=RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS}",
		unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_CLOEXEC, uint64(a.Mode), unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)
	b.op(SysOpenat2, Slot(b.root), b.str(p[1:]), Ref(how), Num(24)).to(fd).retryOn(int(unix.EAGAIN))
	b.copyFrom(a, fd)
	b.seq.is(p, nameOther, nameUnknown)
}

// actData shows a file of the scratch, which has no other name afterwards.
func (b *builder) actData(a *Act, tree Var) {
	b.begin(b.actStep(a, KindFile, "data for "+a.Dest))
	fd, name := b.tmp("file"), b.scratchName()
	b.op(SysOpenat, Slot(b.scratch), b.str(name), Flags(cWronly, cCreat, cExcl, cCloexec), octal(uint64(a.Mode))).to(fd)
	b.copyFrom(a, fd)
	b.op(SysOpenTree, Slot(b.scratch), b.str(name), Flags(cTreeClone, cTreeCloex)).to(tree)
	b.limitTree(tree, false, a.ReadOnly, []Const{cAttrNosuid, cAttrNodev})
	b.mountAct(a, false, tree, nameOther)
	b.op(SysUnlinkat, Slot(b.scratch), b.str(name), Num(0))
}

// copyFrom writes what the act's descriptor gives to fd, and closes both.
func (b *builder) copyFrom(a *Act, fd Var) {
	const room = 16 << 10
	if b.seq.content == nil {
		b.seq.content = buffer("content", room)
	}
	b.begin(b.actStep(a, KindContent, "content of "+a.Dest))
	n, w := b.tmp("n"), b.tmp("written")
	end := b.label()
	loop := b.here()
	b.op(SysRead, Num(uint64(a.FD)), Ref(b.seq.content), Num(room)).to(n).retryOn(int(unix.EINTR))
	b.ifEqual(Slot(n), ^uint64(0), Num(0), end)
	b.op(SysWrite, Slot(fd), Ref(b.seq.content), Slot(n)).to(w).retryOn(int(unix.EINTR))
	b.op(Branch, Slot(n), Num(^uint64(0)), Slot(w), Num(CondEqual)).then(loop) // fatal otherwise: no room for all of it
	b.mark(end)
	b.op(SysClose, Slot(fd))
	b.op(SysClose, Num(uint64(a.FD)))
}
