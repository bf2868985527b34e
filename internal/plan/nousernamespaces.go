package plan

import "golang.org/x/sys/unix"

// endUserNamespaces makes sure that no further user namespace can be made inside. Their
// number is limited to one in the sandbox's user namespace; that one is made, and who is in it
// may not change the limit of the one around it, namespaces(7).
func (b *builder) endUserNamespaces() {
	m := b.in.Manner
	if m.NoUserNamespaces {
		b.begin(Step{Process: Init, Name: "allow no further user namespace", Kind: KindNoUserNS})
		fd := b.tmp("file")
		b.op(SysOpenat2, Slot(b.beside.proc), b.str("sys/user/max_user_namespaces"), Ref(howInProc), Num(24)).to(fd)
		b.op(SysWrite, Slot(fd), b.str("1"), Num(1))
		b.op(SysClose, Slot(fd))
		b.op(SysUnshare, Flags(cNewUser))
		// Its files in /proc are pid 1's own only while it can be looked at; nothing else
		// runs inside yet.
		b.op(SysPrctl, named("PR_SET_DUMPABLE", unix.PR_SET_DUMPABLE), Num(1), Num(0), Num(0), Num(0))
		uid, gid := InsideIDs(b.policy, b.in.Facts.UID, b.in.Facts.GID)
		b.writeFile(b.beside.proc, "self/uid_map", mapLine(uid, uid))
		b.writeFile(b.beside.proc, "self/gid_map", mapLine(gid, gid))
		b.op(SysPrctl, named("PR_SET_DUMPABLE", unix.PR_SET_DUMPABLE), Num(0), Num(0), Num(0), Num(0))
	}
	if m.NoUserNamespaces || m.CheckNoUserNamespaces {
		b.begin(Step{Process: Init, Name: "check that no user namespace can be made", Kind: KindNoUserNS, Path: "check"})
		refused := b.label()
		b.op(SysUnshare, Flags(cNewUser)).orElse(refused)
		b.op(Branch, Num(0), Num(0), Num(1), Num(CondEqual)) // fatal: one was made
		b.mark(refused)
	}
}
