package plan

import "golang.org/x/sys/unix"

// attendBeside is the launcher's life outside: it tells what it was asked to tell, lets go
// of the caller's descriptors, and ends as the command ended.
func (b *builder) attendBeside(pid Var) {
	m, in := b.in.Manner, b.inPlace()
	b.begin(Step{Process: Launcher, Name: "attend", Kind: KindWait})
	if in.Prelude != nil {
		b.neverTwice(pid)
	}
	b.op(SysRtSigprocmask, named("SIG_SETMASK", unix.SIG_SETMASK), Ref(b.oldMask), null, Num(8))
	b.when(m.DieWithParent, b.said.dies, func() {
		b.op(SysPrctl, named("PR_SET_PDEATHSIG", unix.PR_SET_PDEATHSIG), named("SIGKILL", uint64(unix.SIGKILL)))
	})
	b.op(SysClose, Num(uint64(b.in.StatusFD)))
	b.joinedLauncher()
	b.report(m.Report, pid)
	b.report(m.Status, pid)
	if m.IDsFD >= 0 {
		b.begin(Step{Process: Launcher, Name: "wait for id maps", Kind: KindIDs})
		b.op(SysRead, Num(uint64(m.IDsFD)), Ref(buffer("go", 8)), Num(1)).ignoring()
	}
	b.begin(Step{Process: Launcher, Name: "let pid 1 go on", Kind: KindWait})
	if b.waitsForGo() {
		b.op(SysRtSigprocmask, named("SIG_BLOCK", unix.SIG_BLOCK), Ref(sigPipe), null, Num(8))
		b.op(SysWrite, Slot(b.beside.goWrite), b.str("g"), Num(1)).ignoring()
		b.op(SysRtSigprocmask, named("SIG_SETMASK", unix.SIG_SETMASK), Ref(b.oldMask), null, Num(8))
	}
	keep := []int{in.ReadFD, in.ExeFD}
	if m.Status != nil {
		keep = append(keep, m.Status.FD)
	}
	b.closeAllBut(3, keep)

	b.begin(Step{Process: Launcher, Name: "wait", Kind: KindWait})
	rec, status := buffer("report", recordSize), buffer("status", 8)
	b.beside.failed, b.beside.ready = b.newVar("failed"), b.newVar("ready")
	n, code, w := b.tmp("n"), b.tmp("code"), b.tmp("wait status")
	read, ended, ready, failed, exited := b.label(), b.label(), b.label(), b.label(), b.label()
	tell, exit, byCode := b.label(), b.label(), b.label()
	b.set(b.beside.failed, Num(0))
	b.set(b.beside.ready, Num(0))
	b.mark(read)
	b.op(SysRead, Num(uint64(in.ReadFD)), Ref(rec), Num(recordSize)).to(n).on(int(unix.EINTR), read).orElse(ended)
	b.ifEqual(Slot(n), ^uint64(0), Num(0), ended)
	b.op(Load, Ref(rec), Num(4)).to(n)
	b.ifEqual(Slot(n), ^uint64(0), Num(uint64(RecordReady)), ready)
	b.ifEqual(Slot(n), ^uint64(0), Num(uint64(RecordFailed)), failed)
	b.unlessEqual(Slot(n), ^uint64(0), Num(uint64(RecordExited)), read)
	b.op(Load, RefAt(rec, 4), Num(4)).to(w)
	if b.in.HasCgroup {
		b.jump(ended) // which has to be empty before it is removed
	} else {
		b.jump(byCode)
	}
	b.mark(ready)
	b.set(b.beside.ready, Num(1))
	b.jump(read)
	b.mark(failed)
	b.set(b.beside.failed, Num(1))
	b.op(Load, RefAt(rec, 4), Num(4)).to(VarFailedOp)
	b.op(Load, RefAt(rec, 8), Num(4)).to(VarFailedErrno).then(read)

	b.mark(ended)
	b.op(SysWait4, Slot(pid), Ref(status), Num(0), null).retryOn(int(unix.EINTR))
	b.op(Load, Ref(status), Num(4)).to(w)
	b.removeCgroup()
	b.mark(byCode)
	b.ifEqual(Slot(b.beside.failed), ^uint64(0), Num(1), tell)
	b.op(Alu, Slot(w), Num(8), Num(0xff), Num(0), Num(0)).to(code)
	b.ifEqual(Slot(w), 0x7f, Num(0), exited)
	b.op(Alu, Slot(w), Num(0), Num(0x7f), Num(0), Num(128)).to(code)
	b.mark(exited)
	b.reportExit(code)
	b.op(SysExitGroup, Slot(code))
	b.mark(b.asked) // an operation of the launcher's own failed
	b.mark(tell)
	reported := b.tmp("reported")
	b.set(reported, Num(125))
	if in.Prelude != nil {
		b.set(reported, Num(0)) // the program does it all again, and finds the words
	}
	b.askProgram(reported, exit)
	b.mark(exit)
	b.op(SysExitGroup, Num(1))
}

var sigPipe = words("[PIPE]", 1<<(uint64(unix.SIGPIPE)-1))
