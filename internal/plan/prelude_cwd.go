package plan

import (
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// workingDirectory finds it, where policy.Expand would show it at its own path:
// one that holds neither the home nor anything that the policy itself has.
func (d *decider) workingDirectory() {
	d.cwd = buffer("cwd", unix.PathMax)
	d.cwdStat = buffer("cwd's statx", 256)
	all := Num(^uint64(0))
	n, at, c := d.tmp("n"), d.tmp("at"), d.tmp("byte")
	d.look(SysGetcwd, Ref(d.cwd), Num(unix.PathMax)).to(n)
	// "/" alone, and "(unreachable)…", have nothing to show. Bytes that a policy could
	// not name are the program's to judge.
	d.op(Branch, Slot(n), all, Num(2), Num(CondGreater)).orElse(d.leave)
	d.op(Load, Ref(d.cwd), Num(1)).to(c)
	d.equal(Slot(c), ^uint64(0), Num('/'))
	d.set(at, Ref(d.cwd))
	end := d.label()
	loop := d.here()
	d.op(Load, Slot(at), Num(1)).to(c)
	d.ifEqual(Slot(c), ^uint64(0), Num(0), end)
	d.op(Branch, Slot(c), all, Num(' '-1), Num(CondGreater)).orElse(d.leave)
	d.op(Branch, Slot(c), all, Num(0x7f), Num(CondLess)).orElse(d.leave)
	d.advance(at, 1)
	d.jump(loop)
	d.mark(end)
	for _, top := range d.topNames() {
		for _, after := range [...]string{"/", "\x00"} {
			d.op(Compare, Ref(d.cwd), d.bytes(top+after), Num(uint64(len(top)+1))).then(d.leave).orElse(Following)
		}
	}
	d.look(SysStatx, atFDCWD, d.str("."), Num(0), named("STATX_BASIC_STATS", statxBasic), Ref(d.cwdStat))

	home := d.tmp("home")
	d.readEnvironment(n, home)
	d.holdsNot(home)
}

// topNames are the directories in / that the policy has something in, or that are
// no place to work in.
func (b *builder) topNames() []string {
	names := []string{"/proc", "/sys", "/dev"}
	for i := range b.policy.Mounts {
		p := b.policy.Mounts[i].Path
		if p == WorkingDirectory || p == "/" {
			continue
		}
		if end := strings.IndexByte(p[1:], '/'); end >= 0 {
			p = p[:1+end]
		}
		names = append(names, p)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// bytes is text as it is, with no NUL after it but its own.
func (b *builder) bytes(s string) Arg {
	return Ref(&Data{Bytes: []byte(s), Text: strconv.Quote(s)})
}

// readEnvironment finds HOME, and leaves where a variable says something else than
// the kernel: PWD another name of the working directory (Go's os.Getwd believes it),
// that records are where it does not look for them, or that this process is there to explain a failure.
func (d *decider) readEnvironment(cwdLen, home Var) {
	from, p, at, c := d.tmp("from"), d.tmp("pointer"), d.tmp("at"), d.tmp("byte")
	isHome, isPWD, isRun, end := d.label(), d.label(), d.label(), d.label()
	d.set(home, Num(0))
	d.set(from, Slot(VarEnvp))
	loop := d.here()
	d.op(Load, Slot(from), Num(8)).to(p)
	d.ifEqual(Slot(p), ^uint64(0), Num(0), end)
	d.advance(from, 8)
	d.op(Compare, Slot(p), d.str(ExplainVariable+"="), Num(uint64(len(ExplainVariable)+1))).then(d.leave).orElse(Following)
	// Records that lie below none of topNames may lie in the working directory: to be hidden there.
	d.op(Compare, Slot(p), d.str(recordsVariable+"="), Num(uint64(len(recordsVariable)+1))).then(d.leave).orElse(Following)
	d.op(Compare, Slot(p), d.str(runtimeVariable+"="), Num(uint64(len(runtimeVariable)+1))).then(isRun).orElse(Following)
	d.op(Compare, Slot(p), d.str("HOME="), Num(5)).then(isHome).orElse(Following)
	d.op(Compare, Slot(p), d.str("PWD="), Num(4)).then(isPWD).orElse(loop)
	d.mark(isRun)
	d.advance(p, uint64(len(runtimeVariable)+1))
	d.op(Compare, Slot(p), d.bytes("/run/"), Num(5)).orElse(d.leave)
	d.clean(p)
	d.jump(loop)
	d.mark(isPWD)
	d.advance(p, 4)
	d.op(Compare, Slot(p), Ref(d.cwd), Slot(cwdLen)).then(loop).orElse(d.leave)
	d.mark(isHome)
	d.unlessEqual(Slot(home), ^uint64(0), Num(0), d.leave) // twice
	d.op(Alu, Slot(p), Num(0), Num(^uint64(0)), Num(0), Num(5)).to(home).then(loop)
	d.mark(end)
	d.ifEqual(Slot(home), ^uint64(0), Num(0), d.leave)
	d.op(Load, Slot(home), Num(1)).to(c)
	d.equal(Slot(c), ^uint64(0), Num('/'))
	d.set(at, Slot(home))
	d.clean(at)
	// By name the directory holds the home too, if a link leads out on the way.
	apart := d.label()
	d.op(Alu, Slot(cwdLen), Num(0), Num(^uint64(0)), Num(0), Int(-1)).to(c)
	d.op(Compare, Slot(home), Ref(d.cwd), Slot(c)).orElse(apart)
	d.op(Alu, Slot(home), Num(0), Num(^uint64(0)), Num(0), Slot(c)).to(at)
	d.op(Load, Slot(at), Num(1)).to(c)
	d.ifEqual(Slot(c), ^uint64(0), Num('/'), d.leave)
	d.ifEqual(Slot(c), ^uint64(0), Num(0), d.leave)
	d.mark(apart)
}

// clean leaves where a path has "..", with which the name and the directory may be two things, or
// another name than one that is compared. at comes to its end.
func (d *decider) clean(at Var) {
	c, end := d.tmp("byte"), d.label()
	next := d.here()
	d.op(Load, Slot(at), Num(1)).to(c)
	d.ifEqual(Slot(c), ^uint64(0), Num(0), end)
	for _, s := range [...]string{"//", "/."} {
		d.op(Compare, Slot(at), d.str(s), Num(2)).then(d.leave).orElse(Following)
	}
	d.advance(at, 1)
	d.jump(next)
	d.mark(end)
}

// holdsNot leaves where the working directory is the home or holds it: it goes up
// from the home to the root, and compares inodes, not names.
func (d *decider) holdsNot(home Var) {
	up, done := d.tmp("up"), d.label()
	stat := func(fd Var, st *Data) {
		d.look(SysStatx, Slot(fd), d.str(""), Flags(cEmptyPath), named("STATX_BASIC_STATS", statxBasic), Ref(st))
	}
	unlike := func(a, c *Data, same Label) {
		differ := d.label()
		d.op(Compare, RefAt(a, statxIno), RefAt(c, statxIno), Num(8)).orElse(differ)
		d.op(Compare, RefAt(a, statxDev), RefAt(c, statxDev), Num(8)).then(same).orElse(Following)
		d.mark(differ)
	}
	above := buffer("above", 256)
	d.look(SysOpenat, atFDCWD, Slot(home), Flags(cPath, cCloexec), Num(0)).to(d.file)
	loop := d.here()
	stat(d.file, d.statx)
	unlike(d.statx, d.cwdStat, d.leave)
	d.look(SysOpenat, Slot(d.file), d.str(".."), Flags(cPath, cCloexec), Num(0)).to(up)
	d.op(SysClose, Slot(d.file)).ignoring()
	d.set(d.file, Slot(up))
	stat(d.file, above)
	unlike(d.statx, above, done) // the root lies in itself
	d.jump(loop)
	d.mark(done)
	d.close()
}

// path is a path of the plan, which for a prelude may be the working directory.
func (b *builder) path(p string) Arg {
	if b.cwd != nil && p == WorkingDirectory {
		return Ref(b.cwd)
	}
	return b.str(p)
}

// below is the same as seen from the new root.
func (b *builder) below(p string) Arg {
	if b.cwd != nil && p == WorkingDirectory {
		return RefAt(b.cwd, 1)
	}
	return b.str(p[1:])
}

// makeWorkingDirectory makes a directory for each part of the working directory's path.
func (b *builder) makeWorkingDirectory() {
	at, n, c := b.tmp("at"), b.tmp("n"), b.tmp("byte")
	b.set(at, RefAt(b.cwd, 1))
	loop := b.here()
	b.op(Copy, Num(0), Slot(at), Num('/'), Num(unix.PathMax)).to(n)
	b.op(Alu, Slot(at), Num(0), Num(^uint64(0)), Num(0), Slot(n)).to(at)
	b.op(Load, Slot(at), Num(1)).to(c)
	b.op(Store, Slot(at), Num(0), Num(1))
	b.op(SysMkdirat, Slot(b.root), RefAt(b.cwd, 1), octal(0o755)).on(int(unix.EEXIST), Following)
	b.op(Store, Slot(at), Slot(c), Num(1))
	b.advance(at, 1)
	b.unlessEqual(Slot(c), ^uint64(0), Num(0), loop)
}
