package plan

import "golang.org/x/sys/unix"

// init is what pid 1 does before the command exists. The order is the security
// of it: ids while /proc/self is its own, undumpable before anything from
// outside is touched, the old root gone before the command is made.
func (b *builder) init() error {
	b.beginInit()
	b.awaitGo()
	b.startNetwork() // first, as it takes longest
	b.enterCgroup()
	if b.argv() != nil {
		b.when(true, b.said.user, b.mapIDs)
	} else {
		b.mapIDs()
	}
	b.protectInit()
	if b.in.Sequence != nil {
		b.buildSequence()
	} else if b.policy.Unshare.Mount {
		if err := b.buildRoot(); err != nil {
			return err
		}
	}
	b.hostname()
	b.enterNetwork()
	if b.policy.Unshare.Mount {
		b.pivot()
	}
	if b.in.Manner != nil {
		b.beforeCommand()
		return nil
	}
	b.session()
	return nil
}

// hostname names the new uts namespace.
func (b *builder) hostname() {
	if !b.policy.Unshare.UTS || b.policy.Hostname == "" {
		return
	}
	b.begin(Step{Process: Init, Name: "hostname", Kind: KindHostname, Origin: b.policy.Origins["hostname"]})
	b.op(SysSethostname, b.str(b.policy.Hostname), Num(uint64(len(b.policy.Hostname))))
}

// settle is what pid 1 does once the command runs: it lets go of everything,
// confines itself to what its loop needs, and gives the set-up's memory back.
func (b *builder) settle() {
	if !b.policy.Init {
		return
	}
	b.mark(b.parent)
	if b.in.Manner != nil {
		b.settleBeside()
		return
	}
	if b.in.Notify != nil {
		b.handOver()
	}
	b.begin(Step{Process: Init, Name: "confine pid 1"})
	status := uint64(b.in.StatusFD)
	if b.in.Notify != nil {
		b.send(RecordStarted, Slot(b.child))
	} else {
		b.send(RecordStarted)
	}
	b.op(SysCloseRange, Num(0), Num(status-1), Num(0))
	b.op(SysCloseRange, Num(status+1), Num(^uint64(0)>>32), Num(0))
	b.op(SysSignalfd4, Int(-1), Ref(words("~[]", ^uint64(0))), Num(8), named("SFD_CLOEXEC", unix.SFD_CLOEXEC)).to(b.sigfd)
	b.op(Store, RefAt(b.pollFDs, 8), Slot(b.sigfd), Num(4))
	if b.in.HasTerminal() {
		b.childGroup = b.newVar("group")
		b.negate(b.child, b.childGroup)
	}
	b.bound(b.initCapabilities())
	b.setCapabilities(b.initCapabilities(), 0)
	b.op(SysPrctl, named("PR_SET_NO_NEW_PRIVS", unix.PR_SET_NO_NEW_PRIVS), Num(1), Num(0), Num(0), Num(0))
	b.loadFilter(b.in.InitFilter, Num(0))
	b.resident = true
	if b.builds() {
		// The messages of a failure go with the set-up: an error from here on
		// (there is none to be expected) ends pid 1 without them.
		quiet, loop := b.label(), b.label()
		b.set(VarOnFatal, Target(quiet))
		b.jump(loop)
		b.mark(quiet)
		b.op(SysExitGroup, Num(125))
		b.mark(loop)
	}
	b.giveBack()
	b.resident = false
}

// giveBack returns the memory of the set-up to the kernel.
func (b *builder) giveBack() {
	// The stack holds the command's arguments and environment, which pid 1 has no
	// use for: given back as well, from argv's page up. The range ends above the
	// stack, so madvise(2) complains (ENOMEM) after doing it.
	stack := b.tmp("stack")
	b.op(Alu, Slot(VarArgv), Num(12), Num(^uint64(0)), Num(12), Num(0)).to(stack)
	b.op(SysMadvise, Slot(stack), Num(16<<20), named("MADV_DONTNEED", unix.MADV_DONTNEED)).ignoring()
	b.op(SysMunmap, RegionArg(SetupROAddress), RegionArg(SetupROLength)).ignoring()
	b.op(SysMunmap, RegionArg(SetupRWAddress), RegionArg(SetupRWLength)).ignoring()
}

// wait is pid 1's loop: it passes on signals that come from outside, reaps
// orphans, and ends with the command or with the supervisor, whichever is first.
func (b *builder) wait() {
	if !b.policy.Init {
		return
	}
	b.begin(Step{Process: Init, Name: "wait", Kind: KindWait})
	if b.in.Manner != nil {
		b.waitForAll()
		return
	}
	b.resident = true
	defer func() { b.resident = false }()

	fds := b.pollFDs
	info := &Data{Section: ResidentRW, Size: 128, Align: 8, Text: "siginfo"}
	status := &Data{Section: ResidentRW, Size: 8, Align: 8, Text: "status"}
	n := b.newVar("n")
	sender := b.newVar("sender")
	reap, ended, gone, exited := b.label(), b.label(), b.label(), b.label()

	loop := b.here()
	b.op(SysPpoll, Ref(fds), Num(2), null, null, Num(8)).retryOn(int(unix.EINTR))
	// The reader of the status pipe hung up: the supervisor is no more.
	b.op(Load, RefAt(fds, 6), Num(2)).to(n)
	b.unlessEqual(Slot(n), ^uint64(0), Num(0), gone)
	b.op(SysRead, Slot(b.sigfd), Ref(info), Num(128)).orElse(loop)
	b.op(Load, Ref(info), Num(4)).to(n) // ssi_signo
	b.ifEqual(Slot(n), ^uint64(0), named("SIGCHLD", uint64(unix.SIGCHLD)), reap)
	if b.join == nil || !b.join.entersPID() { // a watcher outside can't be seen from inside
		// A sender outside has no pid in here. Signals from inside end here: what
		// runs in the sandbox may not speak in the supervisor's name.
		b.op(Load, RefAt(info, 12), Num(4)).to(sender) // ssi_pid
		b.unlessEqual(Slot(sender), ^uint64(0), Slot(b.outside), loop)
	}
	if b.in.HasTerminal() {
		// What Ctrl-Z stopped is a group, and so is what goes on.
		resume := b.label()
		b.ifEqual(Slot(n), ^uint64(0), named("SIGCONT", uint64(unix.SIGCONT)), resume)
		b.op(SysKill, Slot(b.child), Slot(n)).ignoring().then(loop)
		b.mark(resume)
		b.op(SysKill, Slot(b.childGroup), Slot(n)).ignoring().then(loop)
	} else {
		b.op(SysKill, Slot(b.child), Slot(n)).ignoring().then(loop)
	}

	b.mark(reap)
	options := Flags(cWnohang)
	if b.in.HasTerminal() {
		options = Flags(cWnohang, cWuntraced)
	}
	b.op(SysWait4, Int(-1), Ref(status), options, null).to(n).orElse(loop)
	b.ifEqual(Slot(n), ^uint64(0), Num(0), loop)
	b.unlessEqual(Slot(n), ^uint64(0), Slot(b.child), reap)
	b.op(Load, Ref(status), Num(4)).to(n)
	if b.in.HasTerminal() {
		b.unlessEqual(Slot(n), 0xff, Num(0x7f), ended)
		b.send(RecordStopped, Slot(n))
		b.jump(reap)
	}
	b.mark(ended)
	b.send(RecordExited, Slot(n))
	// As a shell says it: the command's own code, or 128 and the signal.
	b.op(Alu, Slot(n), Num(8), Num(0xff), Num(0), Num(0)).to(sender)
	b.ifEqual(Slot(n), 0x7f, Num(0), exited)
	b.op(Alu, Slot(n), Num(0), Num(0x7f), Num(0), Num(128)).to(sender)
	b.mark(exited)
	b.op(SysExitGroup, Slot(sender))
	b.mark(gone)
	if b.join != nil {
		// No pid namespace ends with the watcher.
		b.op(SysKill, Slot(b.child), named("SIGKILL", uint64(unix.SIGKILL))).ignoring()
		b.op(SysWait4, Slot(b.child), Ref(status), Num(0), null).ignoring()
	}
	b.op(SysExitGroup, Num(125))
}
