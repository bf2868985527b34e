package plan

import (
	"golang.org/x/sys/unix"
)

// JoinImage makes of a join an image that `cloche exec` becomes: the prelude executes it
// for a command without flags. It was made when a command joined the sandbox before, and
// lies in the sandbox's record. What it took for granted then it looks at again; whatever is
// otherwise, and any failure, has the program do it all, which finds the words.
//
// Cloche itself is open as PreludeExeFD.
type JoinImage struct {
	PID     int    // of a process inside, as the caller sees it
	Process Inode  // its pidfd's, which no other process has as long as the machine runs (Linux 6.9)
	Boot    string // /proc/sys/kernel/random/boot_id
	Program Inode  // of cloche itself
	Env     []string

	// Shared are the names below /proc/PID/ns of those namespaces that are the caller's own,
	// each with what it is called of the process inside.
	Shared [][2]string
	// What /proc/PID/cgroup and /proc/self/cgroup hold: the cgroups to enter follow from them.
	Cgroups, OwnCgroups string
	Entries             []JoinFile // v1 `tasks`, or cgroup.procs
	CgroupDir           *JoinFile  // for CLONE_INTO_CGROUP; nil: none
	Thawed              []JoinText // files that tell that the sandbox is not paused
}

// Inode tells a file from all others: struct statx, from stx_ino on.
type Inode struct {
	Ino, Size  uint64
	Changed    [12]byte // stx_ctime
	Major, Min uint32   // of the device
}

// JoinFile is a file that is opened by its name, and known by its inode.
type JoinFile struct {
	Path  string
	Inode Inode
}

// JoinText is a file and its content.
type JoinText struct{ Path, Text string }

// Offsets in struct statx, beside those of statxIno and statxDev.
const (
	statxSize  = 40
	statxCtime = 96
)

// maxJoinText is the longest content of a file that an image compares.
const maxJoinText = 4096

// joinFDs are the descriptors of a join: numbers that the supervisor gave them, or what
// the image opened itself.
type joinFDs struct {
	pid, root Arg
	entries   []Arg
	cgroup    Arg
}

// suppliedFDs are those that the supervisor gave their numbers.
func (b *builder) suppliedFDs() {
	j := b.join
	b.joinFD = joinFDs{pid: Num(uint64(j.PidFD)), root: Num(uint64(j.RootFD)), cgroup: Num(uint64(j.CgroupFD))}
	for _, fd := range j.EntryFDs {
		b.joinFD.entries = append(b.joinFD.entries, Num(uint64(fd)))
	}
}

// becomeJoin is the beginning of an image that `cloche exec` becomes: the launcher, which
// stays outside as the command's face to the caller and makes the watcher.
func (b *builder) becomeJoin() {
	im := b.join.Image
	b.joinText = buffer("text", maxJoinText)
	b.begin(Step{Process: Launcher, Name: "become the launcher"})
	b.asked = b.label()
	b.whole, b.wholeEnv = b.newVar("arguments"), b.newVar("environment")
	b.set(VarOnFatal, Target(b.asked))
	b.set(b.whole, Slot(VarArgv))
	b.set(b.wholeEnv, Slot(VarEnvp))
	b.op(SysFcntl, Num(PreludeExeFD), named("F_SETFD", unix.F_SETFD), named("FD_CLOEXEC", unix.FD_CLOEXEC))
	b.op(SysPrctl, named("PR_SET_NAME", unix.PR_SET_NAME), b.str("cloche")).ignoring()
	b.sameInode(Num(PreludeExeFD), im.Program, true)
	b.commandOfExec()
	b.sameSandbox()
	b.openCgroups()

	b.begin(Step{Process: Launcher, Name: "standard input"})
	in := b.tmp("file")
	b.op(SysOpenat, atFDCWD, b.str("/dev/null"), Flags(cRdwr, cCloexec), Num(0)).to(in)
	b.op(SysDup3, Slot(in), Num(0), Num(0))
	b.op(SysClose, Slot(in))
	b.begin(Step{Process: Launcher, Name: "start"})
	b.defaultSignals()
	b.openStatus()
	b.op(SysRtSigprocmask, named("SIG_BLOCK", unix.SIG_BLOCK), Ref(words("~[]", ^uint64(0))), Ref(b.oldMask), Num(8))
	pid, inside := b.newVar("watcher"), b.label()
	b.op(SysClone, Flags(cSigchld), null, null, null, null).to(pid)
	b.ifEqual(Slot(pid), ^uint64(0), Num(0), inside)
	b.attend(pid)
	b.mark(inside)
	b.begin(Step{Process: Watcher, Name: "report to the launcher"})
	b.set(VarOnFatal, Target(b.fatal))
}

// commandOfExec passes over `exec NAME [--]`: the prelude has looked at these words.
func (b *builder) commandOfExec() {
	p, named := b.tmp("pointer"), b.label()
	b.advance(VarArgv, 3*8)
	b.op(Load, Slot(VarArgv), Num(8)).to(p)
	b.op(Compare, Slot(p), b.str("--"), Num(3)).orElse(named)
	b.advance(VarArgv, 8)
	b.mark(named)
	env := &Data{Bytes: make([]byte, 8*(len(b.join.Image.Env)+1)), Align: 8, Text: "environment"}
	for i, kv := range b.join.Image.Env {
		env.Relocs = append(env.Relocs, Reloc{Off: 8 * i, To: b.str(kv).data})
	}
	b.set(VarEnvp, Ref(env))
}

// sameSandbox opens the process and makes sure that it is the one, and that it shares
// the namespaces that are not entered.
func (b *builder) sameSandbox() {
	im := b.join.Image
	b.begin(Step{Process: Launcher, Name: "the sandbox that it was made for?", Kind: KindJoin})
	b.sameText(JoinText{"/proc/sys/kernel/random/boot_id", im.Boot})
	pid := b.newVar("pidfd")
	b.joinFD.pid = Slot(pid)
	b.op(SysPidfdOpen, Num(uint64(im.PID)), Num(0)).to(pid)
	b.sameInode(Slot(pid), im.Process, false)
	own := buffer("own", 256)
	stat := func(name string, to *Data) {
		b.op(SysStatx, atFDCWD, b.str(name), Num(0), named("STATX_BASIC_STATS", statxBasic), Ref(to))
	}
	for _, ns := range im.Shared {
		stat("/proc/self/ns/"+ns[0], own)
		stat(b.join.procFile("ns/"+ns[1]), b.statx)
		b.op(Compare, RefAt(own, statxIno), RefAt(b.statx, statxIno), Num(8))
		b.op(Compare, RefAt(own, statxDev), RefAt(b.statx, statxDev), Num(8))
	}
	root := b.newVar("sandbox's root")
	b.joinFD.root = Slot(root)
	b.op(SysOpenat, atFDCWD, b.str(b.join.procFile("root")), Flags(cPath, cCloexec), Num(0)).to(root)
}

// openCgroups opens what the command enters its cgroups by. Those are known by the text in
// which the kernel tells them, the sandbox's and the caller's.
func (b *builder) openCgroups() {
	im := b.join.Image
	b.begin(Step{Process: Launcher, Name: "the sandbox's cgroups", Kind: KindCgroup})
	if im.Cgroups != "" {
		b.sameText(JoinText{b.join.procFile("cgroup"), im.Cgroups})
		b.sameText(JoinText{"/proc/self/cgroup", im.OwnCgroups})
	}
	for _, t := range im.Thawed {
		b.sameText(t)
	}
	open := func(f JoinFile, name string, flags Arg) Arg {
		fd := b.newVar(name)
		b.op(SysOpenat2, atFDCWD, b.str(f.Path), flags, Num(24)).to(fd)
		b.sameInode(Slot(fd), f.Inode, false)
		return Slot(fd)
	}
	for _, f := range im.Entries {
		b.joinFD.entries = append(b.joinFD.entries, open(f, "tasks", Ref(howToWrite)))
	}
	if im.CgroupDir != nil {
		b.joinFD.cgroup = open(*im.CgroupDir, "cgroup", Ref(howNoLinks))
	}
}

// howToWrite is the open_how of a file of a cgroup.
var howToWrite = words("{flags=O_WRONLY|O_CLOEXEC, resolve=RESOLVE_NO_SYMLINKS|RESOLVE_NO_MAGICLINKS}",
	unix.O_WRONLY|unix.O_CLOEXEC, 0, unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_MAGICLINKS)

// sameInode fails where what is open is another file; whole: or one whose content has changed.
func (b *builder) sameInode(fd Arg, i Inode, whole bool) {
	b.op(SysStatx, fd, b.str(""), Flags(cEmptyPath), named("STATX_BASIC_STATS", statxBasic), Ref(b.statx))
	b.op(Compare, RefAt(b.statx, statxIno), Ref(words("ino", i.Ino)), Num(8))
	b.op(Compare, RefAt(b.statx, statxDev), Ref(words("dev", uint64(i.Major)|uint64(i.Min)<<32)), Num(8))
	if whole {
		b.op(Compare, RefAt(b.statx, statxSize), Ref(words("size", i.Size)), Num(8))
		b.op(Compare, RefAt(b.statx, statxCtime), Ref(&Data{Bytes: i.Changed[:], Align: 8, Text: "ctime"}), Num(uint64(len(i.Changed))))
	}
}

// sameText fails where a file holds another text.
func (b *builder) sameText(t JoinText) {
	fd, n := b.tmp("file"), b.tmp("n")
	text := b.joinText
	b.op(SysOpenat, atFDCWD, b.str(t.Path), Flags(cRdonly, cCloexec), Num(0)).to(fd)
	b.op(SysRead, Slot(fd), Ref(text), Num(maxJoinText)).to(n)
	b.op(SysClose, Slot(fd))
	b.op(Branch, Slot(n), Num(^uint64(0)), Num(uint64(len(t.Text))), Num(CondEqual))
	b.op(Compare, Ref(text), b.bytes(t.Text), Num(uint64(len(t.Text))))
}
