package plan

import "golang.org/x/sys/unix"

// launcher is the image's beginning, still outside: it makes the namespaces
// together with pid 1, tells the supervisor its pid, and is gone. Pid 1 is made
// with CLONE_PARENT, so that the supervisor itself is its parent and can wait
// for it.
func (b *builder) launcher() {
	switch in := b.inPlace(); {
	case b.builds():
		b.startStandalone()
		b.begin(Step{Process: Launcher, Name: "start"})
	case in == nil:
		b.begin(Step{Process: Launcher, Name: "start"})
	case b.argv() != nil:
		b.startArgv()
	case in.Prelude != nil:
		b.startPrelude()
	default:
		b.startInPlace(in)
	}
	if b.supervised() {
		// Until pid 1 has a death signal of its own, this one stands for it.
		b.op(SysPrctl, named("PR_SET_PDEATHSIG", unix.PR_SET_PDEATHSIG), named("SIGKILL", uint64(unix.SIGKILL)))
	}
	// Blocked from here on: pid 1 takes signals from a signalfd, and nothing
	// may end the set-up half-way.
	b.op(SysRtSigprocmask, named("SIG_BLOCK", unix.SIG_BLOCK), Ref(words("~[]", ^uint64(0))), Ref(b.oldMask), Num(8))
	ns := b.policy.Unshare
	b.joinBefore()
	b.when(ns.User && (b.has(unix.CAP_SETGID) || b.prelude() != nil), b.said.user, func() {
		// The caller's supplementary groups would stay effective inside, where
		// setgroups is denied for good.
		// EPERM: the caller is itself in a user namespace where they are denied, or
		// has no CAP_SETGID.
		b.op(SysSetgroups, Num(0), null).on(int(unix.EPERM), Following)
	})

	b.makeCgroup()
	b.begin(Step{Process: Launcher, Name: "namespaces", Kind: KindClone, Origin: b.policy.Origins["namespaces.unshare"]})
	var flags []Const
	if b.supervised() {
		flags = append(flags, cCloneParent)
	}
	add := func(on bool, c Const) {
		if on {
			flags = append(flags, c)
		}
	}
	add(ns.User, cNewUser)
	add(ns.Mount, cNewNS)
	add(ns.PID, cNewPID)
	add(ns.IPC, cNewIPC)
	add(ns.UTS, cNewUTS)
	if b.atOnce() {
		add(ns.Net, cNewNet)
		add(b.cgroupAtOnce(), cNewCgroup)
	}

	pid := b.newVar("init")
	inside := b.label()
	if b.argv() != nil {
		b.op(SysClone, Slot(b.said.flags), null, null, null, null).to(pid)
	} else if b.in.Manner != nil && b.in.Manner.PIDNamespace >= 0 {
		b.cloneElsewhere(pid, flags, inside)
	} else if b.in.CgroupFD >= 0 {
		// Linux 5.7: born in its cgroup, with no attach afterwards.
		f := Flags(append(flags, cCloneIntoCgroup)...)
		text, exit := "{flags="+f.String()+", cgroup=…}", uint64(0) // with CLONE_PARENT it is the launcher's own, and must be 0
		if !b.supervised() {
			text, exit = "{flags="+f.String()+", exit_signal=SIGCHLD, cgroup=…}", uint64(unix.SIGCHLD)
		}
		args := words(text, f.value, 0, 0, 0, exit, 0, 0, 0, 0, 0, uint64(b.in.CgroupFD))
		b.op(SysClone3, Ref(args), Num(88)).to(pid)
	} else {
		b.op(SysClone, Flags(append(flags, cSigchld)...), null, null, null, null).to(pid)
	}
	b.ifEqual(Slot(pid), ^uint64(0), Num(0), inside)
	if b.in.Manner != nil {
		b.attendBeside(pid)
	} else if !b.supervised() {
		b.attend(pid)
	} else {
		b.send(RecordPID, Slot(pid))
		b.op(SysExitGroup, Num(0))
	}
	b.mark(inside)
}

// has reports whether the caller holds a capability(7) outside.
func (b *builder) has(c uint) bool { return b.in.Facts.CapEff&(1<<c) != 0 }

// beginInit is pid 1's first operation where the launcher explains failures: its
// own by itself, those of all others when they were sent to it.
func (b *builder) beginInit() {
	if b.inPlace() != nil {
		b.begin(Step{Process: Init, Name: "report to the launcher"})
		b.set(VarOnFatal, Target(b.fatal))
	}
}

// enterCgroup puts pid 1 in the sandbox's cgroup by writing 0, "the writer
// itself", to files that the supervisor opened: 0.02 ms where writing another
// process's pid waits 5 ms and more for a grace period. Only then is the
// cgroup namespace made, so that its root is this cgroup and not the parent.
func (b *builder) enterCgroup() {
	if b.ownCgroup {
		b.enterOwnCgroup()
	} else if b.in.HasCgroup {
		b.begin(Step{Process: Init, Name: "enter cgroup", Kind: KindCgroup, Origin: b.originOf("limits.memory", "limits.pids", "limits.cpus", "time.cpu")})
		for _, fd := range b.in.EntryFDs {
			b.op(SysWrite, Num(uint64(fd)), b.str("0"), Num(1))
		}
	}
	b.when(b.policy.Unshare.Cgroup && !b.cgroupAtOnce(), b.said.cgroup, func() {
		b.begin(Step{Process: Init, Name: "cgroup namespace", Kind: KindClone})
		b.op(SysUnshare, named("CLONE_NEWCGROUP", unix.CLONE_NEWCGROUP))
	})
	if b.policy.Unshare.Time {
		// Takes effect for the command, a child of pid 1.
		b.begin(Step{Process: Init, Name: "time namespace", Kind: KindClone})
		b.op(SysUnshare, named("CLONE_NEWTIME", unix.CLONE_NEWTIME))
	}
}

// originOf is the first of the settings' origins that is known.
func (b *builder) originOf(keys ...string) string {
	for _, k := range keys {
		if o := b.policy.Origins[k]; o != "" {
			return o
		}
	}
	return ""
}
