package plan

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// Report tells somebody who the sandbox is: its pid as the launcher sees it, and the
// numbers of its namespaces. What is written is Start, the pid, for each namespace that is the
// sandbox's own Before, its name, After and its number, and End.
type Report struct {
	FD            int
	Start, End    string
	Before, After string
	// Exit and ExitEnd are written around the command's exit code when it has run and ended,
	// as a shell says it; Exit is "" where nobody wants it.
	Exit, ExitEnd string
}

// line is text that is put together in the image.
type line struct {
	b    *builder
	data *Data
	at   Var
}

func (b *builder) newLine() line {
	l := line{b, buffer("line", 1024), b.tmp("at")}
	b.set(l.at, Ref(l.data))
	return l
}

func (l line) text(s string) {
	n := l.b.tmp("n")
	l.b.op(Copy, Slot(l.at), l.b.str(s), Num(0), Num(512)).to(n)
	l.b.op(Alu, Slot(l.at), Num(0), Num(^uint64(0)), Num(0), Slot(n)).to(l.at)
}

func (l line) number(v Var) {
	n := l.b.tmp("n")
	l.b.op(Format, Slot(l.at), Slot(v)).to(n)
	l.b.op(Alu, Slot(l.at), Num(0), Num(^uint64(0)), Num(0), Slot(n)).to(l.at)
}

func (l line) write(fd int) {
	n := l.b.tmp("n")
	l.b.op(Store, Slot(l.at), Num(0), Num(1))
	l.b.op(Copy, Num(0), Ref(l.data), Num(0), Num(1023)).to(n)
	l.b.op(SysWrite, Num(uint64(fd)), Ref(l.data), Slot(n)).retryOn(int(unix.EINTR))
}

// report writes the first part of a report. Pid 1 waits meanwhile, so that it can be looked
// at; a namespace that can't be is left out.
func (b *builder) report(r *Report, pid Var) {
	if r == nil {
		return
	}
	b.begin(Step{Process: Launcher, Name: "report to descriptor " + strconv.Itoa(r.FD), Kind: KindReport})
	ns, ino := b.policy.Unshare, b.tmp("ino")
	out := b.newLine()
	out.text(r.Start)
	out.number(pid)
	path := buffer("path", 64)
	for _, n := range [...]struct {
		name string
		own  bool
	}{{"cgroup", b.cgroupAtOnce()}, {"ipc", ns.IPC}, {"mnt", ns.Mount}, {"net", ns.Net}, {"pid", ns.PID}, {"uts", ns.UTS}} {
		if !n.own {
			continue
		}
		next := b.label()
		where := line{b, path, b.tmp("to")}
		b.set(where.at, Ref(path))
		where.text("/proc/")
		where.number(pid)
		where.text("/ns/" + n.name)
		b.op(Store, Slot(where.at), Num(0), Num(1))
		b.op(SysStatx, atFDCWD, Ref(path), Num(0), named("STATX_INO", unix.STATX_INO), Ref(b.statx)).orElse(next)
		b.op(Load, RefAt(b.statx, statxIno), Num(8)).to(ino)
		out.text(r.Before + n.name + r.After)
		out.number(ino)
		b.mark(next)
	}
	out.text(r.End)
	out.write(r.FD)
}

// reportExit writes the second part, of a command that ran.
func (b *builder) reportExit(code Var) {
	r := b.in.Manner.Status
	if r == nil || r.Exit == "" {
		return
	}
	b.begin(Step{Process: Launcher, Name: "report the end", Kind: KindReport})
	silent := b.label()
	b.unlessEqual(Slot(b.beside.ready), ^uint64(0), Num(1), silent)
	out := b.newLine()
	out.text(r.Exit)
	out.number(code)
	out.text(r.ExitEnd)
	n := b.tmp("n")
	b.op(Store, Slot(out.at), Num(0), Num(1))
	b.op(Copy, Num(0), Ref(out.data), Num(0), Num(1023)).to(n)
	b.op(SysWrite, Num(uint64(r.FD)), Ref(out.data), Slot(n)).ignoring()
	b.mark(silent)
}
