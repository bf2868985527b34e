package plan

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/policy"
)

// Container is a container of the OCI runtime specification of which everything is
// decided that needs a look at the host. What it holds is what its plan does, in
// this order; where a policy would be refused, internal/oci has refused it before.
//
// Unlike a sandbox of a policy it has no pid 1 of Cloche's: the process of the
// specification is pid 1, so the image that sets all up becomes it.
type Container struct {
	Facts host.Facts // the paths' facts are in Mounts and Root

	StatusFD  int
	ControlFD int
	EntryFDs  []int // v1 `tasks` files to write 0 to
	CgroupFD  int   // for CLONE_INTO_CGROUP; -1: none
	Adopt     bool  // the supervisor puts pid 1 in its cgroup
	EarlyFD   int   // the first of the numbers for trees that are cloned outside

	Join        []JoinNamespace
	New         Namespaces
	MapIDs      bool   // the supervisor writes the id maps of the new user namespace
	TimeOffsets string // for /proc/self/timens_offsets
	Loopback    bool   // in the new network namespace
	NetDevices  bool   // the supervisor moves interfaces into the network namespace

	OOMScoreAdj       *int
	OOMWherePermitted bool       // rootless: what may not be lowered stays
	ExecLabels        []ProcFile // LSM labels that the exec is to have
	Keyring           string     // name of the new session keyring; "": the caller's
	Hostname          string
	Domainname        string
	Sysctls           []ProcFile

	Root    ContainerRoot
	Mounts  []ContainerMount
	Devices []ContainerDevice
	// SetupDev gives /dev the links that programs expect.
	SetupDev      bool
	Masked        []string
	ReadOnlyPaths []string
	Cwd           string // a directory to be made where it is missing
	Hooks         bool   // the supervisor runs hooks when all is mounted
	// Held are namespaces of the container that hooks are to join, by descriptors: what may
	// not be looked at from outside, as pid 1 may not, hands them over itself. FD is where pid 1 keeps them.
	Held []JoinNamespace

	Process ContainerProcess

	// Exec runs the process in a container that is there: Join holds its namespaces, and
	// nothing is made but a terminal.
	Exec bool
}

// Namespaces are those to be made, namespaces(7).
type Namespaces struct {
	User, PID, IPC, UTS, Net, Cgroup, Time bool
}

// JoinNamespace is a namespace that is there already.
type JoinNamespace struct {
	Name string // as the specification calls it
	Type uint64 // CLONE_NEW*
	FD   int
}

// ProcFile is a file below /proc and what is written to it.
type ProcFile struct {
	Path, Text string
	Origin     string
}

// ContainerRoot is the root file system.
type ContainerRoot struct {
	Path           string // on the host, without symbolic links
	Fact           host.PathFact
	ReadOnly       bool
	Propagation    uint64 // of all mounts at the beginning: MS_SLAVE, MS_PRIVATE; 0: as they are
	PrivateParent  string // mount point that the root lies in, to be made private, where Propagation is 0
	Final          uint64 // of the root in the end: MS_SHARED, MS_UNBINDABLE …; 0: as it is
	FinalRecursive bool
	NoPivot        bool
}

// containerBuilder has what the parts of a container's plan share.
type containerBuilder struct {
	*builder
	c      *Container
	stages uint64 // that were made
}

// CompileContainer makes the plan of a container.
func CompileContainer(c *Container) (*Plan, error) {
	in := &Input{
		Policy: &policy.Policy{}, Facts: c.Facts,
		ExtraFiles: c.Process.PreserveFDs,
		StatusFD:   c.StatusFD, ControlFD: c.ControlFD,
		EntryFDs: c.EntryFDs, CgroupFD: c.CgroupFD, HasCgroup: len(c.EntryFDs) > 0,
	}
	if err := checkContainerKernel(&c.Facts); err != nil {
		return nil, err
	}
	in.Policy.Unshare.Net = c.New.Net
	in.Policy.Unshare.Cgroup = c.New.Cgroup
	if c.Loopback {
		in.Policy.Network = policy.NetworkPrivate
	}
	b := &containerBuilder{builder: newBuilder(in), c: c}
	b.launch()
	if c.Exec {
		b.joined()
	} else {
		b.inside()
		b.buildContainerRoot()
		b.finishRoot()
	}
	b.process(&c.Process)
	b.reportFatal()
	if b.vars > MaxVars {
		return nil, &Error{Setting: "config.json", Why: "more values are alive at once than a launcher image holds", Fix: "this is a defect of Cloche: please report it"}
	}
	return b.p, nil
}

func checkContainerKernel(f *host.Facts) error {
	var missing []string
	for _, c := range [...]struct {
		name  string
		there bool
	}{
		{"open_tree", f.MountAPI.OpenTree},
		{"move_mount", f.MountAPI.MoveMount},
		{"fsopen", f.MountAPI.Fsopen},
		{"fsmount", f.MountAPI.Fsmount},
		{"mount_setattr", f.MountAPI.MountSetattr},
		{"openat2", f.Openat2},
		{"close_range with CLOSE_RANGE_CLOEXEC", f.RangeOnExec},
	} {
		if !c.there {
			missing = append(missing, c.name)
		}
	}
	if len(missing) > 0 {
		return &Error{Setting: "this kernel", Why: "it lacks " + strings.Join(missing, ", "), Fix: "containers need Linux 5.12 or later; `cloche doctor` tells more"}
	}
	return nil
}

// ask tells the supervisor that it has something to do, and waits until it is
// done. A supervisor that is gone, or has failed, answers nothing.
func (b *containerBuilder) ask(kind RecordKind) {
	b.send(kind)
	n := b.tmp("n")
	on := b.label()
	b.op(SysRead, Num(uint64(b.c.ControlFD)), Ref(buffer("go", 8)), Num(1)).to(n).retryOn(int(unix.EINTR))
	b.ifEqual(Slot(n), ^uint64(0), Num(1), on)
	b.op(SysExitGroup, Num(125)) // it has said why
	b.mark(on)
}

// joins reports whether a namespace of one of the kinds is joined.
func (c *Container) joins(kinds uint64) bool {
	for i := range c.Join {
		if c.Join[i].Type&kinds != 0 {
			return true
		}
	}
	return false
}

// cgroupFirst: a process that has joined another user or cgroup namespace may not
// be able to put a child into a cgroup outside of it, so it is put there before.
func (c *Container) cgroupFirst() bool {
	return c.CgroupFD >= 0 && c.joins(unix.CLONE_NEWUSER|unix.CLONE_NEWCGROUP)
}

// Stages is the number of processes that the image makes one after the other: the
// last is the container's, and each tells the supervisor the next one's pid.
func (c *Container) Stages() int {
	n := 1
	if c.cgroupFirst() {
		n++
	}
	if c.userFirst() {
		n++
	}
	return n
}

// MapStage is the one of them, counted from 0, that asks for its id maps.
func (c *Container) MapStage() int {
	if c.userFirst() {
		return c.Stages() - 2
	}
	return c.Stages() - 1
}

// userFirst: a time namespace is made by unshare(2), so a process has to be in the user
// namespace that it is to belong to. All others are made together with theirs.
func (c *Container) userFirst() bool { return c.New.User && c.New.Time }

// launch is the part outside: it clones what only the caller may, joins the
// namespaces that are there, and makes the others together with pid 1.
func (b *containerBuilder) launch() {
	c := b.c
	b.begin(Step{Process: Launcher, Name: "start"})
	b.op(SysPrctl, named("PR_SET_PDEATHSIG", unix.PR_SET_PDEATHSIG), named("SIGKILL", uint64(unix.SIGKILL)))
	b.cloneOutside()
	into := c.CgroupFD >= 0
	if c.cgroupFirst() {
		b.begin(Step{Process: Launcher, Name: "cgroup", Kind: KindCgroup, Origin: "linux.cgroupsPath"})
		b.cloneChild([]Const{cCloneParent}, true)
		into = false
		b.dieWithSupervisor()
	}
	if c.Exec {
		b.enterCgroup() // by descriptors that were opened outside
		b.procWrites()
		// Before it joins: else a process inside could attach to it.
		b.op(SysPrctl, named("PR_SET_DUMPABLE", unix.PR_SET_DUMPABLE), Num(0), Num(0), Num(0), Num(0))
	}
	b.join(c.Join)
	if c.userFirst() {
		b.begin(Step{Process: Launcher, Name: "user namespace", Kind: KindClone, Origin: "linux.namespaces"})
		b.cloneChild([]Const{cCloneParent, cNewUser}, into)
		b.mapIDs(Launcher)
		into = false
	} else if c.joins(unix.CLONE_NEWUSER) {
		b.becomeRoot(Launcher)
	}
	if c.New.Time {
		b.begin(Step{Process: Launcher, Name: "time namespace", Kind: KindClone, Origin: "linux.namespaces"})
		b.op(SysUnshare, named("CLONE_NEWTIME", unix.CLONE_NEWTIME))
		if c.TimeOffsets != "" {
			b.writeProc(ProcFile{"self/timens_offsets", c.TimeOffsets, "linux.timeOffsets"}, false)
		}
	}
	b.begin(Step{Process: Launcher, Name: "namespaces", Kind: KindClone, Origin: "linux.namespaces"})
	flags := []Const{cCloneParent}
	for _, f := range [...]struct {
		on bool
		c  Const
	}{{c.New.User && !c.userFirst(), cNewUser}, {!c.Exec, cNewNS}, {c.New.PID, cNewPID}, {c.New.IPC, cNewIPC}, {c.New.UTS, cNewUTS}} {
		if f.on {
			flags = append(flags, f.c)
		}
	}
	b.cloneChild(flags, into)
	if c.New.User && !c.userFirst() {
		b.mapIDs(Init)
	}
}

func (b *containerBuilder) dieWithSupervisor() {
	b.op(SysPrctl, named("PR_SET_PDEATHSIG", unix.PR_SET_PDEATHSIG), named("SIGKILL", uint64(unix.SIGKILL)))
}

// cloneChild makes a process in which the plan goes on, tells the supervisor its
// pid, and is gone. It lies in its cgroup from the beginning when it is to.
func (b *containerBuilder) cloneChild(flags []Const, intoCgroup bool) {
	pid := b.tmp("init")
	inside := b.label()
	if intoCgroup && b.in.CgroupFD >= 0 {
		f := Flags(append(flags, cCloneIntoCgroup)...)
		// With CLONE_PARENT the signal is the launcher's own, and must be 0 here.
		args := words("{flags="+f.String()+", cgroup=…}", f.value, 0, 0, 0, 0, 0, 0, 0, 0, 0, uint64(b.in.CgroupFD))
		b.op(SysClone3, Ref(args), Num(88)).to(pid)
	} else {
		b.op(SysClone, Flags(append(flags, cSigchld)...), null, null, null, null).to(pid)
	}
	b.ifEqual(Slot(pid), ^uint64(0), Num(0), inside)
	// Its maker may be slower than itself with the next: the number is their order.
	b.send(RecordPID, Slot(pid), Num(b.stages))
	b.stages++
	b.op(SysExitGroup, Num(0))
	b.mark(inside)
}

// mapIDs is what the first process in a new user namespace waits for, to be its root.
func (b *containerBuilder) mapIDs(process Process) {
	b.begin(Step{Process: process, Name: "wait for id maps", Kind: KindIDs, Origin: "linux.uidMappings"})
	b.dieWithSupervisor()
	b.ask(RecordIDMaps)
	b.becomeRoot(process)
	// The change of ids made it undumpable, and its files in /proc the host root's;
	// nothing from outside of this set-up can reach it yet.
	b.op(SysPrctl, named("PR_SET_DUMPABLE", unix.PR_SET_DUMPABLE), Num(1), Num(0), Num(0), Num(0))
}

// becomeRoot is uid 0 of the user namespace that the process is in.
func (b *containerBuilder) becomeRoot(process Process) {
	b.begin(Step{Process: process, Name: "become root of the user namespace", Kind: KindIDs, Origin: "linux.uidMappings"})
	b.op(SysSetresgid, Num(0), Num(0), Num(0))
	// EPERM: a rootless container, whose map has setgroups denied.
	b.op(SysSetgroups, Num(0), null).on(int(unix.EPERM), Following)
	b.op(SysSetresuid, Num(0), Num(0), Num(0))
	b.op(SysPrctl, named("PR_SET_PDEATHSIG", unix.PR_SET_PDEATHSIG), named("SIGKILL", uint64(unix.SIGKILL)))
}

// inside is what pid 1 does before it touches a file system: the order is the
// security of it, as in [builder.init].
func (b *containerBuilder) inside() {
	c := b.c
	b.begin(Step{Process: Init, Name: "protect pid 1"})
	b.dieWithSupervisor()
	b.op(SysPrctl, named("PR_SET_NAME", unix.PR_SET_NAME), b.str("cloche"))
	b.startNetwork()
	if c.Adopt {
		b.begin(Step{Process: Init, Name: "wait for the cgroup", Kind: KindCgroup, Origin: "linux.cgroupsPath"})
		b.ask(RecordAdopt)
	}
	b.enterCgroup()
	b.procWrites()
	b.begin(Step{Process: Init, Name: "protect pid 1"})
	b.op(SysPrctl, named("PR_SET_DUMPABLE", unix.PR_SET_DUMPABLE), Num(0), Num(0), Num(0), Num(0))
	if c.Keyring != "" {
		b.begin(Step{Process: Init, Name: "session keyring", Kind: KindKeyring, Origin: "--no-new-keyring leaves it out"})
		// ENOSYS: a kernel without keys has none to keep apart.
		b.op(SysKeyctl, named("KEYCTL_JOIN_SESSION_KEYRING", unix.KEYCTL_JOIN_SESSION_KEYRING), b.str(c.Keyring)).on(int(unix.ENOSYS), Following)
	}
	if c.Hostname != "" {
		b.begin(Step{Process: Init, Name: "hostname", Kind: KindHostname, Origin: "hostname"})
		b.op(SysSethostname, b.str(c.Hostname), Num(uint64(len(c.Hostname))))
	}
	if c.Domainname != "" {
		b.begin(Step{Process: Init, Name: "domainname", Kind: KindHostname, Origin: "domainname"})
		b.op(SysSetdomainname, b.str(c.Domainname), Num(uint64(len(c.Domainname))))
	}
	b.enterNetwork()
	if c.NetDevices { // sysctls may be about them
		b.begin(Step{Process: Init, Name: "network interfaces", Origin: "linux.netDevices"})
		b.ask(RecordNetDevices)
	}
	for _, f := range c.Sysctls {
		b.writeProc(f, false)
	}
}

// joined is a process in a container that is there. Everything in it is seen as
// hostile: nothing of it is opened but the terminal's devpts.
func (b *containerBuilder) joined() {
	b.begin(Step{Process: Init, Name: "protect the process"})
	b.dieWithSupervisor()
	b.op(SysPrctl, named("PR_SET_DUMPABLE", unix.PR_SET_DUMPABLE), Num(0), Num(0), Num(0), Num(0))
	b.op(SysPrctl, named("PR_SET_NAME", unix.PR_SET_NAME), b.str("cloche"))
	if b.c.Keyring != "" {
		b.begin(Step{Process: Init, Name: "session keyring", Kind: KindKeyring, Origin: "--no-new-keyring leaves it out"})
		b.op(SysKeyctl, named("KEYCTL_JOIN_SESSION_KEYRING", unix.KEYCTL_JOIN_SESSION_KEYRING), b.str(b.c.Keyring)).on(int(unix.ENOSYS), Following)
	}
	b.op(SysOpenat, atFDCWD, b.str("/"), named("O_PATH|O_DIRECTORY|O_CLOEXEC", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC), Num(0)).to(b.root)
	b.console()
}

// procWrites are those to files of the process itself. They come before it is
// undumpable, which gives these files to root outside.
func (b *containerBuilder) procWrites() {
	if a := b.c.OOMScoreAdj; a != nil {
		b.writeProc(ProcFile{"self/oom_score_adj", strconv.Itoa(*a), "process.oomScoreAdj"}, b.c.OOMWherePermitted)
	}
	for _, f := range b.c.ExecLabels {
		b.writeProc(f, false)
	}
}

// writeProc writes to a file of the host's procfs, which is made sure to be one.
func (b *containerBuilder) writeProc(f ProcFile, tolerant bool) {
	b.begin(Step{Process: Init, Name: "write /proc/" + f.Path, Kind: KindContainerProcess, Path: "/proc/" + f.Path, Origin: f.Origin})
	proc, fd := b.tmp("proc"), b.tmp("file")
	b.openProc(proc)
	b.op(SysOpenat2, Slot(proc), b.str(f.Path), Ref(howInProc), Num(24)).to(fd)
	w := b.op(SysWrite, Slot(fd), b.str(f.Text), Num(uint64(len(f.Text))))
	if tolerant {
		w.on(int(unix.EACCES), Following)
	}
	b.op(SysClose, Slot(fd))
	b.op(SysClose, Slot(proc))
}
