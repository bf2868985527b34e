package plan

import (
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/policy"
)

// Prelude is an image that stands in front of the Go program in the executable of
// `cloche` itself and begins where the kernel enters it. It carries out a plain
// `cloche run -- CMD`, under the policy that it was made for, before there is a Go
// runtime; everything else, and whatever it is not sure of, it leaves to the
// program, which begins as if there had been nothing before it. For bubblewrap's command line
// there may be a second program in the file, which is smaller than the whole and begins sooner.
//
// So it never decides anything that the program would decide otherwise. It was
// made on this host, by the same rules; what it took for granted then it looks at
// again. The working directory, the ids, the environment and the cgroup are those
// of the caller.
//
// A process that makes a sandbox may not execute a file of the host's: a script for
// whose interpreter somebody wrote /proc/self/exe would execute that file inside,
// through a mount that is none of the sandbox's (CVE-2019-5736). So when it has decided to stay
// the image executes itself from a sealed memory file, and there, where no
// program is behind it, looks at everything once more and goes on.
type Prelude struct {
	Entry     uint64 // of the program
	Beside    uint64 // of a second one, for bubblewrap's command line; 0: the program has that too
	Argv      *Argv  // that command line, as far as an image reads it itself; nil: none does
	ArgvAt    uint64 // address of that image, which lies in the file as well
	ArgvLen   uint64
	Hierarchy Hierarchy
}

// WorkingDirectory stands in a prelude's policy for the caller's.
const WorkingDirectory = "/$PWD"

// The descriptors of a prelude: cloche itself, and the status pipe. They are free, or
// it leaves: the last for which the kernel's table of a process need not grow.
const (
	PreludeExeFD    = 61
	PreludeReadFD   = 62
	PreludeStatusFD = 63
)

// prelude is set when the image is one.
func (b *builder) prelude() *Prelude {
	if in := b.inPlace(); in != nil {
		return in.Prelude
	}
	return nil
}

// checkPrelude refuses what would need a look at more than a prelude looks at.
func (b *builder) checkPrelude() error {
	pre := b.prelude()
	if pre == nil {
		return nil
	}
	refuse := func(why string) error {
		return &Error{Setting: "prelude", Why: why, Fix: "do without: cloche runs all the same, a little slower"}
	}
	f := b.in.Facts
	switch {
	case !f.MountAPI.MountSetattr || !f.RangeOnExec || f.LandlockABI == 0:
		return refuse("this kernel lacks mount_setattr (5.12), CLOSE_RANGE_CLOEXEC (5.11) or Landlock (5.13)")
	case b.policy.User.Mode != policy.UserCurrent && b.policy.User.Mode != policy.UserRoot:
		return refuse("it maps the caller's ids alone")
	case b.policy.Env.Inherit:
		return refuse("the policy passes on every variable")
	case !b.policy.Init || !b.policy.Unshare.PID || !b.policy.Unshare.User || !b.policy.Unshare.Mount:
		return refuse("the policy shares a namespace that the set-up needs, or has no init")
	}
	for path, fact := range f.Paths {
		switch {
		case !fact.Exists && fact.Err != "ENOENT":
			return refuse(path + " can't be looked at: " + fact.Err)
		case fact.Link != "" && fact.Real == "":
			return refuse(path + " is a link that leads nowhere")
		}
	}
	return nil
}

// startPrelude decides whether this start is one that the prelude was made for,
// with calls that change nothing, and makes the process the launcher if so.
func (b *builder) startPrelude() {
	pre := b.prelude()
	d := &decider{builder: b, leave: b.label(), file: b.newVar("looked-at"), exe: b.newVar("exe"), behind: b.newVar("program")}
	b.asked = b.label()
	b.whole, b.wholeEnv = b.newVar("arguments"), b.newVar("environment")
	b.uid, b.gid = b.newVar("uid"), b.newVar("gid")
	stay, exec := b.label(), b.label()

	b.begin(Step{Process: Launcher, Name: "is the program behind this?"})
	b.set(d.file, Int(-1))
	b.set(d.exe, Int(-1))
	d.extra = []Var{b.newVar("records"), b.newVar("record")}
	for _, v := range d.extra {
		b.set(v, Int(-1))
	}
	b.set(b.whole, Slot(VarArgv))
	b.set(b.wholeEnv, Slot(VarEnvp))
	d.programBehind(pre.Entry)
	b.begin(Step{Process: Launcher, Name: "by which name?"})
	d.byName(pre.Beside)
	b.begin(Step{Process: Launcher, Name: "a plain cloche run?"})
	command := b.newVar("command line")
	d.plainRun(command, exec)
	d.plainCaller()
	b.begin(Step{Process: Launcher, Name: "the host that it was made for?"})
	d.sameHost()
	b.begin(Step{Process: Launcher, Name: "a working directory to show?", Origin: b.policy.Origins["cwd"]})
	d.workingDirectory()
	if pre.Hierarchy.Version != 0 {
		b.begin(Step{Process: Launcher, Name: "the caller's cgroup", Kind: KindCgroup, Origin: b.policy.Origins["limits.pids"]})
		d.callersCgroup(&pre.Hierarchy)
	}
	b.begin(Step{Process: Launcher, Name: "environment", Kind: KindExec, Origin: b.originOf("env.keep", "env.set")})
	d.sortedEnvironment()
	b.ifEqual(Slot(d.behind), ^uint64(0), Num(0), stay)
	b.begin(Step{Process: Launcher, Name: "execute this from a sealed memory file"})
	d.executeSealed()
	b.mark(exec)
	d.plainExec()

	b.begin(Step{Process: Launcher, Name: "leave it to the program"})
	b.mark(d.leave)
	b.ifEqual(Slot(d.behind), ^uint64(0), Num(0), b.asked)
	b.op(SysClose, Slot(d.file)).ignoring()
	b.op(SysClose, Slot(d.exe)).ignoring()
	d.closeExtra()
	b.op(Enter, named(hexText(pre.Entry), pre.Entry))

	b.begin(Step{Process: Launcher, Name: "become the launcher"})
	b.mark(stay)
	b.set(VarOnFatal, Target(b.asked))
	b.op(SysPrctl, named("PR_SET_NAME", unix.PR_SET_NAME), b.str("cloche")).ignoring()
	b.set(VarArgv, Slot(command))
	b.defaultSignals()
	b.openStatus()
}

// openStatus makes the status pipe.
func (b *builder) openStatus() {
	pipe, fd := buffer("status", 8), b.tmp("file")
	how := Flags(cCloexec, cNonblock)
	if b.in.Manner != nil {
		how = Flags(cCloexec) // the launcher waits for what comes by it
	}
	b.op(SysPipe2, Ref(pipe), how)
	for i, to := range [...]uint64{PreludeReadFD, PreludeStatusFD} {
		b.op(Load, RefAt(pipe, 4*i), Num(4)).to(fd)
		b.op(SysDup3, Slot(fd), Num(to), Flags(cCloexec))
		b.op(SysClose, Slot(fd))
	}
}

func hexText(n uint64) string { return "0x" + strconv.FormatUint(n, 16) }

// defaultSignals gives signals that the caller ignores their default action, as the
// Go runtime does before it executes an image: all but those that a shell or
// nohup(1) means its jobs to ignore, and those that nobody can set or C libraries use.
func (b *builder) defaultSignals() {
	var keep uint64
	for _, s := range [...]unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGCONT, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGKILL, unix.SIGSTOP, 32, 34} {
		keep |= 1 << s
	}
	s, kept := b.tmp("signal"), b.tmp("kept")
	next := b.label()
	b.set(s, Num(1))
	loop := b.here()
	b.op(Alu, Num(keep), Slot(s), Num(1), Num(0), Num(0)).to(kept)
	b.unlessEqual(Slot(kept), ^uint64(0), Num(0), next)
	b.op(SysRtSigaction, Slot(s), Ref(&Data{Bytes: make([]byte, 32), Align: 8, Text: "{SIG_DFL}"}), null, Num(8)).ignoring()
	b.mark(next)
	b.advance(s, 1)
	b.op(Branch, Slot(s), Num(^uint64(0)), Num(65), Num(CondLess)).then(loop).orElse(Following)
}

// neverTwice: once there is a pid 1 the command may run, so a failure of the
// launcher is no reason to have the program start it. None is to be expected.
func (b *builder) neverTwice(pid Var) {
	lost, on := b.label(), b.label()
	b.set(VarOnFatal, Target(lost))
	b.jump(on)
	b.mark(lost)
	const text = "cloche: the launcher failed while the command ran, and ended it; please report this\n"
	b.op(SysWrite, Num(2), b.str(text), Num(uint64(len(text)))).ignoring()
	b.op(SysKill, Slot(pid), named("SIGKILL", uint64(unix.SIGKILL))).ignoring()
	b.op(SysWait4, Slot(pid), null, Num(0), null).ignoring()
	b.removeCgroup()
	b.op(SysExitGroup, Num(125))
	b.mark(on)
}

// PreludeFacts adds to facts what a prelude takes for granted of the working directory.
func PreludeFacts(f *host.Facts) {
	f.Paths[WorkingDirectory] = host.PathFact{Exists: true, Mode: unix.S_IFDIR | 0o755, Real: WorkingDirectory}
}
