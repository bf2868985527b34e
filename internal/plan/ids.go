package plan

import (
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// mapIDs gives the new user namespace its ids, user_namespaces(7). One id is
// mapped by pid 1 itself; ranges by newuidmap(1), which the supervisor runs
// while pid 1 waits. All of it comes before pid 1 makes itself undumpable,
// after which its /proc files belong to root.
func (b *builder) mapIDs() {
	u := b.policy.User
	if !b.policy.Unshare.User {
		b.becomeJoined()
		return
	}
	if m := b.in.Manner; m != nil && m.IDsFD >= 0 {
		return // somebody else has written them
	}
	origin := b.originOf("user.mode", "user.uid")
	if u.Mode == policy.UserRanges {
		b.begin(Step{Process: Init, Name: "wait for id maps", Kind: KindIDs, Origin: origin})
		b.send(RecordIDMaps)
		b.op(SysRead, Num(uint64(b.in.ControlFD)), Ref(buffer("go", 8)), Num(1)).retryOn(int(unix.EINTR))
		b.op(SysSetresgid, Num(uint64(u.GID)), Num(uint64(u.GID)), Num(uint64(u.GID)))
		b.op(SysSetgroups, Num(0), null)
		b.op(SysSetresuid, Num(uint64(u.UID)), Num(uint64(u.UID)), Num(uint64(u.UID)))
		return
	}
	uid, gid := InsideIDs(b.policy, b.in.Facts.UID, b.in.Facts.GID)
	proc := b.tmp("proc")
	b.checkProc(proc)
	b.begin(Step{Process: Init, Name: "map ids", Kind: KindIDs, Origin: origin})
	b.writeFile(proc, "self/setgroups", "deny")
	if b.builds() || b.prelude() != nil {
		b.mapOwnIDs(proc)
	} else {
		b.writeFile(proc, "self/uid_map", mapLine(uid, uint32(b.in.Facts.UID)))
		b.writeFile(proc, "self/gid_map", mapLine(gid, uint32(b.in.Facts.GID)))
	}
	b.op(SysClose, Slot(proc))
}

// checkProc is openProc as a step of its own.
func (b *builder) checkProc(proc Var) {
	b.begin(Step{Process: Init, Name: "check /proc", Kind: KindIDs, Path: "/proc"})
	b.openProc(proc)
}

// openProc opens the caller's /proc, and makes sure that it is one: else what
// is written to its files would go to somebody's own.
func (b *builder) openProc(proc Var) {
	statfs := buffer("statfs", 120)
	b.op(SysOpenat, atFDCWD, b.str("/proc"), Flags(cPath, cCloexec), Num(0)).to(proc)
	b.op(SysFstatfs, Slot(proc), Ref(statfs))
	b.op(Compare, Ref(statfs), Ref(procMagic), Num(8)) // fatal otherwise
}

// procMagic is the f_type of procfs, statfs(2).
var procMagic = words("PROC_SUPER_MAGIC", unix.PROC_SUPER_MAGIC)

// howInProc is the open_how of a file of procfs itself, which nothing is mounted
// over: "self" is the one link allowed.
var howInProc = words("{flags=O_WRONLY|O_CLOEXEC, resolve=RESOLVE_NO_XDEV|RESOLVE_NO_MAGICLINKS}",
	unix.O_WRONLY|unix.O_CLOEXEC, 0, unix.RESOLVE_NO_XDEV|unix.RESOLVE_NO_MAGICLINKS)

// InsideIDs is who the command is inside, for a caller with the given ids.
func InsideIDs(p *policy.Policy, uid, gid int) (insideUID, insideGID uint32) {
	switch p.User.Mode {
	case policy.UserRoot:
		return 0, 0
	case policy.UserSingle, policy.UserRanges:
		return p.User.UID, p.User.GID
	default:
		return uint32(uid), uint32(gid)
	}
}

func mapLine(inside, outside uint32) string {
	return strconv.FormatUint(uint64(inside), 10) + " " + strconv.FormatUint(uint64(outside), 10) + " 1\n"
}

// writeFile writes text to a file of the procfs that openProc opened.
func (b *builder) writeFile(proc Var, path, text string) {
	fd := b.tmp("file")
	b.op(SysOpenat2, Slot(proc), b.str(path), Ref(howInProc), Num(24)).to(fd)
	b.op(SysWrite, Slot(fd), b.str(text), Num(uint64(len(text))))
	b.op(SysClose, Slot(fd))
}

// changeIDs makes the command somebody else where no user namespace does:
// setgroups, gid, uid, in this order, on the only thread there is.
func (b *builder) changeIDs() {
	u := b.policy.User
	if b.ownUsers() || u.Mode != policy.UserSingle {
		return
	}
	b.begin(Step{Process: Command, Name: "change ids", Kind: KindIDs, Origin: b.originOf("user.mode", "user.uid")})
	if len(b.policy.Capabilities) > 0 {
		// They survive the change of uid; the rest is dropped after it.
		b.op(SysPrctl, named("PR_SET_KEEPCAPS", unix.PR_SET_KEEPCAPS), Num(1), Num(0), Num(0), Num(0))
	}
	b.op(SysSetgroups, Num(0), null)
	b.op(SysSetresgid, Num(uint64(u.GID)), Num(uint64(u.GID)), Num(uint64(u.GID)))
	b.op(SysSetresuid, Num(uint64(u.UID)), Num(uint64(u.UID)), Num(uint64(u.UID)))
}

// protectInit makes pid 1 unreachable for what runs inside with the same uid or
// as a mapped root: no ptrace, no /proc/1/mem, no /proc/1/exe.
func (b *builder) protectInit() {
	b.begin(Step{Process: Init, Name: "protect pid 1"})
	b.op(SysPrctl, named("PR_SET_DUMPABLE", unix.PR_SET_DUMPABLE), Num(0), Num(0), Num(0), Num(0))
	b.when(b.diesWithParent(), b.said.dies, func() {
		b.op(SysPrctl, named("PR_SET_PDEATHSIG", unix.PR_SET_PDEATHSIG), named("SIGKILL", uint64(unix.SIGKILL)))
	})
	b.op(SysPrctl, named("PR_SET_NAME", unix.PR_SET_NAME), b.str(b.processName()))
}
