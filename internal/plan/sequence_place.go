package plan

import (
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Where an act does what it does: names below the new root.

// cleanDest is a destination without what means nothing in it; ".." stays, as the
// directory before it may be a link.
func cleanDest(p string) string {
	if !hasDotDot(p) {
		return path.Clean("/" + p)
	}
	return "/" + strings.TrimLeft(p, "/")
}

func hasDotDot(p string) bool {
	for name := range strings.SplitSeq(p, "/") {
		if name == ".." {
			return true
		}
	}
	return false
}

// known reports whether every directory on the way to p is of the sequence's own making,
// or will be, so that p can be walked from the root.
func (s *sequence) known(p string) bool {
	if s.opaque || hasDotDot(p) {
		return false
	}
	for i := 1; i <= len(p); i++ {
		if i < len(p) && p[i] != '/' {
			continue
		}
		if k, there := s.names[p[:i]]; there && k != nameDir {
			return i == len(p) && k == nameUnknown
		}
	}
	return true
}

// is notes what is at p from now on; before it was what covered says.
func (s *sequence) is(p string, k, covered nameKind) {
	if hasDotDot(p) {
		s.opaque = true
		return
	}
	if covered != nameUnknown {
		for name := range s.names {
			if within(name, p) {
				delete(s.names, name)
			}
		}
	}
	s.names[p] = k
}

// mountAct mounts the detached tree v at the act's destination.
func (b *builder) mountAct(a *Act, dir bool, v Var, kind nameKind) {
	p := cleanDest(a.Dest)
	step := b.p.Steps[b.step]
	before := b.seq.names[p]
	if p == "/" {
		b.op(SysMoveMount, Slot(v), b.str(""), Slot(b.root), b.str(""), Flags(cMoveEmpty, cMoveTEmpty))
		b.set(b.root, Slot(v)) // the old one is covered, and goes with pid 1's other descriptors
		b.seq.is(p, kind, before)
		return
	}
	at := b.tmp("target")
	b.begin(b.actStep(a, KindPlace, "place for "+a.Dest))
	own := b.makePlace(a, dir, 0, &at)
	b.begin(step)
	if own {
		b.op(SysMoveMount, Slot(v), b.str(""), Slot(b.root), b.str(p[1:]), Flags(cMoveEmpty))
	} else {
		b.op(SysMoveMount, Slot(v), b.str(""), Slot(at), b.str(""), Flags(cMoveEmpty, cMoveTEmpty))
		b.op(SysClose, Slot(at))
	}
	b.seq.is(p, kind, before)
	b.op(SysClose, Slot(v))
}

// makePlace makes a directory or an empty file, and the directories on the way to it, where
// they are missing. Where the way is not the sequence's own, what is there is opened as
// *at, when that is wanted.
func (b *builder) makePlace(a *Act, dir bool, mode uint64, at *Var) (own bool) {
	if mode == 0 {
		mode = 0o444
		if dir {
			mode = 0o755
		}
	}
	p := cleanDest(a.Dest)
	if p == "/" {
		return true
	}
	if b.seq.known(p) {
		b.ownParents(p, a.Tight)
		if b.seq.names[p] == nameUnknown {
			if dir {
				b.op(SysMkdirat, Slot(b.root), b.str(p[1:]), octal(mode)).on(int(unix.EEXIST), Next)
				b.seq.names[p] = nameDir
			} else {
				b.op(SysMknodat, Slot(b.root), b.str(p[1:]), fileMode(mode), Num(0)).on(int(unix.EEXIST), Next)
				b.seq.names[p] = nameOther
			}
			return true
		}
		return dir // an own directory holds what it should; a file there is none
	}
	fd := b.tmp("target")
	slow, done := b.label(), b.label()
	how := howInRoot
	if dir {
		how = howInRootDir
	}
	b.op(SysOpenat2, Slot(b.root), b.str(p[1:]), Ref(how), Num(24)).to(fd).then(done).orElse(slow)
	b.mark(slow)
	last := b.walk(b.str(p[1:]), a.parents())
	if dir {
		b.op(SysMkdirat, Slot(last.dir), Slot(last.name), octal(mode)).on(int(unix.EEXIST), Next)
	} else {
		b.op(SysMknodat, Slot(last.dir), Slot(last.name), fileMode(mode), Num(0)).on(int(unix.EEXIST), Next)
	}
	b.op(SysClose, Slot(last.dir))
	b.op(SysOpenat2, Slot(b.root), b.str(p[1:]), Ref(how), Num(24)).to(fd).retryOn(int(unix.EAGAIN))
	b.mark(done)
	if at == nil {
		b.op(SysClose, Slot(fd))
	} else {
		*at = fd
	}
	return false
}

func fileMode(mode uint64) Arg {
	return named("S_IFREG|0"+strconv.FormatUint(mode, 8), unix.S_IFREG|mode)
}

// howInRootDir is howInRoot of a directory.
var howInRootDir = words("{flags=O_PATH|O_DIRECTORY|O_CLOEXEC, resolve=RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS}",
	unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)

// ownParents makes the directories on the way to p, all of the sequence's own.
func (b *builder) ownParents(p string, tight uint32) {
	for i := 1; i < len(p); i++ {
		if dir := p[:i]; p[i] == '/' && b.seq.names[dir] == nameUnknown {
			b.op(SysMkdirat, Slot(b.root), b.str(dir[1:]), octal(uint64(0o755&^tight))).on(int(unix.EEXIST), Next)
			b.seq.names[dir] = nameDir
		}
	}
}

// parents is the mode of directories on the way to an act.
func (a *Act) parents() Arg { return octal(uint64(0o755 &^ a.Tight)) }

// end is where a walk has come to.
type end struct {
	dir  Var // the directory that the last name lies in, open
	name Var // address of that name
}

// walk goes from the root to the directory that p, a name below it, lies in, and makes every directory that
// is missing in the one before it, which is open; parents is their mode. Names are looked up from the root each
// time: a link on the way means what it will mean inside.
func (b *builder) walk(p, parents Arg) end {
	if b.seq.way == nil {
		b.seq.way = buffer("way", unix.PathMax+256)
	}
	way := b.seq.way
	at, from, n, c := b.tmp("at"), b.tmp("from"), b.tmp("n"), b.tmp("byte")
	dir, next, name := b.tmp("directory"), b.tmp("next"), b.tmp("name")
	have, last, missing := b.label(), b.label(), b.label()
	b.set(from, p)
	b.set(at, Ref(way))
	b.op(SysOpenat2, Slot(b.root), b.str("."), Ref(howInRoot), Num(24)).to(dir)
	loop := b.here()
	b.set(name, Slot(at))
	b.op(Copy, Slot(at), Slot(from), Num('/'), Num(unix.PathMax)).to(n)
	b.op(Alu, Slot(at), Num(0), Num(^uint64(0)), Num(0), Slot(n)).to(at)
	b.op(Alu, Slot(from), Num(0), Num(^uint64(0)), Num(0), Slot(n)).to(from)
	b.op(Store, Slot(at), Num(0), Num(1))
	b.op(Load, Slot(from), Num(1)).to(c)
	b.ifEqual(Slot(c), 0xff, Num(0), last)
	b.op(SysOpenat2, Slot(b.root), Ref(way), Ref(howInRootDir), Num(24)).to(next).then(have).orElse(missing)
	b.mark(missing)
	b.op(SysMkdirat, Slot(dir), Slot(name), parents).on(int(unix.EEXIST), Next)
	b.op(SysOpenat2, Slot(b.root), Ref(way), Ref(howInRootDir), Num(24)).to(next).retryOn(int(unix.EAGAIN))
	b.mark(have)
	b.op(SysClose, Slot(dir))
	b.set(dir, Slot(next))
	b.op(Store, Slot(at), Num('/'), Num(1))
	b.advance(at, 1)
	b.advance(from, 1)
	b.jump(loop)
	b.mark(last)
	return end{dir, name}
}
