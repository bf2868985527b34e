package plan

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Notify gives the command a filter with a listener, by which a supervisor answers
// system calls, seccomp_unotify(2). It is loaded beside the command's own filter, and
// before that, which may well refuse to load one with a listener.
//
// The listener has to reach the supervisor before the command's exec, so that any
// call may notify, that one included. But after its filter is loaded a process can
// make no call to send it with: that would notify, and nobody would answer. So the
// command shares its descriptors with pid 1 (CLONE_FILES), which has no filter, and
// pid 1 sends the listener as soon as there is one. Both know its number: the
// lowest that is free, which pid 1 has kept for it.
type Notify struct {
	Filter   []unix.SockFilter
	Killable bool // SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, Linux 5.19
}

// What a message over the control socket carries: its one byte.
const (
	SentTerminal  = 1 // the master of the command's terminal
	SentListener  = 2 // the listener of its filter
	SentCopyUp    = 3 // what RecordCopyUp speaks of: first the directory, then the file system
	SentNamespace = 4 // one of the namespaces that are held for hooks, in their order
)

// listenerWait is how long pid 1 sleeps between two looks for the listener.
const listenerWait = 50_000 // ns

// idValid is SECCOMP_IOCTL_NOTIF_ID_VALID, which tells a listener from all else:
// of an id that it never gave it says ENOENT.
var idValid = named("SECCOMP_IOCTL_NOTIF_ID_VALID", 0x40082102)

// checkNotify refuses what can't be had.
func (b *builder) checkNotify() error {
	const setting = "answering system calls (--audit, a Notify of the library)"
	switch {
	case b.in.Notify == nil:
		return nil
	case b.in.Standalone != nil:
		return &Error{Setting: setting, Why: "it needs a supervisor that stays beside the sandbox, which an executable has not", Fix: "use cloche run"}
	case !b.policy.Init:
		return &Error{Setting: setting, Origin: b.policy.Origins["init"], Why: "with init = false the command is pid 1 itself, and nobody is there to hand its listener over", Fix: "leave init as it is (true)"}
	case !b.in.Facts.RangeOnExec:
		return &Error{Setting: setting, Why: "this kernel's close_range has no CLOSE_RANGE_CLOEXEC", Fix: "use Linux 5.11 or later; " + doctor}
	}
	return nil
}

// keepListenerNumber makes a pipe, whose end tells pid 1 of the exec, and keeps a number.
func (b *builder) keepListenerNumber() {
	b.begin(Step{Process: Init, Name: "keep a number for the listener", Kind: KindSeccomp})
	ends := buffer("pipe", 8)
	b.listener, b.execRead, b.execWrite = b.newVar("listener"), b.newVar("executed"), b.newVar("executing")
	b.op(SysPipe2, Ref(ends), Flags(cCloexec))
	b.op(Load, Ref(ends), Num(4)).to(b.execRead)
	b.op(Load, RefAt(ends, 4), Num(4)).to(b.execWrite)
	b.op(SysFcntl, Slot(b.execRead), named("F_DUPFD_CLOEXEC", unix.F_DUPFD_CLOEXEC), Num(0)).to(b.listener)
}

// loadNotify loads the filter in the command's process.
func (b *builder) loadNotify() {
	b.begin(Step{Process: Command, Name: "seccomp, with a listener", Kind: KindSeccomp})
	flags := named("SECCOMP_FILTER_FLAG_NEW_LISTENER", unix.SECCOMP_FILTER_FLAG_NEW_LISTENER)
	if b.in.Notify.Killable {
		flags = named("SECCOMP_FILTER_FLAG_NEW_LISTENER|SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
	}
	b.op(SysClose, Slot(b.listener)) // its number is the lowest that is free now
	b.loadFilter(b.in.Notify.Filter, flags)
}

// handOver is pid 1's part: it waits until the number is a listener's, sends it,
// lets go of what it shares with the command, and waits for the exec.
func (b *builder) handOver() {
	b.begin(Step{Process: Init, Name: "hand over the listener", Kind: KindSeccomp})
	info := buffer("siginfo", 128)
	n := b.tmp("n")
	there, alone := b.label(), b.label()
	loop := b.here()
	b.op(SysIoctl, Slot(b.listener), idValid, Ref(words("[0]", 0))).on(int(unix.ENOENT), there).then(there).orElse(Following)
	// A command that is gone before has said why; the loop of pid 1 reaps it.
	b.op(SysWaitid, named("P_PID", unix.P_PID), Slot(b.child), Ref(info), named("WEXITED|WNOHANG|WNOWAIT", unix.WEXITED|unix.WNOHANG|unix.WNOWAIT), null)
	b.op(Load, RefAt(info, 16), Num(4)).to(n) // si_pid
	b.unlessEqual(Slot(n), ^uint64(0), Num(0), alone)
	b.op(SysNanosleep, Ref(words("{tv_nsec=50000}", 0, listenerWait)), null).ignoring().then(loop)
	b.mark(there)
	b.sendDescriptor(b.listener, SentListener, "listener")
	b.mark(alone)
	// What pid 1 closes from here on is its own alone. The pipe's last end is then the
	// command's, and closed by its exec or its end.
	b.op(SysUnshare, named("CLONE_FILES", unix.CLONE_FILES))
	b.op(SysClose, Slot(b.execWrite))
	b.op(SysRead, Slot(b.execRead), Ref(buffer("go", 8)), Num(1)).retryOn(int(unix.EINTR))
}

// sendDescriptor sends one to the supervisor, by SCM_RIGHTS, unix(7).
func (b *builder) sendDescriptor(fd Var, kind byte, name string) {
	one := &Data{Bytes: []byte{kind}, Text: "\"\\" + string('0'+kind) + "\""}
	iov := &Data{Bytes: make([]byte, 16), Align: 8, Relocs: []Reloc{{Off: 0, To: one}}, Text: "[{1 byte}]"}
	iov.Bytes[8] = 1
	text := "{SCM_RIGHTS, [$" + name + "]}"
	control := &Data{Section: SetupRW, Bytes: make([]byte, 24), Align: 8, Text: text}
	binary.LittleEndian.PutUint64(control.Bytes, 20)
	binary.LittleEndian.PutUint32(control.Bytes[8:], unix.SOL_SOCKET)
	binary.LittleEndian.PutUint32(control.Bytes[12:], unix.SCM_RIGHTS)
	msg := &Data{Bytes: make([]byte, 56), Align: 8, Relocs: []Reloc{{Off: 16, To: iov}, {Off: 32, To: control}}, Text: "{msg_control=" + text + "}"}
	msg.Bytes[24] = 1
	msg.Bytes[40] = 24
	b.op(Store, RefAt(control, 16), Slot(fd), Num(4))
	b.op(SysSendmsg, Num(uint64(b.in.ControlFD)), Ref(msg), named("MSG_NOSIGNAL", unix.MSG_NOSIGNAL))
}
