package plan

import (
	"slices"

	"golang.org/x/sys/unix"
)

// decider makes the operations that decide. A failed one leaves.
type decider struct {
	*builder
	leave Label
	file  Var // the one descriptor that is open meanwhile; -1: none
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

// plainRun looks for `run CMD` and `run -- CMD`.
func (d *decider) plainRun(command Var) {
	p, first := d.tmp("pointer"), d.tmp("byte")
	all := Num(^uint64(0))
	dashes, named := d.label(), d.label()
	next := func() {
		d.advance(command, 8)
		d.op(Load, Slot(command), Num(8)).to(p)
	}
	d.op(Branch, Slot(VarArgc), all, Num(2), Num(CondGreater)).orElse(d.leave)
	d.set(command, Slot(VarArgv))
	next()
	d.same(Slot(p), d.str("run"), 4)
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

// plainCaller: ids that are the caller's own, standard streams that are open, and
// no terminal on stdin, which would need somebody who stays beside the command.
func (d *decider) plainCaller() {
	n := d.tmp("n")
	d.op(SysGetuid).to(d.uid)
	d.op(SysGeteuid).to(n)
	d.equal(Slot(n), ^uint64(0), Slot(d.uid))
	d.op(SysGetgid).to(d.gid)
	d.op(SysGetegid).to(n)
	d.equal(Slot(n), ^uint64(0), Slot(d.gid))
	d.mustFail(int(unix.ENOTTY), SysIoctl, Num(0), named("TCGETS", unix.TCGETS), Ref(buffer("termios", 64)))
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
