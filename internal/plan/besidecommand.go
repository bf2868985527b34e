package plan

import "golang.org/x/sys/unix"

// handOn is the command's last about descriptors: what the caller left open goes on to it.
func (b *builder) handOn() {
	m := b.in.Manner
	b.op(SysFcntl, Num(uint64(b.in.StatusFD)), named("F_SETFD", unix.F_SETFD), named("FD_CLOEXEC", unix.FD_CLOEXEC))
	if b.policy.Init {
		for _, fd := range m.Held {
			b.op(SysClose, Num(uint64(fd))).ignoring()
		}
	}
	for _, fd := range b.in.EntryFDs {
		b.op(SysClose, Num(uint64(fd)))
	}
	if b.in.CgroupFD >= 0 {
		b.op(SysClose, Num(uint64(b.in.CgroupFD)))
	}
	b.when(m.DieWithParent, b.said.dies, func() {
		b.op(SysPrctl, named("PR_SET_PDEATHSIG", unix.PR_SET_PDEATHSIG), named("SIGKILL", uint64(unix.SIGKILL)))
	})
	b.labelCommand()
}

// labelCommand asks for the command's SELinux context.
func (b *builder) labelCommand() {
	label := b.in.Manner.ExecLabel
	if label == "" {
		return
	}
	b.begin(Step{Process: Command, Name: "label " + label, Kind: KindLabel})
	fd := b.tmp("file")
	b.op(SysOpenat2, Slot(b.beside.proc), b.str("thread-self/attr/exec"), Ref(howInProc), Num(24)).to(fd)
	b.op(SysWrite, Slot(fd), b.str(label), Num(uint64(len(label))))
	b.op(SysClose, Slot(fd))
	b.begin(Step{Process: Command, Name: "close descriptors"})
}

// loadPrograms loads filters that were given as they are. It is done by prctl(2), which
// such filters are made to let through.
func (b *builder) loadPrograms() {
	for _, prog := range b.in.Programs {
		b.begin(Step{Process: Command, Name: "seccomp program", Kind: KindSeccomp})
		b.prctlFilter(prog)
	}
}

// enter is the command's chdir. Where a Manner has more directories to try, PWD names the
// one that it is.
func (b *builder) enter(cwd string) {
	if b.argv() != nil {
		b.enterSaid()
		return
	}
	var rest []string
	if b.in.Manner != nil {
		rest = b.in.Manner.CwdElse
	}
	done := b.label()
	for i, dir := range append([]string{cwd}, rest...) {
		call := b.op(SysChdir, b.path(dir))
		if i == len(rest) {
			if i > 0 {
				b.setPWD(dir)
			}
			break
		}
		next := b.label()
		if i == 0 {
			call.then(done).orElse(next)
		} else {
			call.orElse(next)
			b.setPWD(dir)
			b.jump(done)
		}
		b.mark(next)
	}
	b.mark(done)
}

// setPWD changes the PWD of the command's environment, which has one.
func (b *builder) setPWD(dir string) {
	at, p := b.tmp("env"), b.tmp("pointer")
	found, end := b.label(), b.label()
	b.set(at, Slot(VarEnvp))
	loop := b.here()
	b.op(Load, Slot(at), Num(8)).to(p)
	b.ifEqual(Slot(p), ^uint64(0), Num(0), end)
	b.op(Compare, Slot(p), b.str("PWD="), Num(4)).then(found).orElse(Following)
	b.advance(at, 8)
	b.jump(loop)
	b.mark(found)
	b.op(Store, Slot(at), b.str("PWD="+dir), Num(8))
	b.mark(end)
}

// renameCommand gives the command another argv[0] than the name that it is found by.
func (b *builder) renameCommand() {
	if m := b.in.Manner; m != nil && m.Argv0 != nil {
		b.op(Store, Slot(VarArgv), b.str(*m.Argv0), Num(8))
	}
}

// asScript executes what is neither a program nor begins with #! by the shell, as
// execvp(3) does; name is the address of its path.
func (b *builder) asScript(name Arg) {
	argv := &Data{Section: SetupRW, Size: 8 * (maxPointers + 2), Align: 8, Text: "argv"}
	at, from, p := b.tmp("at"), b.tmp("from"), b.tmp("pointer")
	end := b.label()
	b.op(Store, Ref(argv), b.str("/bin/sh"), Num(8))
	b.op(Store, RefAt(argv, 8), name, Num(8))
	b.set(at, RefAt(argv, 16))
	b.set(from, Slot(VarArgv))
	b.advance(from, 8)
	loop := b.here()
	b.op(Load, Slot(from), Num(8)).to(p)
	b.op(Branch, Slot(at), Num(^uint64(0)), RefAt(argv, 8*(maxPointers+1)), Num(CondLess)).orElse(end)
	b.op(Store, Slot(at), Slot(p), Num(8))
	b.advance(at, 8)
	b.advance(from, 8)
	b.unlessEqual(Slot(p), ^uint64(0), Num(0), loop)
	b.mark(end)
	b.op(SysExecve, b.str("/bin/sh"), Ref(argv), Slot(VarEnvp))
}
