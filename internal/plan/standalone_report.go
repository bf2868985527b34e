package plan

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// reportInWords is reportFatal of an executable: the messages travel in the
// image, so that it explains itself on a machine where nothing else of Cloche is.
// It writes "cloche: STEP: ERRNO: cause; remedy" to stderr.
func (b *builder) reportInWords() {
	messages := newMessages()
	b.begin(Step{Process: Launcher, Name: "report a failure"})
	step, at, n, key := b.tmp("step"), b.tmp("at"), b.tmp("n"), b.tmp("key")
	all := Num(^uint64(0))
	say := func(v Var) {
		b.op(Copy, Num(0), Slot(v), Num(0), Num(4096)).to(n)
		b.op(SysWrite, Num(2), Slot(v), Slot(n)).ignoring()
	}
	load := func(base *Data, index Var, shift, size uint64, to Var) {
		b.op(Alu, Slot(index), Num(0), all, Num(shift), Ref(base)).to(at)
		b.op(Load, Slot(at), Num(size)).to(to)
	}

	b.mark(b.fatal)
	b.op(SysWrite, Num(2), b.str("cloche: "), Num(8)).ignoring()
	// An operation of 64 bytes holds, at 12, the step it belongs to.
	b.op(Alu, Slot(VarFailedOp), Num(0), all, Num(6), Slot(VarOps)).to(at)
	b.advance(at, 12)
	b.op(Load, Slot(at), Num(4)).to(step)
	load(messages.names, step, 3, 8, key)
	say(key)
	b.op(SysWrite, Num(2), b.str(": "), Num(2)).ignoring()
	load(messages.errnos, VarFailedErrno, 3, 8, key)
	say(key)
	// The reason is looked up by step and errno together.
	found, done, loop := b.label(), b.label(), b.label()
	entry := b.tmp("from")
	b.op(Alu, Slot(step), Num(0), all, Num(16), Slot(VarFailedErrno)).to(key)
	b.set(entry, Ref(messages.reasons))
	b.mark(loop)
	b.op(Load, Slot(entry), Num(8)).to(n)
	b.ifEqual(Slot(n), ^uint64(0), Num(0), done)
	b.ifEqual(Slot(n), ^uint64(0), Slot(key), found)
	b.advance(entry, 16)
	b.jump(loop)
	b.mark(found)
	b.op(SysWrite, Num(2), b.str(": "), Num(2)).ignoring()
	b.advance(entry, 8)
	b.op(Load, Slot(entry), Num(8)).to(key)
	say(key)
	b.mark(done)
	b.op(SysWrite, Num(2), b.str("\n"), Num(1)).ignoring()
	b.abandon()
	// 127 not found, 126 can't be executed, 125 everything else.
	exec, missing := b.label(), b.label()
	load(messages.isExec, step, 0, 1, key)
	b.ifEqual(Slot(key), 0xff, Num(1), exec)
	b.op(SysExitGroup, Num(125))
	b.mark(exec)
	b.ifEqual(Slot(VarFailedErrno), ^uint64(0), named("ENOENT", uint64(unix.ENOENT)), missing)
	b.op(SysExitGroup, Num(126))
	b.mark(missing)
	b.op(SysExitGroup, Num(127))

	if b.e2big != 0 {
		b.mark(b.e2big)
		b.op(Alu, named("E2BIG", uint64(unix.E2BIG)), Num(0), all, Num(0), Num(0)).to(VarFailedErrno)
		b.op(Alu, Target(b.fatal), Num(0), all, Num(0), Num(0)).to(VarFailedOp).then(b.fatal)
	}
	b.finishMessages(messages)
}

// endInTime kills the sandbox where a time limit led to wallUp or cpuUp, says
// which one it was, and goes on at reaped with what wait4 told.
func (b *builder) endInTime(pid Var, status *Data, wallUp, cpuUp, reaped Label) {
	t := b.policy.Time
	if t.Wall == 0 && t.CPU == 0 {
		return
	}
	kill := b.label()
	for _, limit := range [...]struct {
		set  time.Duration
		at   Label
		what string
		key  string
		flag string
		over uint64
	}{
		{t.Wall, wallUp, "it ran for " + policy.FormatDuration(t.Wall), "time.wall", "--wall-time", ToldBase},
		{t.CPU, cpuUp, "it used " + policy.FormatDuration(t.CPU) + " of CPU time", "time.cpu", "--cpu-time", 2 * ToldBase},
	} {
		if limit.set == 0 {
			continue
		}
		b.mark(limit.at)
		if b.inPlace() != nil { // the program finds the words
			b.set(b.overtime, Num(limit.over)).then(kill)
			continue
		}
		text := killedMessage(b.policy, limit.what, limit.key, limit.flag)
		b.op(SysWrite, Num(2), b.str(text), Num(uint64(len(text)))).ignoring().then(kill)
	}
	b.mark(kill)
	b.op(SysKill, Slot(pid), named("SIGKILL", uint64(unix.SIGKILL))).ignoring()
	// Not back to the loop, where the CPU time that is used up would end it again.
	b.op(SysWait4, Slot(pid), Ref(status), Num(0), null).retryOn(int(unix.EINTR)).then(reaped)
}

// killedMessage says which limit ended the command.
func killedMessage(p *policy.Policy, what, key, flag string) string {
	text := "cloche: the command was killed: " + what
	if o := p.Origins[key]; o != "" {
		text += " (" + o + ")"
	}
	return text + "; to allow more: build it with " + flag + "\n"
}

// maxErrno is the last errno that has a name of its own.
const maxErrno = 133

type messages struct {
	names   *Data // address by step
	errnos  *Data // address by errno
	reasons *Data // {step<<16|errno, address}, ended by zero
	isExec  *Data // one byte by step
}

// reasonErrnos are the errors that set-up calls are known to give.
var reasonErrnos = [...]unix.Errno{
	unix.EPERM, unix.ENOENT, unix.EIO, unix.E2BIG, unix.ENOEXEC, unix.EAGAIN, unix.ENOMEM, unix.EACCES, unix.EBUSY, unix.ENOTDIR,
	unix.EINVAL, unix.EMFILE, unix.ETXTBSY, unix.ENOSPC, unix.ENOSYS, unix.ELOOP, unix.EDQUOT, unix.EOPNOTSUPP, unix.ELIBBAD,
	unix.EEXIST, unix.EROFS, unix.ENODEV, unix.EXDEV,
}

func newMessages() *messages {
	return &messages{
		names:   &Data{Section: SetupRO, Align: 8, Text: "names"},
		errnos:  &Data{Section: SetupRO, Align: 8, Text: "errnos"},
		reasons: &Data{Section: SetupRO, Align: 8, Text: "reasons"},
		isExec:  &Data{Section: SetupRO, Text: "execs"},
	}
}

// finishMessages fills the tables, when every step is known.
func (b *builder) finishMessages(m *messages) {
	le := binary.LittleEndian
	steps := b.p.Steps
	texts := map[string]*Data{}
	text := func(s string) *Data {
		d, ok := texts[s]
		if !ok {
			d = &Data{Bytes: append([]byte(s), 0)}
			texts[s] = d
		}
		return d
	}
	m.names.Bytes = make([]byte, 8*len(steps))
	m.isExec.Bytes = make([]byte, len(steps))
	for i := range steps {
		name := steps[i].Name
		if steps[i].Origin != "" {
			name += " (" + steps[i].Origin + ")"
		}
		m.names.Relocs = append(m.names.Relocs, Reloc{Off: 8 * i, To: text(name)})
		if steps[i].Kind == KindExec {
			m.isExec.Bytes[i] = 1
		}
	}
	m.errnos.Bytes = make([]byte, 8*(maxErrno+1))
	for e := 0; e <= maxErrno; e++ {
		m.errnos.Relocs = append(m.errnos.Relocs, Reloc{Off: 8 * e, To: text(errnoName(uint16(e)))})
	}
	// One call per step stands for its reasons: that which the step is about.
	calls := make([][]Call, len(steps))
	for i := range b.p.Ops {
		op := &b.p.Ops[i]
		calls[op.Step] = append(calls[op.Step], op.Call)
	}
	for i := range steps {
		for _, e := range reasonErrnos {
			for _, c := range calls[i] {
				cause, remedy := reasonBuilt(&steps[i], c, e)
				if cause == "" {
					continue
				}
				at := len(m.reasons.Bytes)
				m.reasons.Bytes = append(m.reasons.Bytes, make([]byte, 16)...)
				le.PutUint64(m.reasons.Bytes[at:], uint64(i)<<16|uint64(e))
				if remedy != "" {
					cause += "; " + remedy
				}
				m.reasons.Relocs = append(m.reasons.Relocs, Reloc{Off: at + 8, To: text(cause)})
				break
			}
		}
	}
	m.reasons.Bytes = append(m.reasons.Bytes, make([]byte, 16)...)
}
