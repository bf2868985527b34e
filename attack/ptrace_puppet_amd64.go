package attack

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// A traced process makes any call for its tracer: an instruction in its text, and numbers
// in its registers. The call is judged by the filter that the victim has: none.
var ptracePuppet = Attack{
	Name: "ptrace-puppet", Group: "ptrace", Reference: "ptrace(2) PTRACE_POKETEXT, PTRACE_SETREGS",
	Tries:   "have a process outside make a system call: to signal itself",
	Stops:   traceStops,
	Outside: withVictim,
	Inside: func(in *Inside) error {
		runtime.LockOSThread() // the tracer is a thread
		pid := in.Int("pid")
		if _, err := Call(unix.SYS_PTRACE, unix.PTRACE_ATTACH, uintptr(pid), 0, 0); err != nil {
			return err
		}
		if _, err := unix.Wait4(pid, nil, unix.WALL, nil); err != nil {
			return Failed(err)
		}
		defer unix.PtraceDetach(pid)
		_, err := puppet(pid, unix.SYS_KILL, uint64(pid), uint64(unix.SIGUSR1))
		return err
	},
	Escaped: (*Outside).VictimHarmed,
}

// puppet has a stopped process make a call, and leaves it as it was.
func puppet(pid int, nr uint64, args ...uint64) (uint64, error) {
	var old unix.PtraceRegs
	if err := unix.PtraceGetRegs(pid, &old); err != nil {
		return 0, Failed(err)
	}
	at := uintptr(old.Rip)
	var text [3]byte
	if _, err := unix.PtracePeekText(pid, at, text[:]); err != nil {
		return 0, Failed(err)
	}
	if _, err := unix.PtracePokeText(pid, at, []byte{0x0f, 0x05, 0xcc}); err != nil { // syscall; int3
		return 0, Failed(err)
	}
	regs := old
	regs.Rax, regs.Orig_rax = nr, ^uint64(0) // the call it was in is not begun again
	for i, r := range []*uint64{&regs.Rdi, &regs.Rsi, &regs.Rdx} {
		if i < len(args) {
			*r = args[i]
		}
	}
	if err := unix.PtraceSetRegs(pid, &regs); err != nil {
		return 0, Failed(err)
	}
	if err := unix.PtraceCont(pid, 0); err != nil {
		return 0, Failed(err)
	}
	var ws unix.WaitStatus
	for {
		if _, err := unix.Wait4(pid, &ws, unix.WALL, nil); err != nil {
			return 0, Failed(err)
		}
		if !ws.Stopped() || ws.StopSignal() == unix.SIGTRAP {
			break
		}
		if err := unix.PtraceCont(pid, int(ws.StopSignal())); err != nil { // its own signal: it gets that
			return 0, Failed(err)
		}
	}
	var after unix.PtraceRegs
	if err := unix.PtraceGetRegs(pid, &after); err != nil {
		return 0, Failed(err)
	}
	_, _ = unix.PtracePokeText(pid, at, text[:])
	return after.Rax, unix.PtraceSetRegs(pid, &old)
}

// A tracer may change the number of a call when it begins. Since Linux 4.8 the filter
// judges what comes of that, before it judged what was there. The attacker may trace
// its own child here, as under the profile build.
var tracerRewrites = Attack{
	Name: "tracer-rewrites-call", Group: "seccomp", Reference: "seccomp(2), ptrace(2) PTRACE_SYSCALL",
	Tries: "have a traced child's harmless call become one that the filter refuses",
	Door:  []string{"seccomp build", "landlock off"},
	Stops: []Stop{{Seccomp, "EPERM"}},
	Inside: func(*Inside) error {
		runtime.LockOSThread()
		pid, err := traceChild()
		if err != nil {
			return err
		}
		defer func() {
			_ = unix.Kill(pid, unix.SIGKILL)
			_, _ = unix.Wait4(pid, nil, unix.WALL, nil)
		}()
		// Stopped by the exec. The next stop is the beginning of its first call.
		if err := stopAtCall(pid); err != nil {
			return err
		}
		var regs unix.PtraceRegs
		if err := unix.PtraceGetRegs(pid, &regs); err != nil {
			return Failed(err)
		}
		regs.Orig_rax, regs.Rdi = unix.SYS_USERFAULTFD, 1|unix.O_CLOEXEC
		if err := unix.PtraceSetRegs(pid, &regs); err != nil {
			return Failed(err)
		}
		if err := stopAtCall(pid); err != nil { // the end of it
			return err
		}
		if err := unix.PtraceGetRegs(pid, &regs); err != nil {
			return Failed(err)
		}
		if n := int64(regs.Rax); n < 0 {
			return Refused(unix.Errno(-n), unix.SYS_USERFAULTFD, 1|unix.O_CLOEXEC)
		}
		return nil
	},
}
