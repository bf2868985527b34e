package plan

import "golang.org/x/sys/unix"

// openTerminal opens a pseudo-terminal in the sandbox's own devpts and hands
// its master to the supervisor by SCM_RIGHTS, unix(7). The other end is opened
// through the master (TIOCGPTPEER, Linux 4.13), so no path is involved that
// something inside could have replaced.
func (b *builder) openTerminal() {
	if !b.in.HasTerminal() {
		return
	}
	b.begin(Step{Process: Init, Name: "terminal", Kind: KindTerminal, Origin: b.policy.Origins["terminal"]})
	b.master, b.slave = b.newVar("master"), b.newVar("terminal")
	b.op(SysOpenat, atFDCWD, b.str("/dev/pts/ptmx"), Flags(cRdwr, cNoctty, cCloexec)).to(b.master)
	b.op(SysIoctl, Slot(b.master), named("TIOCSPTLCK", unix.TIOCSPTLCK), Ref(words("[0]", 0)))
	b.op(SysIoctl, Slot(b.master), named("TIOCGPTPEER", 0x5441), Flags(cRdwr, cNoctty)).to(b.slave)

	b.sendDescriptor(b.master, SentTerminal, "master")
	b.op(SysClose, Slot(b.master))
	// The supervisor answers when the size and the modes are set: the command
	// never sees a terminal of 0 by 0.
	b.op(SysRead, Num(uint64(b.in.ControlFD)), Ref(buffer("go", 8)), Num(1)).retryOn(int(unix.EINTR))
	b.op(SysIoctl, Slot(b.slave), named("TIOCSCTTY", unix.TIOCSCTTY), Num(0))
}

// useTerminal makes the terminal the command's stdin, stdout and stderr, and
// the command's process group its foreground group. SIGTTOU is still blocked.
func (b *builder) useTerminal() {
	if !b.in.HasTerminal() {
		return
	}
	b.begin(Step{Process: Command, Name: "use the terminal", Kind: KindTerminal})
	for fd, own := range b.in.Terminal {
		if own {
			b.op(SysDup3, Slot(b.slave), Num(uint64(fd)), Num(0))
		}
	}
	if b.policy.Init {
		self := b.tmp("self")
		group := buffer("group", 8)
		b.op(SysGetpid).to(self)
		b.op(Store, Ref(group), Slot(self), Num(4))
		b.op(SysIoctl, Slot(b.slave), named("TIOCSPGRP", unix.TIOCSPGRP), Ref(group))
	}
}

// negate puts -v in to. The interpreter has no subtraction and wants none for
// this alone; the pid of a command in its own pid namespace is 3.
func (b *builder) negate(v, to Var) {
	left := b.tmp("left")
	done := b.label()
	b.set(left, Slot(v))
	b.set(to, Num(0))
	loop := b.here()
	b.ifEqual(Slot(left), ^uint64(0), Num(0), done)
	b.op(Alu, Slot(to), Num(0), Num(^uint64(0)), Num(0), Int(-1)).to(to)
	b.op(Alu, Slot(left), Num(0), Num(^uint64(0)), Num(0), Int(-1)).to(left).then(loop)
	b.mark(done)
}
