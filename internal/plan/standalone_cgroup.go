package plan

import (
	"math"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// cgroupFile is one limit as the files that may hold it: cgroup v2's name first,
// then v1's. An executable finds out where it runs by which of them exists.
type cgroupFile struct {
	limit  string
	v2, v1 string
	in2    string // what to write
	in1    string
}

// cgroupFiles are the limits of a policy as files.
func cgroupFiles(p *policy.Policy) []cgroupFile {
	l := &p.Limits
	var files []cgroupFile
	add := func(limit, v2, v1, in2, in1 string) {
		files = append(files, cgroupFile{limit, v2, v1, in2, in1})
	}
	num := func(n int64) string { return strconv.FormatInt(n, 10) }
	if l.Memory > 0 {
		add("memory", "memory.max", "memory.limit_in_bytes", num(int64(l.Memory)), num(int64(l.Memory)))
	}
	if l.Swap != nil {
		add("swap", "memory.swap.max", "memory.memsw.limit_in_bytes", num(int64(*l.Swap)), num(int64(l.Memory+*l.Swap)))
	}
	if l.Pids > 0 {
		// Pid 1 of the sandbox lives in the cgroup too and does not count.
		add("pids", "pids.max", "pids.max", num(l.Pids+1), num(l.Pids+1))
	}
	if l.CPUs > 0 {
		quota := num(int64(math.Round(l.CPUs * 100000)))
		add("cpus", "cpu.max", "cpu.cfs_quota_us", quota+" 100000", quota)
	}
	if l.CPUWeight > 0 {
		add("cpu-weight", "cpu.weight", "cpu.shares", num(int64(l.CPUWeight)), num(int64(max(2, l.CPUWeight*1024/100))))
	}
	return files
}

// checkStandaloneLimits refuses what an executable can't set up by itself.
func checkStandaloneLimits(p *policy.Policy) (needed bool, err error) {
	l := &p.Limits
	refuse := func(setting, why, fix string) error {
		return &Error{Setting: setting, Origin: p.Origins[setting], Why: why, Fix: fix}
	}
	if len(l.IO) > 0 {
		return false, refuse("limits.io", "the block device's number belongs to one machine", "leave it out, or use `cloche run`")
	}
	if l.Cpuset != "" {
		return false, refuse("limits.cpuset", "processors are numbered by one machine", "leave it out, or use `cloche run`")
	}
	if l.CPUs > 0 && l.CPUs < 0.01 {
		return false, refuse("limits.cpus", "the kernel wants a quota of 1 ms at least, and an executable has periods of 100 ms", "ask for 0.01 or more, or use `cloche run`")
	}
	if len(cgroupFiles(p)) == 0 && p.Time.CPU == 0 {
		return false, nil
	}
	if l.Parent == "" {
		if cgroupOptional(p) {
			return false, nil
		}
		return false, refuse("limits", "an executable makes its cgroup itself and has to be told where", "set limits.parent to a cgroup directory that its users may write to, or leave the limits out")
	}
	return true, nil
}

// cgroupOptional reports whether every limit may be left out where it can't be had.
func cgroupOptional(p *policy.Policy) bool {
	if p.Time.CPU > 0 {
		return false
	}
	for _, f := range cgroupFiles(p) {
		if !p.Limits.MayMiss(f.limit) {
			return false
		}
	}
	return true
}

// cgroupPrefix begins the names of cgroups; a pid follows. Package cgroup
// recognises them by it.
const cgroupPrefix = "cloche-"

// cgroupMade is not 0 in the launcher while it has a cgroup to take away.
func (b *builder) cgroupMade() Var { return b.tmp("made") }

// makeCgroup makes a directory with a fresh name under limits.parent and writes
// the limits to it. The launcher itself stays outside, so it can remove it.
func (b *builder) makeCgroup() {
	if !b.ownCgroup {
		return
	}
	p := b.policy
	dir, at := b.cgroupPlace(), b.str(p.Limits.Parent)
	if b.prelude() != nil {
		at = Ref(b.cgroupDir)
	}
	b.begin(Step{Process: Launcher, Name: "make a cgroup in " + dir, Kind: KindCgroup, Path: dir, Origin: p.Origins["limits.parent"]})
	parent, pid, fd := b.newVar("parent"), b.tmp("self"), b.tmp("file")
	b.group, b.cpuFD, b.entry = b.newVar("cgroup"), b.newVar("cputime"), b.newVar("entry")
	b.cgroupName = &Data{Section: SetupRW, Bytes: append([]byte(cgroupPrefix), make([]byte, 32)...), Text: "name"}
	b.cgroupParent = parent
	made := b.cgroupMade()
	end := b.label()
	// Where no limit has to hold, neither does the cgroup have to be there.
	otherwise := Next
	switch {
	case b.prelude() != nil: // decided already, and swept
		b.ifEqual(Slot(b.mayMake), ^uint64(0), Num(0), end)
	case cgroupOptional(p):
		otherwise = end
	}
	b.op(SysOpenat2, atFDCWD, at, Ref(howNoLinks), Num(24)).to(parent).orElse(otherwise)
	if b.prelude() == nil {
		b.sweepCgroups(parent, 0)
	}
	b.op(SysGetpid).to(pid)
	b.op(Format, RefAt(b.cgroupName, len(cgroupPrefix)), Slot(pid))
	// A directory of that name is another sandbox's, in another pid namespace, or
	// what a killed one left there. The first can't be removed, and is not shared.
	left, have := b.label(), b.label()
	b.op(SysMkdirat, Slot(parent), Ref(b.cgroupName), octal(0o755)).on(int(unix.EEXIST), left).orElse(otherwise).then(have)
	b.mark(left)
	b.op(SysUnlinkat, Slot(parent), Ref(b.cgroupName), named("AT_REMOVEDIR", unix.AT_REMOVEDIR)).ignoring()
	b.op(SysMkdirat, Slot(parent), Ref(b.cgroupName), octal(0o755)).orElse(otherwise)
	b.mark(have)
	b.set(made, Num(1))
	b.op(SysOpenat, Slot(parent), Ref(b.cgroupName), Flags(cRdonly, cCloexec), Num(0)).to(b.group)
	for _, f := range cgroupFiles(p) {
		b.cgroupLimit(f, fd)
	}
	// tasks is v1's and costs no grace period; v2 has cgroup.procs alone.
	b.begin(Step{Process: Launcher, Name: "open the cgroup made in " + dir, Kind: KindCgroup, Path: "cgroup.procs", Origin: p.Origins["limits.parent"]})
	b.openEither("tasks", "cgroup.procs", cWronly, b.entry)
	if p.Time.CPU > 0 {
		b.begin(Step{Process: Launcher, Name: "count CPU time in " + dir, Kind: KindCgroup, Path: "cpuacct.usage nor cpu.stat", Origin: p.Origins["time.cpu"]})
		b.openEither("cpuacct.usage", "cpu.stat", cRdonly, b.cpuFD) // v1 may have a cpu.stat beside it, of something else
	}
	b.mark(end)
}

// cgroupPlace names the directory in which the cgroup is made.
func (b *builder) cgroupPlace() string {
	if b.prelude() != nil {
		return "the caller's"
	}
	return b.policy.Limits.Parent
}

// openEither opens the one of two files that the cgroup has.
func (b *builder) openEither(name, other string, mode Const, fd Var) {
	second, opened := b.label(), b.label()
	b.op(SysOpenat, Slot(b.group), b.str(name), Flags(mode, cCloexec), Num(0)).to(fd).on(int(unix.ENOENT), second).then(opened)
	b.mark(second)
	b.op(SysOpenat, Slot(b.group), b.str(other), Flags(mode, cCloexec), Num(0)).to(fd)
	b.mark(opened)
}

// cgroupLimit writes one limit. Where neither version's file is there, the
// cgroup lacks the controller: a limit that is wanted where-available is left out.
func (b *builder) cgroupLimit(f cgroupFile, fd Var) {
	p := b.policy
	files := f.v2
	if f.v1 != f.v2 {
		files += " nor " + f.v1
	}
	b.begin(Step{Process: Launcher, Name: "limits." + f.limit + " in " + b.cgroupPlace(), Kind: KindCgroup, Path: files, Origin: p.Origins["limits."+f.limit]})
	v1, written, done := b.label(), b.label(), b.label()
	open := func(file string) opRef {
		return b.op(SysOpenat, Slot(b.group), b.str(file), Flags(cWronly, cCloexec), Num(0)).to(fd)
	}
	absent := func(o opRef) {
		if p.Limits.MayMiss(f.limit) {
			o.on(int(unix.ENOENT), done)
		}
	}
	if f.v1 == f.v2 {
		absent(open(f.v2))
	} else {
		open(f.v2).on(int(unix.ENOENT), v1)
	}
	b.op(SysWrite, Slot(fd), b.str(f.in2), Num(uint64(len(f.in2)))).then(written)
	if f.v1 != f.v2 {
		b.mark(v1)
		absent(open(f.v1))
		b.op(SysWrite, Slot(fd), b.str(f.in1), Num(uint64(len(f.in1))))
	}
	b.mark(written)
	b.op(SysClose, Slot(fd))
	b.mark(done)
}

// sweepCgroups removes what executables that were killed (SIGKILL) left: the
// directories that bear the pid of no process. One that holds processes can't be
// removed, so those of another pid namespace are safe but for the moment between
// being made and being entered. Where one is of another maker, who removes it by
// other signs, and that process is gone, it goes to others; 0: there is no such way.
func (b *builder) sweepCgroups(parent Var, others Label) {
	const reclenAt, nameAt = 16, 19 // in a struct linux_dirent64, getdents(2)
	entries := buffer("entries", 4096)
	all := Num(^uint64(0))
	fd, n, at, end, name, pid := b.tmp("file"), b.tmp("n"), b.tmp("at"), b.tmp("end"), b.tmp("from"), b.tmp("pid")
	entry, gone, next, done, closing := b.label(), b.label(), b.label(), b.label(), b.label()
	foreign := next
	if others != 0 {
		foreign = b.label()
	}
	b.op(SysOpenat, Slot(parent), b.str("."), Flags(cRdonly, cCloexec), Num(0)).to(fd).orElse(done)
	read := b.here()
	b.op(SysGetdents64, Slot(fd), Ref(entries), Num(4096)).to(n).orElse(closing)
	b.ifEqual(Slot(n), ^uint64(0), Num(0), closing)
	b.op(Alu, Ref(entries), Num(0), all, Num(0), Slot(n)).to(end)
	b.set(at, Ref(entries))
	b.mark(entry)
	b.op(Alu, Slot(at), Num(0), all, Num(0), Num(nameAt)).to(name)
	b.op(Compare, Slot(name), b.str(cgroupPrefix), Num(uint64(len(cgroupPrefix)))).orElse(next)
	b.advance(name, uint64(len(cgroupPrefix)))
	b.op(Parse, Slot(name)).to(pid)
	b.ifEqual(Slot(pid), ^uint64(0), Num(0), next)
	b.op(SysKill, Slot(pid), Num(0)).on(int(unix.ESRCH), gone).orElse(next).then(next)
	b.mark(gone)
	// What follows the pid is another maker's.
	b.op(Copy, Num(0), Slot(name), Num('-'), Num(256)).to(n).orElse(next)
	b.op(Alu, Slot(name), Num(0), all, Num(0), Slot(n)).to(name)
	b.op(Load, Slot(name), Num(1)).to(n)
	b.unlessEqual(Slot(n), ^uint64(0), Num(0), foreign)
	b.op(Alu, Slot(at), Num(0), all, Num(0), Num(nameAt)).to(name)
	b.op(SysUnlinkat, Slot(parent), Slot(name), named("AT_REMOVEDIR", unix.AT_REMOVEDIR)).ignoring()
	b.mark(next)
	b.op(Alu, Slot(at), Num(0), all, Num(0), Num(reclenAt)).to(name)
	b.op(Load, Slot(name), Num(2)).to(n)
	b.op(Alu, Slot(at), Num(0), all, Num(0), Slot(n)).to(at)
	b.op(Branch, Slot(at), all, Slot(end), Num(CondLess)).then(entry).orElse(read)
	if others != 0 {
		b.mark(foreign)
		b.op(SysClose, Slot(fd)).then(others)
	}
	b.mark(closing)
	b.op(SysClose, Slot(fd))
	b.mark(done)
}

// enterOwnCgroup puts pid 1 into the cgroup that the launcher made. From here on
// it is the launcher's alone to remove.
func (b *builder) enterOwnCgroup() {
	if !b.ownCgroup {
		return
	}
	b.begin(Step{Process: Init, Name: "enter cgroup", Kind: KindCgroup, Origin: b.policy.Origins["limits.parent"]})
	if !cgroupOptional(b.policy) && b.prelude() == nil {
		b.set(b.cgroupMade(), Num(0))
		b.op(SysWrite, Slot(b.entry), b.str("0"), Num(1))
		return
	}
	end := b.label()
	b.ifEqual(Slot(b.cgroupMade()), ^uint64(0), Num(0), end)
	b.set(b.cgroupMade(), Num(0))
	enter := b.op(SysWrite, Slot(b.entry), b.str("0"), Num(1))
	if b.prelude() == nil {
		enter.ignoring() // refused where the caller may not move itself: on v2, out of another's tree
	}
	b.mark(end)
}

// shortestPause is the time between two looks at the CPU time that is nearly used up.
const shortestPause = 10 * time.Millisecond

// checkCPU goes to timeUp when the cgroup has used its CPU time: nanoseconds alone in v1's
// cpuacct.usage, microseconds after "usage_usec " in v2's cpu.stat. Else it sets pause, for which
// to wait until the next look: no longer than all processors together need to use up what
// is left, where it is known how many they are.
func (b *builder) checkCPU(timeUp Label, pause Var) {
	text := buffer("cpu", 64)
	used, all := b.tmp("used"), Num(^uint64(0))
	v1, end := b.label(), b.label()
	limit := b.policy.Time.CPU
	type wait struct {
		left, pause time.Duration
		at          Label
	}
	var waits []wait
	if in := b.inPlace(); in != nil {
		for left := limit / 4; left/time.Duration(in.CPUs) > shortestPause; left /= 4 {
			waits = append(waits, wait{left, left / time.Duration(in.CPUs), b.label()})
		}
	}
	compare := func(unit time.Duration) {
		b.op(Branch, Slot(used), all, Num(uint64(limit/unit)), Num(CondGreater)).then(timeUp).orElse(Following)
		for _, w := range waits {
			b.op(Branch, Slot(used), all, Num(uint64((limit-w.left)/unit)), Num(CondLess)).then(w.at).orElse(Following)
		}
	}
	const prefix = "usage_usec "
	b.set(pause, Ref(timespec(shortestPause)))
	b.op(SysPread64, Slot(b.cpuFD), Ref(text), Num(63), Num(0)).orElse(end)
	b.op(Compare, Ref(text), b.str(prefix), Num(uint64(len(prefix)))).orElse(v1)
	b.op(Parse, RefAt(text, len(prefix))).to(used)
	compare(time.Microsecond)
	b.jump(end)
	b.mark(v1)
	b.op(Parse, Ref(text)).to(used)
	compare(time.Nanosecond)
	if len(waits) > 0 {
		b.jump(end)
	}
	for _, w := range waits {
		b.mark(w.at)
		b.set(pause, Ref(timespec(w.pause))).then(end)
	}
	b.mark(end)
}

// removeCgroup takes the cgroup away; all its processes are gone with pid 1.
func (b *builder) removeCgroup() {
	if in := b.inPlace(); in != nil {
		for _, dir := range in.Remove {
			b.op(SysUnlinkat, atFDCWD, b.str(dir), named("AT_REMOVEDIR", unix.AT_REMOVEDIR)).ignoring()
		}
	}
	if !b.ownCgroup {
		return
	}
	end := b.label()
	b.ifEqual(Slot(b.cgroupMade()), ^uint64(0), Num(0), end)
	b.op(SysUnlinkat, Slot(b.cgroupParent), Ref(b.cgroupName), named("AT_REMOVEDIR", unix.AT_REMOVEDIR)).ignoring()
	b.mark(end)
}

// abandon is what a failing launcher does last: it ends the sandbox that it may
// have made already, and takes the cgroup away. In the sandbox it does nothing.
func (b *builder) abandon() {
	if !b.ownCgroup {
		return
	}
	pid, end, remove := b.tmp("init"), b.label(), b.label()
	b.ifEqual(Slot(b.cgroupMade()), ^uint64(0), Num(0), end)
	// Nothing but a pid: where clone failed the slot holds its error, and -1 is everybody.
	b.ifEqual(Slot(pid), ^uint64(0), Num(0), remove)
	b.op(Branch, Slot(pid), Num(^uint64(0)), Num(1<<31), Num(CondLess)).orElse(remove)
	b.op(SysKill, Slot(pid), named("SIGKILL", uint64(unix.SIGKILL))).ignoring()
	b.op(SysWait4, Slot(pid), null, Num(0), null).retryOn(int(unix.EINTR)).ignoring()
	b.mark(remove)
	b.removeCgroup()
	b.mark(end)
}

// sayMemory tells that the memory limit ended the command: it was killed, and
// the cgroup counts a victim of the kernel's OOM killer.
func (b *builder) sayMemory(status *Data) {
	p := b.policy
	if !b.ownCgroup || p.Limits.Memory == 0 {
		return
	}
	b.begin(Step{Process: Launcher, Name: "look why it was killed", Kind: KindWait, Origin: p.Origins["limits.memory"]})
	all := Num(^uint64(0))
	n, fd, at := b.tmp("n"), b.tmp("file"), b.tmp("at")
	look, v1, opened, loop, count, end := b.label(), b.label(), b.label(), b.label(), b.label(), b.label()
	b.op(Load, Ref(status), Num(4)).to(n)
	// Pid 1 passes the command's end on as 128+9, or was itself the victim.
	b.ifEqual(Slot(n), ^uint64(0), Num((128+uint64(unix.SIGKILL))<<8), look)
	b.unlessEqual(Slot(n), 0x7f, named("SIGKILL", uint64(unix.SIGKILL)), end)
	b.mark(look)
	b.ifEqual(Slot(b.cgroupMade()), ^uint64(0), Num(0), end)
	b.op(SysOpenat, Slot(b.group), b.str("memory.events"), Flags(cRdonly, cCloexec), Num(0)).to(fd).orElse(v1).then(opened)
	b.mark(v1)
	b.op(SysOpenat, Slot(b.group), b.str("memory.oom_control"), Flags(cRdonly, cCloexec), Num(0)).to(fd).orElse(end)
	b.mark(opened)
	const field = "\noom_kill "
	text := buffer("events", 512)
	b.op(SysRead, Slot(fd), Ref(text), Num(512-uint64(len(field))-1)).to(n).orElse(end)
	b.op(SysClose, Slot(fd))
	b.set(at, Ref(text))
	b.op(Alu, Ref(text), Num(0), all, Num(0), Slot(n)).to(n)
	b.mark(loop)
	b.op(Compare, Slot(at), b.str(field), Num(uint64(len(field)))).then(count).orElse(Following)
	b.advance(at, 1)
	b.op(Branch, Slot(at), all, Slot(n), Num(CondLess)).then(loop).orElse(end)
	b.mark(count)
	b.advance(at, uint64(len(field)))
	b.op(Parse, Slot(at)).to(n)
	b.ifEqual(Slot(n), ^uint64(0), Num(0), end)
	said := killedMessage(p, "its memory limit of "+p.Limits.Memory.String()+" is used up", "limits.memory", "--memory")
	b.op(SysWrite, Num(2), b.str(said), Num(uint64(len(said)))).ignoring()
	b.mark(end)
}
