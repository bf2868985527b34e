package plan

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"
)

// Manner is how a sandbox lives beside its caller where its front end promises another way
// than Cloche's own. It holds only for an image that is executed in place, as `cloche run`
// is: nothing is passed on by the launcher, which waits, tells how the command ended, and
// dies by whatever kills it. The command stays in the caller's process group, and in its
// session unless NewSession is set. What the caller left open is handed on.
//
// With pid 1 of its own the sandbox ends when the last of its processes ends; the launcher
// does not wait for that. A descriptor is -1 where there is none.
type Manner struct {
	Name          string // of the launcher and pid 1 in ps(1)
	NewSession    bool
	DieWithParent bool // the launcher with its caller, pid 1 with the launcher, the command with both

	Consumed []int  // descriptors that nobody inside gets
	Held     []int  // descriptors that pid 1 alone keeps open as long as it lives
	Locks    []Lock // files that pid 1 holds a read lock on

	KeepCapabilities bool // the caller's are left as they are; the bounding set is the policy's

	BlockFD int // the command waits until something can be read here
	IDsFD   int // the same before the id maps are looked at: who writes them says so here
	Report  *Report
	Status  *Report // written to again when the command has ended

	UserNamespace, ThenUserNamespace int // to join before and after the root is made
	PIDNamespace                     int // to join, as the parent's of a new one if there is one
	NoUserNamespaces                 bool
	CheckNoUserNamespaces            bool // fail if one could be made

	Argv0   *string  // instead of the command's name
	CwdElse []string // where the policy's Cwd is not there inside: these, in order; PWD follows

	ExecLabel string // SELinux context of the command; "": the default one
	FileLabel string // of what lies in the sandbox's own tmpfs, mount(8) context=; the same
}

// Lock is a file inside that a lock is held on, fcntl(2), F_RDLCK.
type Lock struct {
	Path string
	FD   int // a number that is reserved for it
}

// beside is the builder's part of a Manner.
type beside struct {
	goRead, goWrite Var // pipe by which the launcher lets pid 1 go on
	proc            Var // the caller's /proc
	failed          Var // a failure was reported
	ready           Var // the set-up was complete
}

func (b *builder) processName() string {
	if m := b.in.Manner; m != nil {
		return m.Name
	}
	return "cloche"
}

// diesWithParent reports whether pid 1 dies with who made it.
func (b *builder) diesWithParent() bool { return b.in.Manner == nil || b.in.Manner.DieWithParent }

// leavesCapabilities reports whether the command has the capabilities that it was started with.
func (b *builder) leavesCapabilities() bool {
	return b.in.Manner != nil && b.in.Manner.KeepCapabilities
}

// ownUsers reports whether pid 1 is in a user namespace where it has all capabilities.
func (b *builder) ownUsers() bool {
	m := b.in.Manner
	return b.policy.Unshare.User || m != nil && m.UserNamespace >= 0
}

// atOnce reports whether the namespaces are all made with pid 1, since somebody is told
// their numbers before it has done anything.
func (b *builder) atOnce() bool {
	m := b.in.Manner
	return m.Reports()
}

// Reports reports whether somebody is told pid 1's pid, to look at it.
func (m *Manner) Reports() bool { return m != nil && (m.Report != nil || m.Status != nil) }

// cgroupAtOnce is that of the cgroup namespace, whose root is the cgroup that its maker is in.
func (b *builder) cgroupAtOnce() bool {
	return b.atOnce() && b.policy.Unshare.Cgroup && !b.in.HasCgroup
}

// waitsForGo reports whether pid 1 waits until the launcher has done its part.
func (b *builder) waitsForGo() bool {
	return b.atOnce() || b.in.Manner != nil && b.in.Manner.IDsFD >= 0
}

// makeGo makes the pipe for that.
func (b *builder) makeGo() {
	if !b.waitsForGo() {
		return
	}
	b.begin(Step{Process: Launcher, Name: "pipe to pid 1"})
	pair := buffer("pipe", 8)
	b.beside.goRead, b.beside.goWrite = b.newVar("go"), b.newVar("let go")
	b.op(SysPipe2, Ref(pair), Flags(cCloexec))
	b.op(Load, Ref(pair), Num(4)).to(b.beside.goRead)
	b.op(Load, RefAt(pair, 4), Num(4)).to(b.beside.goWrite)
}

// awaitGo lets pid 1 sleep until the launcher lets it go on; when that is no more, it ends. It
// sleeps before it is undumpable, as the launcher looks at it meanwhile by its user's rights, and
// before it has ids where somebody outside gives it those.
func (b *builder) awaitGo() {
	if !b.waitsForGo() {
		return
	}
	b.begin(Step{Process: Init, Name: "wait for the launcher"})
	n, on := b.tmp("n"), b.label()
	b.op(SysClose, Slot(b.beside.goWrite))
	b.op(SysRead, Slot(b.beside.goRead), Ref(buffer("go", 8)), Num(1)).to(n).retryOn(int(unix.EINTR))
	b.ifEqual(Slot(n), ^uint64(0), Num(1), on)
	b.op(SysExitGroup, Num(125))
	b.mark(on)
	b.op(SysClose, Slot(b.beside.goRead))
}

// keepProc opens what is needed of /proc when the scratch covers it.
func (b *builder) keepProc() {
	if m := b.in.Manner; m != nil && (m.NoUserNamespaces || m.ExecLabel != "") {
		b.beside.proc = b.newVar("caller's proc")
		b.checkProc(b.beside.proc)
	}
}

// beforeCommand is the end of pid 1's set-up.
func (b *builder) beforeCommand() {
	m := b.in.Manner
	b.joinAfter()
	b.endUserNamespaces()
	if m.BlockFD >= 0 {
		b.begin(Step{Process: Init, Name: "wait until the command may start", Kind: KindWait})
		b.op(SysRead, Num(uint64(m.BlockFD)), Ref(buffer("go", 8)), Num(1)).ignoring()
	}
	b.when(m.NewSession, b.said.session, func() {
		b.begin(Step{Process: Init, Name: "session", Kind: KindTerminal})
		b.op(SysSetsid)
	})
	b.takeLocks()
	b.begin(Step{Process: Init, Name: "close what was used"})
	for _, fd := range m.Consumed {
		b.op(SysClose, Num(uint64(fd))).ignoring()
	}
	in := b.inPlace()
	b.op(SysClose, Num(uint64(in.ReadFD)))
	b.op(SysClose, Num(uint64(in.ExeFD)))
	b.when(m.DieWithParent, b.said.dies, func() {
		// The launcher may have died before pid 1 had its death signal: then nobody reads.
		b.op(SysPpoll, Ref(b.pollFDs), Num(1), Ref(words("{0, 0}", 0, 0)), null, Num(8))
		n, on := b.tmp("n"), b.label()
		b.op(Load, RefAt(b.pollFDs, 6), Num(2)).to(n)
		b.ifEqual(Slot(n), ^uint64(0), Num(0), on)
		b.op(SysExitGroup, Num(125))
		b.mark(on)
	})
}

// takeLocks takes read locks inside. They belong to pid 1, and the command does not share
// its descriptors.
func (b *builder) takeLocks() {
	fd := b.tmp("file")
	for _, l := range b.in.Manner.Locks {
		b.begin(Step{Process: Init, Name: "lock " + l.Path, Kind: KindLockFile, Path: l.Path})
		b.op(SysOpenat, atFDCWD, b.str(l.Path), Flags(cRdonly, cCloexec), Num(0)).to(fd).retryOn(int(unix.EINTR))
		b.op(SysDup3, Slot(fd), Num(uint64(l.FD)), Flags(cCloexec))
		b.op(SysClose, Slot(fd))
		lock := &Data{Bytes: make([]byte, 32), Align: 8, Text: "{l_type=F_RDLCK, l_whence=SEEK_SET, l_start=0, l_len=0}"}
		binary.LittleEndian.PutUint16(lock.Bytes, uint16(unix.F_RDLCK&0xffff))
		b.op(SysFcntl, Num(uint64(l.FD)), named("F_SETLK", unix.F_SETLK), Ref(lock)).retryOn(int(unix.EINTR))
	}
}

// settleBeside is settle for a pid 1 that does nothing but wait for all others. Where its pid was told, for
// somebody to look at the namespaces that it is in, it can be looked at by its user again when there is nothing to
// take from it: it has no capabilities, no descriptors and memory but those of its loop, and its filter. Who attached
// to it without that could use it for calls that the command's filter refuses.
func (b *builder) settleBeside() {
	b.begin(Step{Process: Init, Name: "confine pid 1"})
	if b.argv() != nil {
		// The command may run: an error from here on (there is none to be expected) is no reason
		// to have the program start it again.
		quiet, on := b.label(), b.label()
		b.set(VarOnFatal, Target(quiet))
		b.jump(on)
		b.mark(quiet)
		b.op(SysExitGroup, Num(125))
		b.mark(on)
	}
	keep := []int{b.in.StatusFD}
	keep = append(keep, b.in.Manner.Held...)
	for _, l := range b.in.Manner.Locks {
		keep = append(keep, l.FD)
	}
	b.closeAllBut(0, keep)
	b.bound(0)
	b.setCapabilities(0, 0)
	b.op(SysPrctl, named("PR_SET_NO_NEW_PRIVS", unix.PR_SET_NO_NEW_PRIVS), Num(1), Num(0), Num(0), Num(0))
	b.loadFilter(b.in.InitFilter, Num(0))
	b.resident = true
	b.giveBack()
	if b.atOnce() {
		b.op(SysPrctl, named("PR_SET_DUMPABLE", unix.PR_SET_DUMPABLE), Num(1), Num(0), Num(0), Num(0))
	}
	b.resident = false
}

// closeAllBut closes every descriptor from first on but those. Their numbers do not change
// how many operations it takes: what explains a failure has other ones.
func (b *builder) closeAllBut(first int, keep []int) {
	keep = slices.Clone(keep)
	slices.Sort(keep)
	next := first
	for _, fd := range keep {
		from, to := uint64(next), uint64(fd-1)
		if fd <= next {
			from, to = 1, 0 // nothing: refused with EINVAL
		}
		b.op(SysCloseRange, Num(from), Num(to), Num(0)).ignoring()
		next = max(next, fd+1)
	}
	b.op(SysCloseRange, Num(uint64(next)), Num(^uint64(0)>>32), Num(0))
}

// waitForAll is pid 1's loop: it tells how the command ended, and ends when no process is
// left.
func (b *builder) waitForAll() {
	b.resident = true
	defer func() { b.resident = false }()
	status := &Data{Section: ResidentRW, Size: 8, Align: 8, Text: "status"}
	n, code := b.newVar("n"), b.newVar("code")
	none, exited := b.label(), b.label()
	b.set(code, Num(1))
	loop := b.here()
	b.op(SysWait4, Int(-1), Ref(status), Num(0), null).to(n).on(int(unix.EINTR), loop).orElse(none)
	b.unlessEqual(Slot(n), ^uint64(0), Slot(b.child), loop)
	b.op(Load, Ref(status), Num(4)).to(n)
	if b.policy.Unshare.PID {
		b.send(RecordExited, Slot(n))
	}
	b.op(Alu, Slot(n), Num(8), Num(0xff), Num(0), Num(0)).to(code)
	b.ifEqual(Slot(n), 0x7f, Num(0), exited)
	b.op(Alu, Slot(n), Num(0), Num(0x7f), Num(0), Num(128)).to(code)
	b.mark(exited)
	b.jump(loop)
	b.mark(none)
	b.op(SysExitGroup, Slot(code))
}
