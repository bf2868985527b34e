package attack

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Victim is a process outside, of the user who starts the sandbox. The secret is in
// its memory, in its environment, and it holds a file open that has it.
type Victim struct {
	PID     int
	Address uint64 // of the secret in its memory

	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// Victim starts one and tells Inside its pid and address.
func (o *Outside) Victim() (*Victim, error) { return o.victimOf(os.Geteuid()) }

// victimOf starts one of another user's.
func (o *Outside) victimOf(uid int) (*Victim, error) {
	file, err := o.SecretFile("victims-file")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/proc/self/exe", Arg, victimRole, file)
	cmd.Env = []string{"SECRET=" + o.Secret}
	cmd.Dir = o.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if uid != os.Geteuid() {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
		for _, err := range []error{os.Chown(o.Dir, uid, -1), os.Chown(file, uid, -1)} {
			if err != nil {
				return nil, err
			}
		}
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	v := &Victim{PID: cmd.Process.Pid, cmd: cmd, in: in, out: bufio.NewReader(out)}
	o.victims = append(o.victims, v)
	line, err := v.out.ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("the victim did not start: %w", err)
	}
	if v.Address, err = strconv.ParseUint(strings.TrimSpace(line), 0, 64); err != nil {
		return nil, err
	}
	o.Tell("pid", strconv.Itoa(v.PID))
	o.Tell("address", fmt.Sprintf("%#x", v.Address))
	return v, nil
}

// Harmed reports whether the victim is dead, got a signal, or has another secret in
// its memory than the one it was given.
func (v *Victim) Harmed(secret string) bool {
	if _, err := io.WriteString(v.in, "\n"); err != nil {
		return true
	}
	answer := make(chan string, 1)
	go func() {
		line, err := v.out.ReadString('\n')
		if err != nil {
			line = "dead"
		}
		answer <- line
	}()
	select {
	case line := <-answer:
		return line != "0 "+secret+"\n"
	case <-time.After(2 * time.Second):
		return true // stopped
	}
}

func (v *Victim) end() {
	v.in.Close()
	_ = v.cmd.Process.Kill()
	_ = v.cmd.Wait()
}

// received counts the signals that have arrived. The runtime passes them on when
// it likes: one of its own, with the highest number, comes after the others.
func received(signals chan os.Signal) int {
	const last = syscall.Signal(64)
	_ = syscall.Kill(os.Getpid(), last)
	n := 0
	for s := range signals {
		if s == last {
			break
		}
		n++
	}
	time.Sleep(time.Millisecond)
	return n + len(signals)
}

// victim is its main: it answers each line with how many signals it got and what
// its memory holds, until its input ends.
func victim(args []string) int {
	// Like an ordinary user's process, also when root runs this: ptrace(2) protects
	// what has more capabilities than the attacker.
	if err := withoutCapabilities(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	signals := make(chan os.Signal, 1000)
	signal.Notify(signals)
	signal.Reset(syscall.SIGURG, syscall.SIGCHLD, syscall.SIGPIPE) // the runtime's own
	if len(args) > 0 {
		f, err := os.Open(args[0])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer f.Close()
	}
	secret := []byte(os.Getenv("SECRET"))
	fmt.Printf("%#x\n", uintptr(unsafe.Pointer(unsafe.SliceData(secret))))
	in := bufio.NewReader(os.Stdin)
	for {
		if _, err := in.ReadString('\n'); err != nil {
			return 0
		}
		fmt.Printf("%d %s\n", received(signals), secret)
	}
}

// withoutCapabilities returns in a process none of whose threads has a capability.
// Credentials are a thread's, and the runtime cannot set them for all threads of a program
// that holds a C library (syscall.AllThreadsSyscall: ENOTSUP): one thread sets its own,
// and executes the program once more, which leaves that thread's alone.
func withoutCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var has, none [2]unix.CapUserData
	if err := unix.Capget(&header, &has[0]); err != nil {
		return os.NewSyscallError("capget", err)
	}
	if has == none {
		return nil
	}
	runtime.LockOSThread()
	const noRoot = 1 // SECBIT_NOROOT: uid 0 gains nothing by execve(2)
	_ = unix.Prctl(unix.PR_SET_SECUREBITS, noRoot, 0, 0, 0)
	if err := unix.Capset(&header, &none[0]); err != nil {
		return os.NewSyscallError("capset", err)
	}
	if err := unix.Capget(&header, &has[0]); err != nil || has != none {
		return fmt.Errorf("capabilities are left: %w", err)
	}
	return os.NewSyscallError("execve", syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
}

// VictimHarmed reports whether any victim was Harmed.
func (o *Outside) VictimHarmed() bool {
	for _, v := range o.victims {
		if v.Harmed(o.Secret) {
			return true
		}
	}
	return false
}
