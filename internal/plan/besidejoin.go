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
	if m.PIDNamespace >= 0 {
		b.begin(Step{Process: Launcher, Name: "join the pid namespace", Kind: KindJoinBeside, Path: "pid"})
		b.op(SysSetns, Num(uint64(m.PIDNamespace)), named("CLONE_NEWPID", unix.CLONE_NEWPID))
	}
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
