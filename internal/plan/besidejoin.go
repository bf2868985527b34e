package plan

import "golang.org/x/sys/unix"

// Namespaces that are there already and are joined, setns(2). The launcher has one thread,
// which a user namespace demands.

// joinBefore is the launcher's part before pid 1 is made.
func (b *builder) joinBefore() {
	m := b.in.Manner
	if m == nil {
		return
	}
	b.makeGo()
	if m.UserNamespace >= 0 {
		b.begin(Step{Process: Launcher, Name: "join the user namespace", Kind: KindJoinBeside, Path: "user"})
		b.op(SysSetns, Num(uint64(m.UserNamespace)), named("CLONE_NEWUSER", unix.CLONE_NEWUSER))
	}
}

// cloneElsewhere makes pid 1 in the pid namespace that is joined, or in one below it. A process that has chosen another
// pid namespace for its children makes no thread any more, so what explains a failure could not begin: helpers do it, which share
// the launcher's memory and descriptors and are gone at once. The first joins; in a namespace below it only a process that is in it
// may make pid 1, pid_namespaces(7), which is the second, born there. What it is called there means nothing outside; the pidfd that comes with
// it tells the launcher's name for it, proc_pid_fdinfo(5). All are the launcher's own children (CLONE_PARENT).
func (b *builder) cloneElsewhere(pid Var, flags []Const, inside Label) {
	first, second, pidfd, status := b.tmp("helper"), b.tmp("second helper"), buffer("pidfd", 8), buffer("status", 8)
	failed, made := b.label(), b.label()
	b.set(VarFailedErrno, Num(0))
	b.set(second, Num(0))
	b.set(VarOnFatal, Target(failed))
	b.op(SysClone, Flags(cCloneVM, cCloneVfork, cCloneFiles, cSigchld), null, null, null, null).to(first)
	b.unlessEqual(Slot(first), every, Num(0), made)

	step := b.p.Steps[b.step]
	b.begin(Step{Process: Launcher, Name: "join the pid namespace", Kind: KindJoinBeside, Path: "pid"})
	b.op(SysSetns, Num(uint64(b.in.Manner.PIDNamespace)), named("CLONE_NEWPID", unix.CLONE_NEWPID))
	b.begin(step)
	if b.policy.Unshare.PID {
		b.op(SysClone, Flags(cCloneVM, cCloneVfork, cCloneFiles, cCloneParent, cSigchld), null, null, null, null).to(second)
		b.unlessEqual(Slot(second), every, Num(0), failed)
	}
	f, group := append(flags, cCloneParent, cClonePidfd), uint64(0)
	if b.in.CgroupFD >= 0 {
		f, group = append(f, cCloneIntoCgroup), uint64(b.in.CgroupFD)
	}
	args := words("{flags="+Flags(f...).String()+", pidfd=…}", Flags(f...).value, 0, 0, 0, 0, 0, 0, 0, 0, 0, group)
	args.Relocs = []Reloc{{Off: 8, To: pidfd}}
	b.op(SysClone3, Ref(args), Num(88)).to(pid)
	b.ifEqual(Slot(pid), every, Num(0), inside)
	b.mark(failed) // or done
	b.op(SysExitGroup, Num(0))

	b.mark(made)
	b.set(VarOnFatal, Target(b.asked))
	for _, helper := range []Var{first, second} {
		next := b.label()
		b.ifEqual(Slot(helper), every, Num(0), next)
		b.op(SysWait4, Slot(helper), Ref(status), Num(0), null).retryOn(int(unix.EINTR))
		b.mark(next)
	}
	b.unlessEqual(Slot(VarFailedErrno), every, Num(0), b.asked)
	b.pidOf(pidfd, pid)
}

// pidOf reads a pidfd's pid, and closes it.
func (b *builder) pidOf(pidfd *Data, pid Var) {
	const name, field, room = "/proc/self/fdinfo/", "Pid:\t", 1024
	path := &Data{Section: SetupRW, Bytes: append([]byte(name), make([]byte, 24)...), Align: 8, Text: `"` + name + `…"`}
	text := buffer("fdinfo", room)
	fd, n, at, c, found := b.tmp("file"), b.tmp("n"), b.tmp("at"), b.tmp("byte"), b.label()
	b.op(Load, Ref(pidfd), Num(4)).to(n)
	b.op(Format, RefAt(path, len(name)), Slot(n))
	b.op(SysOpenat, atFDCWD, Ref(path), Flags(cRdonly, cCloexec), Num(0)).to(fd)
	b.op(SysRead, Slot(fd), Ref(text), Num(room-1))
	b.op(SysClose, Slot(fd))
	b.op(SysClose, Slot(n))
	b.set(at, Ref(text))
	line := b.here()
	b.op(Compare, Slot(at), b.str(field), Num(uint64(len(field)))).then(found).orElse(Following)
	b.op(Copy, Num(0), Slot(at), Num('\n'), Num(room)).to(n)
	b.add(at, n)
	b.op(Load, Slot(at), Num(1)).to(c)
	b.op(Branch, Slot(c), Num(every), Num('\n'), Num(CondEqual)) // fatal at the end
	b.advance(at, 1)
	b.jump(line)
	b.mark(found)
	b.advance(at, uint64(len(field)))
	b.op(Parse, Slot(at)).to(pid)
}

// becomeJoined takes the ids that the policy wants of a user namespace that was joined.
func (b *builder) becomeJoined() {
	m := b.in.Manner
	if m == nil || m.UserNamespace < 0 {
		return
	}
	uid, gid := InsideIDs(b.policy, b.in.Facts.UID, b.in.Facts.GID)
	b.begin(Step{Process: Init, Name: "change ids", Kind: KindIDs, Origin: b.originOf("user.mode", "user.uid")})
	if uid == uint32(b.in.Facts.UID) && gid == uint32(b.in.Facts.GID) {
		return
	}
	b.op(SysPrctl, named("PR_SET_KEEPCAPS", unix.PR_SET_KEEPCAPS), Num(1), Num(0), Num(0), Num(0))
	b.op(SysSetresgid, Num(uint64(gid)), Num(uint64(gid)), Num(uint64(gid)))
	b.op(SysSetresuid, Num(uint64(uid)), Num(uint64(uid)), Num(uint64(uid)))
	all := ^uint64(0) >> (63 - lastCap)
	b.op(SysCapset, Ref(capHeader), Ref(capData(all, 0)))
}

// joinAfter is pid 1's part when the root is made.
func (b *builder) joinAfter() {
	if m := b.in.Manner; m.ThenUserNamespace >= 0 {
		b.begin(Step{Process: Init, Name: "join the second user namespace", Kind: KindJoinBeside, Path: "second"})
		b.op(SysSetns, Num(uint64(m.ThenUserNamespace)), named("CLONE_NEWUSER", unix.CLONE_NEWUSER))
	}
}

// joinedLauncher has the launcher where pid 1 is, so that it may look at it.
func (b *builder) joinedLauncher() {
	if m := b.in.Manner; m.ThenUserNamespace >= 0 {
		b.begin(Step{Process: Launcher, Name: "join the second user namespace", Kind: KindJoinBeside, Path: "second"})
		b.op(SysSetns, Num(uint64(m.ThenUserNamespace)), named("CLONE_NEWUSER", unix.CLONE_NEWUSER))
	}
}
