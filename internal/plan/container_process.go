package plan

import (
	"encoding/binary"
	"strconv"

	"golang.org/x/sys/unix"
)

// ContainerProcess is the process that a container, or an exec into one, runs. Its
// arguments and environment are those that the image is started with.
type ContainerProcess struct {
	Terminal bool // a pseudo-terminal of the container's own, which also is /dev/console
	Console  bool

	UID, GID  uint32
	Groups    []uint32
	SetGroups bool // false: the user namespace has setgroups denied
	Umask     uint32
	Cwd       string

	Bounding, Effective, Inheritable, Permitted, Ambient uint64
	NoNewPrivileges                                      bool

	Rlimits []ContainerRlimit
	// LimitsOutside has the supervisor set them: a user namespace's root may
	// raise none.
	LimitsOutside bool

	Personality  *uint64
	IOPriority   *uint64 // as ioprio_set(2) has it
	SchedAttr    []byte  // struct sched_attr
	MemoryPolicy *MemoryPolicy
	Affinity     []byte // mask of sched_setaffinity(2); nil: the caller's

	Filter      []unix.SockFilter
	FilterFlags uint
	Listener    bool // the filter has one, which goes to the supervisor

	PreserveFDs int
	// Attached ends the process with its starter, which stays beside it.
	Attached bool

	// StartFD and ReportFD are the two FIFOs of a container that waits for start,
	// both open for reading and writing; 0: it does not wait.
	StartFD, ReportFD int
	// HooksFD is a socket on which whoever runs startContainer hooks connects; 0: there are none.
	HooksFD int
	// LastFD is the last number of a descriptor that is still needed when all is
	// done but for the wait; what comes after it is closed then.
	LastFD int
}

// ContainerRlimit is a resource limit, getrlimit(2).
type ContainerRlimit struct {
	Name       string // as in policy: "nofile"
	Soft, Hard uint64
}

// MemoryPolicy is that of set_mempolicy(2).
type MemoryPolicy struct {
	Mode    uint64
	Nodes   []byte
	MaxNode uint64
}

// devptsMagic is the f_type of devpts, statfs(2).
var devptsMagic = words("DEVPTS_SUPER_MAGIC", unix.DEVPTS_SUPER_MAGIC)

// howTerminal is the open_how of a devpts' ptmx.
var howTerminal = words("{flags=O_RDWR|O_NOCTTY|O_CLOEXEC, resolve=RESOLVE_IN_ROOT|RESOLVE_NO_SYMLINKS|RESOLVE_NO_MAGICLINKS}",
	unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_MAGICLINKS)

// console opens the container's terminal in its own devpts, hands the master to
// the supervisor, and shows the other end as /dev/console.
func (b *containerBuilder) console() {
	p := &b.c.Process
	if !p.Terminal {
		return
	}
	b.containerTerminal(Slot(b.root), "dev/pts/ptmx")
	if !p.Console {
		return
	}
	b.begin(Step{Process: Init, Name: "console", Kind: KindContainerDevice, Path: "/dev/console", Origin: "process.terminal"})
	tree := b.tmp("tree")
	at := b.makeInRoot("/dev/console", false, howInRoot)
	b.op(SysOpenTree, Slot(b.slave), b.str(""), Flags(cTreeClone, cTreeCloex, cEmptyPath, cRecursive)).to(tree)
	b.op(SysMoveMount, Slot(tree), b.str(""), Slot(at), b.str(""), Flags(cMoveEmpty, cMoveTEmpty))
	b.op(SysClose, Slot(at))
	b.op(SysClose, Slot(tree))
}

func (b *containerBuilder) containerTerminal(dir Arg, ptmx string) {
	b.begin(Step{Process: Init, Name: "terminal", Kind: KindTerminal, Path: "/dev/pts/ptmx", Origin: "process.terminal"})
	b.master, b.slave = b.newVar("master"), b.newVar("terminal")
	statfs := buffer("statfs", 120)
	b.op(SysOpenat2, dir, b.str(ptmx), Ref(howTerminal), Num(24)).to(b.master)
	b.op(SysFstatfs, Slot(b.master), Ref(statfs))
	b.op(Compare, Ref(statfs), Ref(devptsMagic), Num(8)) // fatal otherwise
	b.op(SysIoctl, Slot(b.master), named("TIOCSPTLCK", unix.TIOCSPTLCK), Ref(words("[0]", 0)))
	b.op(SysIoctl, Slot(b.master), named("TIOCGPTPEER", 0x5441), Flags(cRdwr, cNoctty)).to(b.slave)
	b.sendDescriptor(b.master, SentTerminal, "master")
	b.op(SysClose, Slot(b.master))
	b.ask(RecordSent)
}

// process becomes the process of the specification. What needs a capability that it
// is not to have comes before the capabilities are dropped, the filter as late
// as it can come, so that it needs to allow as little as possible.
func (b *containerBuilder) process(p *ContainerProcess) {
	b.begin(Step{Process: Command, Name: "session"})
	b.op(SysSetsid).on(int(unix.EPERM), Following) // it leads one already
	if p.Terminal {
		b.begin(Step{Process: Command, Name: "use the terminal", Kind: KindTerminal, Origin: "process.terminal"})
		for fd := range uint64(3) {
			b.op(SysDup3, Slot(b.slave), Num(fd), Num(0))
		}
		b.op(SysClose, Slot(b.slave))
		b.op(SysIoctl, Num(0), named("TIOCSCTTY", unix.TIOCSCTTY), Num(0))
	}
	b.ownStreams(p)
	b.scheduling(p)
	b.containerRlimits(p)
	b.begin(Step{Process: Command, Name: "capability bounds", Kind: KindCapabilities, Origin: "process.capabilities.bounding"})
	b.dropBounding(capsArg(p.Bounding))
	b.identity(p)
	b.begin(Step{Process: Command, Name: "close descriptors"})
	b.closeOnExec()
	filterNeedsAdmin := len(p.Filter) > 0 && !p.NoNewPrivileges
	if filterNeedsAdmin {
		// Loading a filter without no_new_privs takes CAP_SYS_ADMIN: kept until then.
		b.containerCapabilities(p, 1<<unix.CAP_SYS_ADMIN)
	} else {
		b.containerCapabilities(p, 0)
		b.ambient(p)
	}
	exe := b.findCommand()
	if p.NoNewPrivileges {
		b.begin(Step{Process: Command, Name: "no new privileges", Origin: "process.noNewPrivileges"})
		b.op(SysPrctl, named("PR_SET_NO_NEW_PRIVS", unix.PR_SET_NO_NEW_PRIVS), Num(1), Num(0), Num(0), Num(0))
	}
	if p.Listener {
		b.loadWithListener(p)
	}
	b.made(p)
	b.begin(Step{Process: Command, Name: "ready"})
	b.send(RecordReady)
	if len(p.Filter) > 0 && !p.Listener {
		b.begin(Step{Process: Command, Name: "seccomp", Kind: KindSeccomp, Origin: "linux.seccomp"})
		b.loadFilter(p.Filter, filterFlags(p.FilterFlags))
	}
	if filterNeedsAdmin {
		b.containerCapabilities(p, 0)
		b.ambient(p)
	}
	b.begin(Step{Process: Command, Name: "exec", Kind: KindExec, Origin: "process.args"})
	b.op(SysExecve, Slot(exe), Slot(VarArgv), Slot(VarEnvp))
}

// made has the supervisor keep the container. From then on this process may
// outlive it, and waits for start where it is to.
func (b *containerBuilder) made(p *ContainerProcess) {
	b.begin(Step{Process: Command, Name: "made"})
	b.ask(RecordMade)
	if !p.Attached {
		b.op(SysPrctl, named("PR_SET_PDEATHSIG", unix.PR_SET_PDEATHSIG), Num(0))
	}
	if p.StartFD == 0 {
		return
	}
	b.begin(Step{Process: Command, Name: "wait for start"})
	b.op(SysCloseRange, Num(uint64(p.LastFD+1)), Num(^uint64(0)>>32), Num(0))
	// The supervisor reads the end of its status pipe; what is to be told now is
	// for the reader of the FIFO, by the same number.
	b.op(SysDup3, Num(uint64(p.ReportFD)), Num(uint64(b.in.StatusFD)), Flags(cCloexec))
	b.waitForStart(p)
}

// ownStreams gives the standard streams to the process's user, so that it can open
// /dev/stdout and its like again. /dev/null is everybody's.
func (b *containerBuilder) ownStreams(p *ContainerProcess) {
	if p.UID == 0 {
		return
	}
	b.begin(Step{Process: Command, Name: "own the standard streams", Kind: KindContainerProcess, Origin: "process.user"})
	null := b.words(showRdev, 1|3<<32)
	for fd := range uint64(3) {
		give, next := b.label(), b.label()
		b.op(SysStatx, Num(fd), b.str(""), Flags(cEmptyPath), named("STATX_BASIC_STATS", statxBasic), Ref(b.statx)).on(int(unix.EBADF), next)
		b.op(Compare, RefAt(b.statx, statxRdev), Ref(null), Num(8)).then(next).orElse(give)
		b.mark(give)
		// Some can't be given away: on a read-only file system, or where the user
		// namespace does not know the owner.
		b.op(SysFchown, Num(fd), Num(uint64(p.UID)), Num(^uint64(0)>>32)).ignoring()
		b.mark(next)
	}
}

func (b *containerBuilder) scheduling(p *ContainerProcess) {
	step := func(name, origin string) {
		b.begin(Step{Process: Command, Name: name, Kind: KindContainerProcess, Origin: origin})
	}
	if p.Personality != nil {
		step("personality", "linux.personality")
		b.op(SysPersonality, Num(*p.Personality))
	}
	if p.IOPriority != nil {
		step("I/O priority", "process.ioPriority")
		b.op(SysIoprioSet, named("IOPRIO_WHO_PROCESS", 1), Num(0), Num(*p.IOPriority))
	}
	if len(p.SchedAttr) > 0 {
		step("scheduler", "process.scheduler")
		b.op(SysSchedSetattr, Num(0), Ref(&Data{Bytes: p.SchedAttr, Align: 8, Text: "{sched_attr}"}), Num(0))
	}
	if m := p.MemoryPolicy; m != nil {
		step("memory policy", "linux.memoryPolicy")
		nodes := null
		if len(m.Nodes) > 0 {
			nodes = Ref(&Data{Bytes: m.Nodes, Align: 8, Text: "[nodes]"})
		}
		b.op(SysSetMempolicy, Num(m.Mode), nodes, Num(m.MaxNode))
	}
	if len(p.Affinity) > 0 {
		step("CPU affinity", "process.execCPUAffinity")
		b.op(SysSchedSetaffinity, Num(0), Num(uint64(len(p.Affinity))), Ref(&Data{Bytes: p.Affinity, Align: 8, Text: "[processors]"}))
	}
}

func (b *containerBuilder) containerRlimits(p *ContainerProcess) {
	if p.LimitsOutside {
		b.begin(Step{Process: Command, Name: "resource limits", Kind: KindRlimit, Origin: "process.rlimits"})
		b.ask(RecordLimits)
		return
	}
	for i := range p.Rlimits {
		l := &p.Rlimits[i]
		b.begin(Step{Process: Command, Name: "rlimit " + l.Name, Kind: KindRlimit, Origin: "process.rlimits"})
		text := "{rlim_cur=" + limitText(l.Soft) + ", rlim_max=" + limitText(l.Hard) + "}"
		b.op(SysPrlimit64, Num(0), rlimitResource(l.Name), Ref(words(text, l.Soft, l.Hard)), null)
	}
}

// identity changes to the process's user, and enters its working directory: with
// the rights of root if they do, else with the user's.
func (b *containerBuilder) identity(p *ContainerProcess) {
	cwd := Step{Process: Command, Name: "working directory", Kind: KindCwd, Path: p.Cwd, Origin: "process.cwd"}
	b.begin(cwd)
	entered := b.newVar("entered")
	b.op(SysChdir, b.str(p.Cwd)).to(entered).orElse(Following)
	b.op(SysUmask, octal(uint64(p.Umask)))

	b.begin(Step{Process: Command, Name: "user", Kind: KindIDs, Origin: "process.user"})
	b.op(SysPrctl, named("PR_SET_KEEPCAPS", unix.PR_SET_KEEPCAPS), Num(1), Num(0), Num(0), Num(0))
	if p.SetGroups {
		if len(p.Groups) == 0 {
			b.op(SysSetgroups, Num(0), null)
		} else {
			groups := &Data{Bytes: make([]byte, 4*len(p.Groups)), Align: 4, Text: "[" + strconv.Itoa(len(p.Groups)) + " groups]"}
			for i, g := range p.Groups {
				binary.LittleEndian.PutUint32(groups.Bytes[4*i:], g)
			}
			b.op(SysSetgroups, Num(uint64(len(p.Groups))), Ref(groups))
		}
	}
	b.op(SysSetresgid, Num(uint64(p.GID)), Num(uint64(p.GID)), Num(uint64(p.GID)))
	b.op(SysSetresuid, Num(uint64(p.UID)), Num(uint64(p.UID)), Num(uint64(p.UID)))
	// A change of ids forgets it.
	b.op(SysPrctl, named("PR_SET_PDEATHSIG", unix.PR_SET_PDEATHSIG), named("SIGKILL", uint64(unix.SIGKILL)))
	b.op(SysPrctl, named("PR_SET_DUMPABLE", unix.PR_SET_DUMPABLE), Num(0), Num(0), Num(0), Num(0))

	b.begin(cwd)
	done := b.label()
	b.ifEqual(Slot(entered), ^uint64(0), Num(0), done)
	b.op(SysChdir, b.str(p.Cwd))
	b.mark(done)
	buf := buffer("cwd", 4096)
	first := b.tmp("byte")
	b.op(SysGetcwd, Ref(buf), Num(4096))
	b.op(Load, Ref(buf), Num(1)).to(first)
	b.op(Branch, Slot(first), Num(0xff), Num('/'), Num(CondEqual)) // fatal otherwise: it is not below the root
}

// containerCapabilities sets three of the sets; more is kept beside them for now.
func (b *containerBuilder) containerCapabilities(p *ContainerProcess, more uint64) {
	b.begin(Step{Process: Command, Name: "capabilities", Kind: KindCapabilities, Origin: "process.capabilities"})
	b.op(SysPrctl, named("PR_CAP_AMBIENT", unix.PR_CAP_AMBIENT), named("PR_CAP_AMBIENT_CLEAR_ALL", unix.PR_CAP_AMBIENT_CLEAR_ALL), Num(0), Num(0), Num(0)).ignoring()
	eff, perm := p.Effective|more, p.Permitted|more
	d := &Data{Bytes: make([]byte, 24), Align: 4}
	for i := 0; i < 2; i++ {
		le := binary.LittleEndian
		le.PutUint32(d.Bytes[12*i:], uint32(eff>>(32*i)))
		le.PutUint32(d.Bytes[12*i+4:], uint32(perm>>(32*i)))
		le.PutUint32(d.Bytes[12*i+8:], uint32(p.Inheritable>>(32*i)))
	}
	d.Text = "{effective=" + capText(eff) + ", permitted=" + capText(perm) + ", inheritable=" + capText(p.Inheritable) + "}"
	b.op(SysCapset, Ref(capHeader), Ref(d))
}

func (b *containerBuilder) ambient(p *ContainerProcess) {
	for c := uint64(0); c <= lastCap; c++ {
		if p.Ambient&(1<<c) != 0 {
			b.op(SysPrctl, named("PR_CAP_AMBIENT", unix.PR_CAP_AMBIENT), named("PR_CAP_AMBIENT_RAISE", unix.PR_CAP_AMBIENT_RAISE), capArg(c), Num(0), Num(0))
		}
	}
}

// loadWithListener loads the filter before the supervisor is gone, which gets the
// listener. internal/oci has made sure that the filter lets through what follows.
func (b *containerBuilder) loadWithListener(p *ContainerProcess) {
	b.begin(Step{Process: Command, Name: "seccomp, with a listener", Kind: KindSeccomp, Origin: "linux.seccomp.listenerPath"})
	b.listener = b.newVar("listener")
	b.loadFilterTo(p.Filter, filterFlags(p.FilterFlags|unix.SECCOMP_FILTER_FLAG_NEW_LISTENER), b.listener)
	b.sendDescriptor(b.listener, SentListener, "listener")
	b.op(SysClose, Slot(b.listener))
	b.ask(RecordSent)
}

// findCommand is what execvp(3) would execute, as far as can be seen before: so that
// create tells of a command that is not there, and not start.
func (b *containerBuilder) findCommand() Var {
	b.begin(Step{Process: Command, Name: "find the command", Kind: KindExec, Origin: "process.args"})
	exe, result := b.newVar("exe"), b.tmp("result")
	direct, last, found, done := b.label(), b.label(), b.label(), b.label()
	var place Arg

	b.op(Load, Slot(VarArgv), Num(8)).to(exe)
	b.searchPath(exe, direct, last, func(name Arg, denied, next Label) {
		place = name
		b.executable(name).to(result).then(found).orElse(Following)
		b.ifEqual(Slot(result), ^uint64(0), errnoArg("EACCES", unix.EACCES), denied)
		b.jump(next)
	})

	b.mark(direct)
	b.mark(last)
	b.executable(Slot(exe)).then(done)
	b.mark(found)
	b.set(exe, place)
	b.mark(done)
	return exe
}

func (b *containerBuilder) executable(name Arg) opRef {
	return b.op(SysFaccessat, atFDCWD, name, named("X_OK", unix.X_OK))
}
