package plan

import (
	"math"
	"strconv"

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
	files := cgroupFiles(p)
	if len(files) == 0 && p.Time.CPU == 0 {
		return false, nil
	}
	if l.Parent == "" {
		optional := p.Time.CPU == 0
		for _, f := range files {
			found := false
			for _, w := range l.WhereAvailable {
				found = found || w == f.limit
			}
			optional = optional && found
		}
		if optional {
			return false, nil
		}
		return false, refuse("limits", "an executable makes its cgroup itself and has to be told where", "set limits.parent to a cgroup directory that its users may write to, or leave the limits out")
	}
	return true, nil
}

// makeCgroup makes a directory with a fresh name under limits.parent and writes
// the limits to it. The launcher itself stays outside, so it can remove it.
func (b *builder) makeCgroup() {
	if !b.ownCgroup {
		return
	}
	p := b.policy
	b.begin(Step{Process: Launcher, Name: "make a cgroup in " + p.Limits.Parent, Kind: KindCgroup, Path: p.Limits.Parent, Origin: p.Origins["limits.parent"]})
	parent, pid, fd := b.newVar("parent"), b.tmp("self"), b.tmp("file")
	b.group, b.cpuFD = b.newVar("cgroup"), b.newVar("cputime")
	const prefix = "cloche-"
	b.cgroupName = &Data{Section: SetupRW, Bytes: append([]byte(prefix), make([]byte, 32)...), Text: "name"}
	b.op(SysOpenat2, atFDCWD, b.str(p.Limits.Parent), Ref(howNoLinks), Num(24)).to(parent)
	b.op(SysGetpid).to(pid)
	b.op(Format, RefAt(b.cgroupName, len(prefix)), Slot(pid))
	// A directory of that name is what a killed one left, or else another sandbox's,
	// in another pid namespace: then it can't be removed, and is not shared.
	left, made := b.label(), b.label()
	b.op(SysMkdirat, Slot(parent), Ref(b.cgroupName), octal(0o755)).on(int(unix.EEXIST), left).then(made)
	b.mark(left)
	b.op(SysUnlinkat, Slot(parent), Ref(b.cgroupName), named("AT_REMOVEDIR", unix.AT_REMOVEDIR)).ignoring()
	b.op(SysMkdirat, Slot(parent), Ref(b.cgroupName), octal(0o755))
	b.mark(made)
	b.op(SysOpenat, Slot(parent), Ref(b.cgroupName), Flags(cRdonly, cCloexec), Num(0)).to(b.group)
	b.cgroupParent = parent
	for _, f := range cgroupFiles(p) {
		v1, done := b.label(), b.label()
		b.op(SysOpenat, Slot(b.group), b.str(f.v2), Flags(cWronly, cCloexec), Num(0)).to(fd).on(int(unix.ENOENT), v1)
		b.op(SysWrite, Slot(fd), b.str(f.in2), Num(uint64(len(f.in2)))).then(done)
		b.mark(v1)
		b.op(SysOpenat, Slot(b.group), b.str(f.v1), Flags(cWronly, cCloexec), Num(0)).to(fd)
		b.op(SysWrite, Slot(fd), b.str(f.in1), Num(uint64(len(f.in1))))
		b.mark(done)
		b.op(SysClose, Slot(fd))
	}
	// tasks is v1's and costs no grace period; v2 has cgroup.procs alone.
	procs, opened := b.label(), b.label()
	b.entry = b.newVar("entry")
	b.op(SysOpenat, Slot(b.group), b.str("tasks"), Flags(cWronly, cCloexec), Num(0)).to(b.entry).on(int(unix.ENOENT), procs).then(opened)
	b.mark(procs)
	b.op(SysOpenat, Slot(b.group), b.str("cgroup.procs"), Flags(cWronly, cCloexec), Num(0)).to(b.entry)
	b.mark(opened)
	if p.Time.CPU > 0 {
		v1, have := b.label(), b.label()
		b.op(SysOpenat, Slot(b.group), b.str("cpu.stat"), Flags(cRdonly, cCloexec), Num(0)).to(b.cpuFD).on(int(unix.ENOENT), v1).then(have)
		b.mark(v1)
		b.op(SysOpenat, Slot(b.group), b.str("cpuacct.usage"), Flags(cRdonly, cCloexec), Num(0)).to(b.cpuFD)
		b.mark(have)
	}
}

// enterOwnCgroup puts pid 1 into the cgroup that the launcher made.
func (b *builder) enterOwnCgroup() {
	if !b.ownCgroup {
		return
	}
	b.begin(Step{Process: Init, Name: "enter cgroup", Kind: KindCgroup, Origin: b.policy.Origins["limits.parent"]})
	b.op(SysWrite, Slot(b.entry), b.str("0"), Num(1))
}

// checkCPU goes to timeUp when the cgroup has used its CPU time: microseconds
// after "usage_usec " in v2's cpu.stat, nanoseconds alone in v1's cpuacct.usage.
func (b *builder) checkCPU(timeUp Label) {
	text := buffer("cpu", 64)
	used := b.tmp("used")
	v1, end := b.label(), b.label()
	limit := b.policy.Time.CPU
	const prefix = "usage_usec "
	b.op(SysPread64, Slot(b.cpuFD), Ref(text), Num(63), Num(0)).orElse(end)
	b.op(Compare, Ref(text), b.str(prefix), Num(uint64(len(prefix)))).orElse(v1)
	b.op(Parse, RefAt(text, len(prefix))).to(used)
	b.op(Branch, Slot(used), Num(^uint64(0)), Num(uint64(limit.Microseconds())), Num(CondGreater)).then(timeUp).orElse(end)
	b.mark(v1)
	b.op(Parse, Ref(text)).to(used)
	b.op(Branch, Slot(used), Num(^uint64(0)), Num(uint64(limit.Nanoseconds())), Num(CondGreater)).then(timeUp).orElse(Following)
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
	b.op(SysUnlinkat, Slot(b.cgroupParent), Ref(b.cgroupName), named("AT_REMOVEDIR", unix.AT_REMOVEDIR)).ignoring()
}
