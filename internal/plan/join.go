package plan

import (
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/policy"
)

// Join is a command that enters a sandbox, or a container, that is there already. What
// it is confined to comes from the policy as for the first command: rlimits,
// capabilities, ids, working directory, Landlock, filter. Mounts, namespaces and the
// time limits of the policy are those of the sandbox and are not looked at.
type Join struct {
	Policy *policy.Policy // expanded and valid
	Facts  host.Facts

	PidFD      int    // pidfd of a process inside
	Namespaces uint64 // CLONE_NEW* of those that are not the caller's own, setns(2)
	RootFD     int    // directory that is that process's root; -1: that of its mount namespace

	// Landlock is what the sandbox's own command was given, see Plan.
	Landlock []LandlockPath

	Filter      []unix.SockFilter
	FilterFlags uint
	InitFilter  []unix.SockFilter // of the watcher

	ExtraFiles int
	StatusFD   int
	ControlFD  int   // -1: none
	EntryFDs   []int // v1 `tasks` (or cgroup.procs) to write 0 to
	CgroupFD   int   // for CLONE_INTO_CGROUP; -1: none
	Terminal   [3]bool

	// Outlive lets the command go on when its supervisor has ended.
	Outlive bool

	// Image makes an image that needs no supervisor, and has no descriptors but its own: PidFD,
	// RootFD, EntryFDs, CgroupFD and StatusFD mean nothing then.
	Image *JoinImage
}

// procFile is a file in /proc of the process inside, for an image.
func (j *Join) procFile(name string) string { return "/proc/" + strconv.Itoa(j.Image.PID) + "/" + name }

func (j *Join) entersPID() bool { return j.Namespaces&unix.CLONE_NEWPID != 0 }

// joined are the namespaces in the order in which setns(2) enters them.
var joined = [...]Const{cNewUser, cNewNS, cNewUTS, cNewIPC, cNewPID, cNewCgroup, cNewNet, cNewTime}

// CompileJoin makes the plan. Two processes carry it out: the watcher enters
// everything, makes the command, which is the first process that is in the pid
// namespace, and waits for it. The watcher is the command's parent, so that the
// sandbox can end whatever the supervisor does: a namespace's pid 1 is gone only when all
// that were in it are waited for, and a supervisor can be stopped (Ctrl-Z).
func CompileJoin(j *Join) (*Plan, error) {
	p := j.Policy.Clone()
	p.Init = true // the watcher's part is pid 1's
	p.Unshare.User = j.Namespaces&unix.CLONE_NEWUSER != 0
	p.Unshare.PID = j.entersPID()
	p.Unshare.Mount = true
	p.Unshare.Time = false // CLONE_VM is no trouble: the namespace is entered, not made
	in := &Input{
		Policy: p, Facts: j.Facts, Filter: j.Filter, FilterFlags: j.FilterFlags, InitFilter: j.InitFilter,
		ExtraFiles: j.ExtraFiles, StatusFD: j.StatusFD, ControlFD: j.ControlFD,
		EntryFDs: j.EntryFDs, CgroupFD: j.CgroupFD, HasCgroup: len(j.EntryFDs) > 0 || j.CgroupFD >= 0, Terminal: j.Terminal,
	}
	if j.Image != nil {
		in.StatusFD, in.ControlFD, in.CgroupFD, in.ExtraFiles = PreludeStatusFD, -1, -1, 0
		in.Standalone = &Standalone{InPlace: &InPlace{ReadFD: PreludeReadFD, ExeFD: PreludeExeFD, Prelude: &Prelude{}}}
	}
	b := newBuilder(in)
	b.join = j
	b.suppliedFDs()
	if !j.Facts.CloseRange {
		return nil, &Error{Setting: "this kernel", Why: "it has no system call close_range", Fix: "use Linux 5.9 or later"}
	}
	if j.Image != nil {
		if err := j.checkImage(); err != nil {
			return nil, err
		}
		b.becomeJoin()
	}
	b.enterSandbox()
	b.joinSession()
	b.joinCommand()
	b.settle()
	b.wait()
	b.reportFatal()
	for i := range b.p.Steps {
		if b.p.Steps[i].Process == Init {
			b.p.Steps[i].Process = Watcher
		}
	}
	if b.vars > MaxVars {
		return nil, &Error{Setting: "policy", Why: "more values are alive at once than a launcher image holds", Fix: "this is a defect of Cloche: please report it"}
	}
	return b.p, nil
}

// checkImage refuses what would depend on more than an image looks at.
func (j *Join) checkImage() error {
	im, why := j.Image, ""
	switch {
	case j.Outlive || j.Terminal != [3]bool{} || j.ExtraFiles != 0:
		why = "it starts plain commands alone"
	case j.Namespaces&unix.CLONE_NEWUSER == 0 && j.Facts.CapEff&(1<<unix.CAP_SETPCAP) == 0:
		// Whoever has the capability when the image runs would keep what it leaves.
		why = "its maker may not drop capabilities"
	case len(im.Cgroups) > maxJoinText-1 || len(im.OwnCgroups) > maxJoinText-1:
		why = "the process is in too many cgroups"
	default:
		return nil
	}
	return &Error{Setting: "an image to join with", Why: why, Fix: "do without: cloche exec works all the same, a little slower"}
}

// enterSandbox is undumpable before it is where somebody could look: neither its
// memory nor its file can be opened from inside, by nobody, as both belong to the
// user namespace outside.
func (b *builder) enterSandbox() {
	j := b.join
	b.begin(Step{Process: Watcher, Name: "protect the watcher"})
	if j.Image == nil { // else the launcher has done so
		b.op(SysRtSigprocmask, named("SIG_BLOCK", unix.SIG_BLOCK), Ref(words("~[]", ^uint64(0))), Ref(b.oldMask), Num(8))
	}
	b.op(SysPrctl, named("PR_SET_DUMPABLE", unix.PR_SET_DUMPABLE), Num(0), Num(0), Num(0), Num(0))
	b.op(SysPrctl, named("PR_SET_NAME", unix.PR_SET_NAME), b.str("cloche"))
	b.op(SysUmask, Num(0)).to(b.umask)
	if !b.policy.Unshare.PID {
		b.op(SysGetppid).to(b.outside)
	}
	if b.policy.Unshare.User && (b.has(unix.CAP_SETGID) || j.Image != nil) {
		b.op(SysSetgroups, Num(0), null).on(int(unix.EPERM), Following) // see launcher
	}

	b.begin(Step{Process: Watcher, Name: "enter the namespaces", Kind: KindJoin})
	// One call for all: the kernel looks at what the caller may do in each before it
	// enters any, and goes by the user namespace among them where that decides. The
	// cgroup namespace comes when a cgroup is entered, if one is: from inside it, the
	// caller's own would not be seen.
	var flags []Const
	for _, c := range joined {
		if j.Namespaces&constants[c].value != 0 && (c != cNewCgroup || !b.in.HasCgroup) {
			flags = append(flags, c)
		}
	}
	if len(flags) > 0 {
		b.op(SysSetns, b.joinFD.pid, Flags(flags...))
	}
	if j.RootFD >= 0 || j.Image != nil {
		b.op(SysFchdir, b.joinFD.root)
		b.op(SysChroot, b.str("."))
	}
	if !j.Outlive {
		// New credentials have forgotten it.
		b.op(SysPrctl, named("PR_SET_PDEATHSIG", unix.PR_SET_PDEATHSIG), named("SIGKILL", uint64(unix.SIGKILL)))
	}
}

// joinSession is the watcher's: it leads it, so that the command, which has a group of
// its own, can be stopped and go on.
func (b *builder) joinSession() {
	b.begin(Step{Process: Watcher, Name: "session"})
	b.op(SysSetsid)
	b.openTerminal()
}

// joinCommand makes the command inside and confines it as the first one.
func (b *builder) joinCommand() {
	j := b.join
	b.begin(Step{Process: Watcher, Name: "fork", Kind: KindClone})
	flags := []Const{cCloneVM, cCloneVfork}
	into := j.CgroupFD >= 0
	if j.Image != nil {
		into = j.Image.CgroupDir != nil
	}
	if into {
		f := Flags(append(flags, cCloneIntoCgroup)...)
		args := words("{flags="+f.String()+", exit_signal=SIGCHLD, cgroup=…}", f.value, 0, 0, 0, uint64(unix.SIGCHLD), 0, 0, 0, 0, 0, b.joinFD.cgroup.value)
		if j.Image != nil {
			args.Section = SetupRW
			b.op(Store, RefAt(args, 80), b.joinFD.cgroup, Num(8))
		}
		b.op(SysClone3, Ref(args), Num(88)).to(b.child)
	} else {
		b.op(SysClone, Flags(append(flags, cSigchld)...), null, null, null, null).to(b.child)
	}
	b.unlessEqual(Slot(b.child), ^uint64(0), Num(0), b.parent)
	if len(b.joinFD.entries) > 0 {
		b.begin(Step{Process: Command, Name: "enter cgroup", Kind: KindCgroup})
		for _, fd := range b.joinFD.entries {
			b.op(SysWrite, fd, b.str("0"), Num(1))
		}
	}
	if j.Namespaces&unix.CLONE_NEWCGROUP != 0 && b.in.HasCgroup {
		b.begin(Step{Process: Command, Name: "cgroup namespace", Kind: KindJoin})
		b.op(SysSetns, b.joinFD.pid, named("CLONE_NEWCGROUP", unix.CLONE_NEWCGROUP))
	}
	b.begin(Step{Process: Command, Name: "process group", Kind: KindTerminal})
	b.op(SysSetpgid, Num(0), Num(0))
	b.useTerminal()
	b.rlimits()
	b.limitCapabilities()
	b.joinIDs()
	b.chdir()
	b.dropCapabilities()
	if !j.Outlive {
		b.begin(Step{Process: Command, Name: "end with the watcher"})
		b.op(SysPrctl, named("PR_SET_PDEATHSIG", unix.PR_SET_PDEATHSIG), named("SIGKILL", uint64(unix.SIGKILL)))
	}
	b.confineCommand()
	b.exec()
}

// joinIDs changes to the ids that the policy names, where the caller has not got them
// by the id map of the user namespace that it is in now.
func (b *builder) joinIDs() {
	u := b.policy.User
	if u.Mode != policy.UserSingle && u.Mode != policy.UserRanges {
		return
	}
	b.begin(Step{Process: Command, Name: "change ids", Kind: KindIDs, Origin: b.originOf("user.mode", "user.uid")})
	if len(b.policy.Capabilities) > 0 {
		b.op(SysPrctl, named("PR_SET_KEEPCAPS", unix.PR_SET_KEEPCAPS), Num(1), Num(0), Num(0), Num(0))
	}
	// EPERM: a user namespace with one id, where groups are denied for good.
	groups := b.op(SysSetgroups, Num(0), null)
	if b.policy.Unshare.User {
		groups.on(int(unix.EPERM), Following)
	}
	b.op(SysSetresgid, Num(uint64(u.GID)), Num(uint64(u.GID)), Num(uint64(u.GID)))
	b.op(SysSetresuid, Num(uint64(u.UID)), Num(uint64(u.UID)), Num(uint64(u.UID)))
}
