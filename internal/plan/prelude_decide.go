package plan

import (
	"slices"

	"golang.org/x/sys/unix"
)

// decider makes the operations that decide. A failed one leaves.
type decider struct {
	*builder
	leave  Label
	file   Var   // the one descriptor that is open meanwhile; -1: none
	exe    Var   // and cloche itself, once it is open; -1
	extra  []Var // descriptors that are open beside it
	behind Var   // 1 as long as the program is in this process; 0 in the sealed memory file
}

// programBehind finds out where the image runs: advice about memory that is not
// mapped is an error.
func (d *decider) programBehind(entry uint64) {
	alone, on := d.label(), d.label()
	page := entry &^ 0xffff // a page of any size that the program begins in
	d.set(d.behind, Num(1))
	d.op(SysMadvise, named(hexText(page), page), Num(1), named("MADV_NORMAL", unix.MADV_NORMAL)).on(int(unix.ENOMEM), alone).orElse(d.leave).then(on)
	d.mark(alone)
	d.set(d.behind, Num(0))
	d.set(VarOnFatal, Target(d.asked))
	d.op(SysFcntl, Num(PreludeExeFD), named("F_SETFD", unix.F_SETFD), named("FD_CLOEXEC", unix.FD_CLOEXEC))
	d.mark(on)
}

// executeSealed executes this image itself; the program's own file stays open for what
// comes to be explained.
func (d *decider) executeSealed() {
	d.sealed(RegionArg(ImageAddress), RegionArg(ImageLength))
}

// sealed puts an image into a memory file that nobody can write to any more, and executes
// that, with the program's own file open.
func (d *decider) sealed(image, length Arg) {
	n := d.tmp("written")
	old, made := d.label(), d.label()
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	create := func(flags uint64, text string) opRef {
		return d.look(SysMemfdCreate, d.str("cloche"), named(text, flags)).to(d.file)
	}
	d.mustFail(int(unix.EBADF), SysFcntl, Num(PreludeExeFD), named("F_GETFD", unix.F_GETFD))
	d.look(SysOpenat, atFDCWD, d.str("/proc/self/exe"), Flags(cRdonly, cCloexec), Num(0)).to(d.file)
	d.look(SysDup3, Slot(d.file), Num(PreludeExeFD), Num(0)).to(d.exe)
	d.close()
	// Linux 6.3 wants to be told that it will be executed; older kernels do not know the flag.
	create(flags|unix.MFD_EXEC, "MFD_CLOEXEC|MFD_ALLOW_SEALING|MFD_EXEC").on(int(unix.EINVAL), old).then(made)
	d.mark(old)
	create(flags, "MFD_CLOEXEC|MFD_ALLOW_SEALING")
	d.mark(made)
	d.look(SysWrite, Slot(d.file), image, length).to(n)
	d.equal(Slot(n), ^uint64(0), length)
	d.look(SysFcntl, Slot(d.file), named("F_ADD_SEALS", unix.F_ADD_SEALS), named("F_SEAL_SEAL|F_SEAL_SHRINK|F_SEAL_GROW|F_SEAL_WRITE",
		unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE))
	d.look(SysExecveat, Slot(d.file), d.str(""), Slot(d.whole), Slot(d.wholeEnv), Flags(cEmptyPath)).then(d.leave)
}

// look is a call that must succeed.
func (d *decider) look(call Call, args ...Arg) opRef { return d.op(call, args...).orElse(d.leave) }

// mustFail is a call that must fail with errno.
func (d *decider) mustFail(errno int, call Call, args ...Arg) {
	failed := d.label()
	d.op(call, args...).on(errno, failed).orElse(d.leave).then(d.leave)
	d.mark(failed)
}

// equal leaves unless a&mask == c.
func (d *decider) equal(a Arg, mask uint64, c Arg) { d.unlessEqual(a, mask, c, d.leave) }

func (d *decider) same(a, c Arg, n int) { d.op(Compare, a, c, Num(uint64(n))).orElse(d.leave) }

func (d *decider) close() {
	d.op(SysClose, Slot(d.file)).ignoring()
	d.set(d.file, Int(-1))
}

// byName leaves what is called by another name than cloche's, of which run asks for something
// else. Where there is a second program it enters that one for bubblewrap's command line: by the
// name bwrap, or as `cloche bwrap`.
func (d *decider) byName(beside uint64) {
	p, n, name := d.tmp("pointer"), d.tmp("n"), d.tmp("at")
	all := Num(^uint64(0))
	bwrap, enter, on := d.leave, d.leave, d.label()
	argv := d.prelude().Argv
	if beside != 0 {
		enter = d.label()
	}
	if beside != 0 || argv != nil {
		bwrap = d.label()
	}
	d.op(Branch, Slot(VarArgc), all, Num(0), Num(CondGreater)).orElse(d.leave)
	d.op(Load, Slot(VarArgv), Num(8)).to(p)
	d.op(Copy, Num(0), Slot(p), Num(0), Num(unix.PathMax)).to(n).orElse(d.leave)
	d.op(Branch, Slot(n), all, Num(4), Num(CondGreater)).orElse(d.leave)
	d.op(Alu, Slot(p), Num(0), all, Num(0), Slot(n)).to(name)
	d.advance(name, ^uint64(4)) // the last five bytes
	d.op(Compare, Slot(name), d.str("bwrap"), Num(5)).then(bwrap).orElse(Following)
	d.advance(name, 2)
	d.op(Compare, Slot(name), d.str("oci"), Num(3)).then(d.leave).orElse(Following)
	d.op(Branch, Slot(VarArgc), all, Num(2), Num(CondGreater)).orElse(d.leave)
	d.set(name, Slot(VarArgv))
	d.advance(name, 8)
	d.op(Load, Slot(name), Num(8)).to(p)
	d.op(Compare, Slot(p), d.str("bwrap"), Num(6)).then(enter).orElse(on)
	if bwrap != d.leave {
		read := d.label()
		d.mark(bwrap)
		d.ifEqual(Slot(n), ^uint64(0), Num(5), read)
		d.advance(name, ^uint64(0))
		d.same(Slot(name), d.str("/"), 1)
		d.mark(read)
		if argv != nil {
			d.readArgv(d.prelude())
		}
		if beside == 0 {
			d.jump(d.leave)
		}
	}
	if beside != 0 {
		d.mark(enter)
		d.ifEqual(Slot(d.behind), ^uint64(0), Num(0), d.asked)
		d.op(Enter, named(hexText(beside), beside))
	}
	d.mark(on)
}

// readArgv executes the image that reads the command line itself, where that can be expected to understand
// all of it, and goes on else.
func (d *decider) readArgv(pre *Prelude) {
	other := d.label()
	by := &decider{builder: d.builder, leave: other, file: d.file, exe: d.exe, behind: d.behind}
	d.ifEqual(Slot(d.behind), every, Num(0), d.asked)
	by.plainWords(pre.Argv)
	by.sealed(named(hexText(pre.ArgvAt), pre.ArgvAt), Num(pre.ArgvLen))
	d.mark(other)
	d.op(SysClose, Slot(d.file)).ignoring()
	d.op(SysClose, Slot(d.exe)).ignoring()
}

// plainRun looks for `run CMD` and `run -- CMD`; exec is where `exec …` goes on.
func (d *decider) plainRun(command Var, exec Label) {
	p, first := d.tmp("pointer"), d.tmp("byte")
	all := Num(^uint64(0))
	dashes, named := d.label(), d.label()
	next := func() {
		d.advance(command, 8)
		d.op(Load, Slot(command), Num(8)).to(p)
	}
	d.set(command, Slot(VarArgv))
	next()
	run := d.label()
	d.op(Compare, Slot(p), d.str("run"), Num(4)).then(run).orElse(Following)
	d.op(Compare, Slot(p), d.str("exec"), Num(5)).then(exec).orElse(d.leave)
	d.mark(run)
	next()
	d.op(Compare, Slot(p), d.str("--"), Num(3)).then(dashes).orElse(Following)
	d.op(Load, Slot(p), Num(1)).to(first)
	d.ifEqual(Slot(first), ^uint64(0), Num('-'), d.leave) // a flag
	d.ifEqual(Slot(first), ^uint64(0), Num(0), d.leave)
	d.jump(named)
	d.mark(dashes)
	d.op(Branch, Slot(VarArgc), all, Num(3), Num(CondGreater)).orElse(d.leave)
	next()
	d.op(Load, Slot(p), Num(1)).to(first)
	d.ifEqual(Slot(first), ^uint64(0), Num(0), d.leave)
	d.mark(named)
}

// plainCaller: ids that are the caller's own, standard streams that are open, no
// terminal on stdin, which would need somebody who stays beside the command, and no
// blocked signal, some of which the Go runtime unblocks.
func (d *decider) plainCaller() {
	d.ownIDs()
	d.mustFail(int(unix.ENOTTY), SysIoctl, Num(0), named("TCGETS", unix.TCGETS), Ref(buffer("termios", 64)))
	d.freeDescriptors()
}

// ownIDs leaves where ids are not the caller's own, or a signal is blocked.
func (d *decider) ownIDs() {
	n := d.tmp("n")
	mask := buffer("mask", 8)
	d.look(SysRtSigprocmask, named("SIG_BLOCK", unix.SIG_BLOCK), null, Ref(mask), Num(8))
	d.op(Load, Ref(mask), Num(8)).to(n)
	d.equal(Slot(n), ^uint64(0), Num(0))
	d.op(SysGetuid).to(d.uid)
	d.op(SysGeteuid).to(n)
	d.equal(Slot(n), ^uint64(0), Slot(d.uid))
	d.op(SysGetgid).to(d.gid)
	d.op(SysGetegid).to(n)
	d.equal(Slot(n), ^uint64(0), Slot(d.gid))
}

// freeDescriptors leaves where a standard stream is closed, or one of the prelude's own
// descriptors is open.
func (d *decider) freeDescriptors() {
	open := func(fd uint64) (Call, []Arg) {
		return SysFcntl, []Arg{Num(fd), named("F_GETFD", unix.F_GETFD)}
	}
	for fd := range uint64(3) {
		call, args := open(fd)
		d.look(call, args...)
	}
	for _, fd := range [...]uint64{PreludeReadFD, PreludeStatusFD} {
		call, args := open(fd)
		d.mustFail(int(unix.EBADF), call, args...)
	}
}

// sameHost looks at what decided the plan and would not make an operation fail if
// it were otherwise: the version of Landlock, names that were not there, links.
func (d *decider) sameHost() {
	n := d.tmp("n")
	d.look(SysLandlockCreateRuleset, null, Num(0), named("LANDLOCK_CREATE_RULESET_VERSION", unix.LANDLOCK_CREATE_RULESET_VERSION)).to(n)
	d.equal(Slot(n), ^uint64(0), Num(uint64(d.in.Facts.LandlockABI)))
	paths := make([]string, 0, len(d.facts))
	for p := range d.facts {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	for _, p := range paths {
		switch f := d.facts[p]; {
		case !f.Exists:
			d.mustFail(int(unix.ENOENT), SysStatx, atFDCWD, d.str(p), named("AT_SYMLINK_NOFOLLOW", unix.AT_SYMLINK_NOFOLLOW), named("STATX_BASIC_STATS", statxBasic), Ref(d.statx))
		case f.Link != "":
			link := buffer("link", unix.PathMax)
			d.look(SysReadlinkat, atFDCWD, d.str(p), Ref(link), Num(unix.PathMax)).to(n)
			d.equal(Slot(n), ^uint64(0), Num(uint64(len(f.Link))))
			d.same(Ref(link), d.str(f.Link), len(f.Link))
		}
	}
}
