package plan

import "golang.org/x/sys/unix"

// session makes pid 1 the leader of a session of the sandbox's own: no
// controlling terminal of the caller's is left whose input could be faked
// (TIOCSTI). A command that leads its own session would be an orphaned process
// group, in which Ctrl-Z does nothing; so the command gets a group in pid 1's.
func (b *builder) session() {
	if !b.policy.Unshare.PID {
		// Forwarding asks who sent a signal: in a pid namespace of its own
		// nobody outside has a pid (0), here the supervisor has.
		b.begin(Step{Process: Init, Name: "find the supervisor"})
		b.op(SysGetppid).to(b.outside)
		b.op(SysPrctl, named("PR_SET_CHILD_SUBREAPER", unix.PR_SET_CHILD_SUBREAPER), Num(1), Num(0), Num(0), Num(0))
	}
	b.begin(Step{Process: Init, Name: "session"})
	// Fails only when pid 1 leads a group already: never after a fork.
	b.op(SysSetsid)
	b.openTerminal()
}

// command makes the process that becomes the command. It shares pid 1's memory
// until it execs (CLONE_VM with CLONE_VFORK: pid 1 sleeps meanwhile), so
// that nothing is copied. Everything that is bound to a thread by the kernel -
// credentials, Landlock, filter - happens here, in a process of one thread.
func (b *builder) command() {
	if b.policy.Init {
		if b.in.Notify != nil {
			b.keepListenerNumber()
		}
		b.begin(Step{Process: Init, Name: "fork"})
		flags := []Const{cSigchld}
		switch {
		case b.in.Notify != nil:
			flags = []Const{cCloneFiles, cSigchld} // pid 1 has something to do meanwhile
		case !b.policy.Unshare.Time:
			flags = []Const{cCloneVM, cCloneVfork, cSigchld}
		}
		b.op(SysClone, Flags(flags...), null, null, null, null).to(b.child)
		b.unlessEqual(Slot(b.child), ^uint64(0), Num(0), b.parent)
		b.begin(Step{Process: Command, Name: "process group", Kind: KindTerminal})
		if b.in.Manner == nil {
			b.op(SysSetpgid, Num(0), Num(0))
		}
	}
	b.useTerminal()
	b.rlimits()
	// The bounding set and the securebits need CAP_SETPCAP, which a change of
	// ids takes away.
	b.limitCapabilities()
	b.changeIDs()
	b.chdir()
	b.dropCapabilities()
	b.confineCommand()
	b.exec()
}

// confineCommand is what comes last but for the exec, when the command is who and
// where it is to be.
func (b *builder) confineCommand() {
	b.begin(Step{Process: Command, Name: "no new privileges"})
	b.op(SysPrctl, named("PR_SET_NO_NEW_PRIVS", unix.PR_SET_NO_NEW_PRIVS), Num(1), Num(0), Num(0), Num(0))
	if b.policy.Keyring {
		b.begin(Step{Process: Command, Name: "session keyring", Kind: KindKeyring, Origin: b.policy.Origins["keyring"]})
		b.op(SysKeyctl, named("KEYCTL_JOIN_SESSION_KEYRING", unix.KEYCTL_JOIN_SESSION_KEYRING), null)
	}

	b.begin(Step{Process: Command, Name: "close descriptors"})
	b.op(SysUmask, Slot(b.umask))
	b.op(SysRtSigprocmask, named("SIG_SETMASK", unix.SIG_SETMASK), Ref(b.oldMask), null, Num(8))
	if b.in.Manner != nil {
		b.handOn()
	} else {
		// The last moment: whatever is open beyond what was asked for ends with exec.
		b.closeOnExec()
	}

	b.landlock()

	b.begin(Step{Process: Command, Name: "ready"})
	b.send(RecordReady)
	if b.in.Notify != nil {
		b.loadNotify()
	}
	b.loadPrograms()
	if len(b.in.Filter) > 0 {
		b.begin(Step{Process: Command, Name: "seccomp " + b.policy.SeccompName(), Kind: KindSeccomp, Origin: b.policy.Origins["seccomp.profile"]})
		b.loadFilter(b.in.Filter, filterFlags(b.in.FilterFlags))
	}
}

// closeOnExec lets all but what was asked for end with exec. Before Linux 5.11
// close_range(2) can only close: then what is needed until exec, the status pipe,
// is marked on its own and the rest is closed.
func (b *builder) closeOnExec() {
	const last = ^uint64(0) >> 32
	first, status := uint64(3+b.in.ExtraFiles), uint64(b.in.StatusFD)
	done := b.label()
	if b.builds() || b.in.Facts.RangeOnExec {
		call := b.op(SysCloseRange, Num(first), Num(last), named("CLOSE_RANGE_CLOEXEC", unix.CLOSE_RANGE_CLOEXEC))
		if !b.builds() {
			return
		}
		old := b.label()
		call.on(int(unix.EINVAL), old).then(done)
		b.mark(old)
	}
	b.op(SysFcntl, Num(status), named("F_SETFD", unix.F_SETFD), named("FD_CLOEXEC", unix.FD_CLOEXEC))
	if first < status {
		b.op(SysCloseRange, Num(first), Num(status-1), Num(0))
	}
	b.op(SysCloseRange, Num(status+1), Num(last), Num(0))
	b.mark(done)
}

// chdir enters the working directory after everything else about the root and
// the ids is final, and makes sure that it is under the root: a directory that
// is not has a getcwd(2) that does not begin with a slash.
func (b *builder) chdir() {
	cwd := b.policy.Cwd
	if cwd == "" {
		cwd = "/"
	}
	b.begin(Step{Process: Command, Name: "working directory", Kind: KindCwd, Path: cwd, Origin: b.policy.Origins["cwd"]})
	b.enter(cwd)
	buf := buffer("cwd", 4096)
	first := b.tmp("byte")
	b.op(SysGetcwd, Ref(buf), Num(4096))
	b.op(Load, Ref(buf), Num(1)).to(first)
	b.op(Branch, Slot(first), Num(0xff), Num('/'), Num(CondEqual)) // fatal otherwise
}
