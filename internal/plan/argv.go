package plan

import (
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// Argv is a command line that an image reads itself, so that no Go program has to start
// for it: a sequence of acts and some settings, as words before a command. The image carries
// out what it understands; for any other word, and where anything fails before the
// command runs, it executes the program, which begins as if there had been nothing before it.
//
// It looks at nothing beforehand: an act's source is what its name leads to when its
// turn comes. The scratch lies over /proc meanwhile, so a source that may lie there is
// the program's.
type Argv struct {
	Name    string // of the program in argv[0], and of its processes in ps(1)
	Options []ArgvOption
	Not     []string // variables of the environment that leave it to the program
}

// ArgvOption is one word and what it means.
type ArgvOption struct {
	Name    string // with its dashes
	Words   int    // that follow it
	Effect  Effect
	Act     Act               // EffectAct: all but what the words say, its Dest, and its Source before it
	Unshare policy.Namespaces // EffectUnshare
}

// Effect is what an option does.
type Effect uint8

// The effects.
const (
	EffectAct Effect = iota
	EffectUnshare
	EffectShareNet // takes it out of what EffectUnshare said
	EffectNewSession
	EffectDieWithParent
	EffectDropCapabilities // the word that follows is "ALL"
	EffectChdir
	EffectSetenv
	EffectUnsetenv
	EffectClearenv
	EffectMode // the word that follows is the mode, in octal, of what the next option makes: a directory or a tmpfs
)

// said is what a command line said, in slots: 0 or 1 where no more is noted.
type said struct {
	user, ipc, uts, pid, net, cgroup Var // the flag of clone(2)
	flags                            Var // and all of them together

	session, dies Var
	bare          Var // no capabilities
	keep          Var // the caller's are left
	mask          Var // and these are theirs

	chdir, home Var // a name; 0: none
	cwd         *Data

	mode, parents Var // of what the next act makes, and of the directories on the way
	put           Var // where the next act is noted
	dev           Var
	rootTree      Var // the host's whole tree, once it is cloned

	env  *Data // the command's environment
	text Var   // "NAME=VALUE", just put together
	top  Var   // where the next text will lie
	room *Data
}

// argv is the command line that this image reads; nil: it was made for one.
func (b *builder) argv() *Argv {
	if pre := b.prelude(); pre != nil && b.in.Sequence != nil {
		return pre.Argv
	}
	return nil
}

// when makes operations that are carried out where something was asked for: that is known
// by now, or is once the image has read its command line.
func (b *builder) when(asked bool, v Var, emit func()) {
	if b.argv() == nil {
		if asked {
			emit()
		}
		return
	}
	not := b.label()
	b.ifEqual(Slot(v), every, Num(0), not)
	emit()
	b.mark(not)
}

// ArgvManner is the Manner of a sandbox whose image reads its command line: NewSession and
// DieWithParent stand for what may be asked for.
func ArgvManner(name string) *Manner {
	return &Manner{
		Name: name, NewSession: true, DieWithParent: true, BlockFD: -1, IDsFD: -1,
		UserNamespace: -1, ThenUserNamespace: -1, PIDNamespace: -1,
	}
}

// ArgvPolicy is the policy of such a sandbox, the same way.
func ArgvPolicy() *policy.Policy {
	return &policy.Policy{
		Network: policy.NetworkPrivate, User: policy.User{Mode: policy.UserCurrent}, Seccomp: "none", Landlock: policy.LandlockOff,
		Terminal: policy.TerminalNever, Init: true, Origins: map[string]string{},
		Unshare: policy.Namespaces{User: true, Mount: true, PID: true, Net: true, IPC: true, UTS: true, Cgroup: true},
	}
}

// startArgv reads the command line, and makes the process the launcher.
func (b *builder) startArgv() {
	d := &decider{builder: b, file: b.newVar("looked-at")}
	b.asked = b.label()
	d.leave = b.asked
	b.whole, b.wholeEnv = b.newVar("arguments"), b.newVar("environment")
	b.uid, b.gid = b.newVar("uid"), b.newVar("gid")

	b.begin(Step{Process: Launcher, Name: "become the launcher"})
	b.set(b.whole, Slot(VarArgv))
	b.set(b.wholeEnv, Slot(VarEnvp))
	b.set(VarOnFatal, Target(b.asked))
	b.op(SysFcntl, Num(PreludeExeFD), named("F_SETFD", unix.F_SETFD), named("FD_CLOEXEC", unix.FD_CLOEXEC))
	b.op(SysPrctl, named("PR_SET_NAME", unix.PR_SET_NAME), b.str(b.processName())).ignoring()
	d.ownIDs()
	d.freeDescriptors()

	b.begin(Step{Process: Launcher, Name: "read the command line"})
	d.copyEnvironment()
	d.words()
	d.settings()
	b.defaultSignals()
	b.openStatus()
}

// settings is what follows from the words all together.
func (d *decider) settings() {
	s := &d.said
	root, on := d.label(), d.label()
	d.unlessEqual(Slot(s.pid), every, Num(unix.CLONE_NEWPID), d.leave)
	d.set(s.keep, Num(0))
	d.ifEqual(Slot(d.uid), every, Num(0), root)
	d.set(s.user, Num(unix.CLONE_NEWUSER))
	d.jump(on)
	d.mark(root)
	d.ifEqual(Slot(s.bare), every, Num(1), on)
	d.set(s.keep, Num(1))
	caps, high := buffer("capabilities", 24), d.tmp("high")
	d.look(SysCapget, Ref(&Data{Section: SetupRW, Bytes: capHeader.Bytes, Align: 4, Text: capHeader.Text}), Ref(caps))
	d.op(Load, RefAt(caps, 12), Num(4)).to(high)
	d.op(Load, Ref(caps), Num(4)).to(s.mask)
	d.op(Alu, Slot(high), Num(0), Num(every), Num(32), Slot(s.mask)).to(s.mask)
	d.mark(on)
	d.set(s.flags, Flags(cSigchld, cNewNS))
	for _, v := range []Var{s.pid, s.user, s.ipc, s.uts} {
		d.add(s.flags, v)
	}

	// A console would be stdout.
	next := d.label()
	d.ifEqual(Slot(s.dev), every, Num(0), next)
	d.mustFail(int(unix.ENOTTY), SysIoctl, Num(1), named("TCGETS", unix.TCGETS), Ref(buffer("termios", 64)))
	d.mark(next)
	d.startDirectory()
}

// boundCapabilities is limitCapabilities where the command line decides.
func (b *builder) boundCapabilities() {
	s := &b.said
	none, done := b.label(), b.label()
	b.ifEqual(Slot(s.keep), every, Num(0), none)
	b.ifEqual(Slot(s.user), every, Num(0), done)
	b.dropBounding(Slot(s.mask))
	b.jump(done)
	b.mark(none)
	b.bound(0)
	b.mark(done)
}
