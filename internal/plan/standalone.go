package plan

import (
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// Standalone is an image that runs without a supervisor: an executable made by
// `cloche build`, or `cloche run` itself once it has become its image. The
// launcher does not vanish then; it stays outside as the command's face to the
// caller, passes signals on, and ends as the command ends.
type Standalone struct {
	Command []string // argv of the command; arguments given to the executable follow
	InPlace *InPlace // instead: the image is executed by `cloche run` in its own place
}

// InPlace is what the launcher of an image executed in place needs. The process
// costs no more than the image then: no Go program waits beside it.
type InPlace struct {
	ArgvSkip int      // how many of the arguments come before the command
	ReadFD   int      // read end of the status pipe, non-blocking
	ExeFD    int      // the program that explains failures, executed with ExplainVariable set
	Env      []string // its environment
	Remove   []string // cgroup directories, removed at the end
	Tell     bool     // the program is executed at every end, to write down how it was

	// CPUTimeFD is the file that tells the CPU time of the cgroup, which CPUs processors can use
	// up; of a policy without such a limit they mean nothing.
	CPUTimeFD, CPUs int

	// Prelude: the image begins in the place of the program, which has not found out
	// any of this; ArgvSkip, Env and Remove mean nothing then.
	Prelude *Prelude
}

// ExplainVariable tells the program at ExeFD what to explain, as
// "OPERATION:ERRNO:EXITCODE:PID". OPERATION is the image's; 0:0 when none failed.
const ExplainVariable = "CLOCHE_EXPLAIN"

// ToldBase is added to the command's exit code in a report that was asked for by Tell, so
// that one of 0 is told apart from none; twice, where the wall time was over, and three times,
// where the CPU time was.
const ToldBase = 256

// Descriptors of a standalone image. The launcher closes all but 0, 1 and 2 at
// its start, so what it opens first has fixed numbers.
const (
	lifelineFD = 3 // read end of a pipe; its end of file is the launcher's end
	keepFD     = 4 // write end, the launcher's own
)

// NeedsSupervisor names what a policy asks for that only a supervisor can do,
// or returns nil.
func NeedsSupervisor(p *policy.Policy) error {
	refuse := func(setting, key, why string) error {
		return &Error{Setting: setting, Origin: p.Origins[key], Why: why, Fix: "leave it out, or use `cloche run`"}
	}
	switch {
	case p.Terminal == policy.TerminalAlways:
		return refuse("terminal", "terminal", "an executable has no supervisor to pass a pseudo-terminal's data on")
	case p.Output > 0:
		return refuse("max-output", "max-output", "an executable has no supervisor to count output")
	case p.User.Mode == policy.UserRanges:
		return refuse("user ranges", "user.mode", "id ranges are mapped by newuidmap, which a supervisor has to run")
	}
	return nil
}

// startStandalone is the launcher's part before the namespaces: descriptors
// with known numbers, arguments, environment.
func (b *builder) startStandalone() {
	b.begin(Step{Process: Launcher, Name: "descriptors"})
	fd := b.tmp("fd")
	b.op(SysCloseRange, Num(3), Num(^uint64(0)>>32), Num(0))
	// 0, 1 and 2 must exist, else something of ours would become the command's.
	loop := b.here()
	b.op(SysOpenat, atFDCWD, b.str("/dev/null"), Flags(cRdwr, cCloexec), Num(0)).to(fd)
	b.op(Branch, Slot(fd), Num(^uint64(0)), Num(3), Num(CondLess)).then(loop).orElse(Following)
	b.op(SysClose, Slot(fd))
	b.op(SysPipe2, Ref(buffer("lifeline", 8)), Flags(cCloexec))
	// In the new user namespace nobody has these ids until they are mapped.
	b.uid, b.gid = b.newVar("uid"), b.newVar("gid")
	b.op(SysGetuid).to(b.uid)
	b.op(SysGetgid).to(b.gid)

	b.begin(Step{Process: Launcher, Name: "arguments", Kind: KindExec})
	b.arguments()
	b.begin(Step{Process: Launcher, Name: "environment", Kind: KindExec, Origin: b.originOf("env.keep", "env.set")})
	b.environment()
}

// maxPointers bounds argv and envp each: more than fit in the kernel's own
// limit of arguments (a quarter of an 8 MiB stack) at a sensible length.
const maxPointers = 1 << 16

// arguments puts the command's argv before what the executable was given.
func (b *builder) arguments() {
	argv := &Data{Section: SetupRW, Size: 8 * (maxPointers + 1), Align: 8, Text: "argv"}
	at, from, p := b.tmp("at"), b.tmp("from"), b.tmp("pointer")
	all := Num(^uint64(0))
	b.set(at, Ref(argv))
	for _, a := range b.in.Standalone.Command {
		b.op(Store, Slot(at), b.str(a), Num(8))
		b.advance(at, 8)
	}
	// Past argv[0], the executable's own name. An empty argv has none.
	end := b.label()
	b.set(from, Slot(VarArgv))
	b.ifEqual(Slot(VarArgc), ^uint64(0), Num(0), end)
	b.advance(from, 8)
	loop := b.here()
	b.op(Load, Slot(from), Num(8)).to(p)
	b.op(Branch, Slot(at), all, RefAt(argv, 8*maxPointers), Num(CondLess)).orElse(b.tooMany())
	b.op(Store, Slot(at), Slot(p), Num(8))
	b.advance(at, 8)
	b.advance(from, 8)
	b.unlessEqual(Slot(p), ^uint64(0), Num(0), loop)
	b.mark(end)
	b.set(VarArgv, Ref(argv))
}

func (b *builder) advance(v Var, n uint64) {
	b.op(Alu, Slot(v), Num(0), Num(^uint64(0)), Num(0), Num(n)).to(v)
}

// tooMany is where more pointers than there is room for lead: an E2BIG that an
// operation of the running step reports.
func (b *builder) tooMany() Label {
	if b.e2big == 0 {
		b.e2big = b.label()
	}
	return b.e2big
}

// environment applies the policy's rules to the environment the executable was
// started with: kept variables, then those that the policy sets.
func (b *builder) environment() {
	e := &b.policy.Env
	envp := &Data{Section: SetupRW, Size: 8 * (maxPointers + 1), Align: 8, Text: "envp"}
	at, from, p := b.tmp("at"), b.tmp("from"), b.tmp("pointer")
	keep, end := b.label(), b.label()
	match := func(name string, l Label) {
		// "NAME=" or, for NAME*, the beginning alone.
		want, ok := strings.CutSuffix(name, "*")
		if !ok {
			want += "="
		}
		b.op(Compare, Slot(p), b.str(want), Num(uint64(len(want)))).then(l).orElse(Following)
	}
	b.set(at, Ref(envp))
	b.set(from, Slot(VarEnvp))
	loop := b.here()
	b.op(Load, Slot(from), Num(8)).to(p)
	b.ifEqual(Slot(p), ^uint64(0), Num(0), end)
	b.advance(from, 8)
	names := make([]string, 0, len(e.Set))
	for n := range e.Set {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range slices.Concat(names, e.Unset) {
		match(n, loop)
	}
	if e.Inherit {
		b.jump(keep)
	}
	for _, n := range e.Keep {
		match(n, keep)
	}
	b.jump(loop)
	b.mark(keep)
	b.op(Branch, Slot(at), Num(^uint64(0)), RefAt(envp, 8*(maxPointers-len(names))), Num(CondLess)).orElse(b.tooMany())
	b.op(Store, Slot(at), Slot(p), Num(8))
	b.advance(at, 8)
	b.jump(loop)
	b.mark(end)
	for _, n := range names {
		if !slices.Contains(e.Unset, n) {
			b.op(Store, Slot(at), b.str(n+"="+e.Set[n]), Num(8))
			b.advance(at, 8)
		}
	}
	b.set(VarEnvp, Ref(envp))
}

// attend is the launcher's life outside: it passes signals on, stops and goes on
// with its caller, keeps the time limits, and ends as the command ended.
func (b *builder) attend(pid Var) {
	b.begin(Step{Process: Launcher, Name: "attend", Kind: KindWait})
	info := &Data{Section: SetupRW, Size: 128, Align: 8, Text: "siginfo"}
	status := &Data{Section: SetupRW, Size: 8, Align: 8, Text: "status"}
	sig, n, self := b.newVar("signalfd"), b.tmp("n"), b.tmp("self")
	reap, reaped, stop, loop, exited := b.label(), b.label(), b.label(), b.label(), b.label()
	var wallUp, cpuUp Label

	if in := b.in.Standalone.InPlace; in != nil {
		if in.Prelude != nil {
			b.neverTwice(pid)
		}
		b.op(SysClose, Num(uint64(b.in.StatusFD)))
	} else {
		b.op(SysClose, Num(lifelineFD))
	}
	b.op(SysSignalfd4, Int(-1), Ref(words("~[]", ^uint64(0))), Num(8), named("SFD_CLOEXEC", unix.SFD_CLOEXEC)).to(sig)
	if in := b.inPlace(); in != nil && b.policy.Time != (policy.TimeLimits{}) {
		b.overtime = b.newVar("overtime")
		b.set(b.overtime, Num(0))
		if b.policy.Time.CPU > 0 {
			b.cpuFD = b.newVar("cputime")
			b.set(b.cpuFD, Num(uint64(in.CPUTimeFD)))
		}
	}
	if w := b.policy.Time.Wall; w > 0 {
		wallUp = b.label()
		b.op(SysSetitimer, named("ITIMER_REAL", 0), Ref(timerValue(w)), null)
	}
	if in := b.in.Standalone.InPlace; in != nil && in.Tell {
		// It may wait for days.
		first := len(b.p.Ops)
		b.op(SysMunmap, RegionArg(SetupROAddress), RegionArg(SetupROLength)).ignoring()
		defer func() { b.keepResident(first) }()
	}
	poll := &Data{Section: SetupRW, Bytes: make([]byte, 8), Align: 8, Text: "[{signalfd, POLLIN}]"}
	poll.Bytes[4] = unix.POLLIN
	b.op(Store, Ref(poll), Slot(sig), Num(4))

	timeout, pause := null, Var(0)
	if b.policy.Time.CPU > 0 {
		cpuUp, pause = b.label(), b.newVar("pause")
		timeout = Slot(pause)
		b.set(pause, Ref(timespec(shortestPause)))
	}
	b.mark(loop)
	b.op(SysPpoll, Ref(poll), Num(1), timeout, null, Num(8)).to(n).retryOn(int(unix.EINTR))
	if b.policy.Time.CPU > 0 {
		b.checkCPU(cpuUp, pause)
		b.ifEqual(Slot(n), ^uint64(0), Num(0), loop)
	}
	b.op(SysRead, Slot(sig), Ref(info), Num(128)).orElse(loop)
	b.op(Load, Ref(info), Num(4)).to(n)
	b.ifEqual(Slot(n), ^uint64(0), named("SIGCHLD", uint64(unix.SIGCHLD)), reap)
	if b.policy.Time.Wall > 0 {
		b.ifEqual(Slot(n), ^uint64(0), named("SIGALRM", uint64(unix.SIGALRM)), wallUp)
	}
	b.op(SysKill, Slot(pid), Slot(n)).ignoring()
	b.ifEqual(Slot(n), ^uint64(0), named("SIGTSTP", uint64(unix.SIGTSTP)), stop)
	b.jump(loop)
	b.mark(stop)
	b.op(SysGetpid).to(self)
	b.op(SysKill, Slot(self), named("SIGSTOP", uint64(unix.SIGSTOP))).ignoring().then(loop)

	b.endInTime(pid, status, wallUp, cpuUp, reaped)

	b.mark(reap)
	b.op(SysWait4, Slot(pid), Ref(status), Flags(cWnohang), null).to(n).orElse(loop)
	b.ifEqual(Slot(n), ^uint64(0), Num(0), loop)
	b.sayMemory(status)
	b.mark(reaped)
	b.removeCgroup()
	b.op(Load, Ref(status), Num(4)).to(n)
	b.op(Alu, Slot(n), Num(8), Num(0xff), Num(0), Num(0)).to(self)
	b.ifEqual(Slot(n), 0x7f, Num(0), exited)
	b.op(Alu, Slot(n), Num(0), Num(0x7f), Num(0), Num(128)).to(self)
	b.mark(exited)
	if b.in.Standalone.InPlace != nil {
		b.explain(self)
	}
	b.op(SysExitGroup, Slot(self))
}

// keepResident has the operations from first on, and what they read, stay when the set-up's
// memory is given back.
func (b *builder) keepResident(first int) {
	copies := map[*Data]*Data{}
	var resident func(d *Data) *Data
	resident = func(d *Data) *Data {
		if d.Section != SetupRO {
			return d
		}
		if copies[d] == nil {
			c := *d // others may share it
			c.Section, c.Relocs = ResidentRO, slices.Clone(d.Relocs)
			for i := range c.Relocs {
				c.Relocs[i].To = resident(c.Relocs[i].To)
			}
			copies[d] = &c
		}
		return copies[d]
	}
	for i := first; i < len(b.p.Ops); i++ {
		op := &b.p.Ops[i]
		op.Resident = true
		for k := range op.Args {
			if a := &op.Args[k]; a.kind == argData {
				a.data = resident(a.data)
			}
		}
	}
}

// timespec is a struct timespec.
func timespec(d time.Duration) *Data {
	return words("{"+d.String()+"}", uint64(d/time.Second), uint64(d%time.Second))
}

// timerValue is a struct itimerval that fires once.
func timerValue(d time.Duration) *Data {
	return words("{it_value="+d.String()+"}", 0, 0, uint64(d/time.Second), uint64(d%time.Second/time.Microsecond))
}

// mapOwnIDs writes id maps for whoever runs the executable: the outside id is
// known only then.
func (b *builder) mapOwnIDs(proc Var) {
	n, at, fd := b.tmp("n"), b.tmp("at"), b.tmp("file")
	all := Num(^uint64(0))
	for _, m := range []struct {
		file   string
		id     Var
		inside uint32
	}{{"self/uid_map", b.uid, b.policy.User.UID}, {"self/gid_map", b.gid, b.policy.User.GID}} {
		line := buffer("line", 64)
		inside := Num(uint64(m.inside))
		switch b.policy.User.Mode {
		case policy.UserRoot:
			inside = Num(0)
		case policy.UserCurrent:
			inside = Slot(m.id)
		}
		b.op(Format, Ref(line), inside).to(n)
		b.op(Alu, Ref(line), Num(0), all, Num(0), Slot(n)).to(at)
		b.op(Store, Slot(at), Num(' '), Num(1))
		b.advance(at, 1)
		b.op(Format, Slot(at), Slot(m.id)).to(n)
		b.op(Alu, Slot(at), Num(0), all, Num(0), Slot(n)).to(at)
		b.op(Store, Slot(at), short(" 1\n"), Num(4))
		b.op(Copy, Num(0), Ref(line), Num('\n'), Num(64)).to(n)
		b.advance(n, 1)
		b.op(SysOpenat2, Slot(proc), b.str(m.file), Ref(howInProc), Num(24)).to(fd)
		b.op(SysWrite, Slot(fd), Ref(line), Slot(n))
		b.op(SysClose, Slot(fd))
	}
}

// short is a text of at most eight bytes as the number that stores it.
func short(s string) Arg {
	var buf [8]byte
	copy(buf[:], s)
	return named(strconv.Quote(s), binary.LittleEndian.Uint64(buf[:]))
}
