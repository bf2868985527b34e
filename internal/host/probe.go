package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ProbeArg is the first argument of a program that is to be a probe: main calls
// ProbeMain for it.
const ProbeArg = "__probe"

// probeTimeout ends a probe that hangs, such as one on a dead network file system.
const probeTimeout = 10 * time.Second

// ProbeMain carries out one probe in this process, which Doctor started in
// namespaces of its own, and ends the process. args are those after ProbeArg.
func ProbeMain(args []string) {
	runtime.LockOSThread()
	name := ""
	if len(args) > 0 {
		name = args[0]
	}
	detail, err := probeNamed(name)
	if err == nil {
		os.Stdout.WriteString("ok " + detail + "\n")
		os.Exit(0)
	}
	var e unix.Errno
	errors.As(err, &e)
	fmt.Printf("failed %d %s\n", int(e), strings.ReplaceAll(err.Error(), "\n", " "))
	os.Exit(1)
}

func probeNamed(name string) (detail string, err error) {
	switch name {
	case "nothing":
		return "", nil
	case "wait":
		_, _ = os.Stdin.Read(make([]byte, 1)) // until the parent closes it or ends
		return "", nil
	case "privileges":
		return "", probePrivileges()
	case "mount":
		return probeMount()
	case "proc":
		return probeProc()
	case "overlay":
		return "", probeOverlay()
	case "idmap":
		return "", probeIDMap()
	case "time":
		return "", probeTime()
	case "loopback":
		return "", probeLoopback()
	case "seccomp":
		return "", probeSeccomp()
	case "landlock":
		return "", probeLandlock()
	}
	return "", fmt.Errorf("there is no probe %q", name)
}

// failure is an operation of a probe that failed, in words, and its errno.
type failure struct {
	op    string
	errno unix.Errno // 0: none
}

func failed(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", op, err)
}

// result is what a probe said.
type result struct {
	detail string
	err    *failure // nil: it worked
}

// errno is why it failed; 0: it worked, or for no errno's reason.
func (r result) errno() unix.Errno {
	if r.err == nil {
		return 0
	}
	return r.err.errno
}

// prober starts probes.
type prober struct {
	ctx   context.Context
	flags uintptr // CLONE_NEWUSER, unless the user is privileged without
}

// in runs a probe in new namespaces beside the user namespace, if one is used.
func (p *prober) in(namespaces uintptr, name string) result {
	return p.run(&syscall.SysProcAttr{Cloneflags: p.flags | namespaces}, name)
}

// run runs a probe; with a user namespace, as its root.
func (p *prober) run(attr *syscall.SysProcAttr, name string) result {
	ctx, cancel := context.WithTimeout(p.ctx, probeTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", ProbeArg, name)
	if attr.Cloneflags&unix.CLONE_NEWUSER != 0 {
		attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	attr.Pdeathsig = syscall.SIGKILL
	cmd.SysProcAttr = attr
	// Pdeathsig is sent when the thread that forked ends, not the program.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	out, err := cmd.Output()
	if line, ok := strings.CutPrefix(string(bytes.TrimSpace(out)), "ok"); ok && err == nil {
		return result{detail: strings.TrimSpace(line)}
	}
	return result{err: readFailure(string(bytes.TrimSpace(out)), err)}
}

// readFailure understands the line of a probe that failed, or why there is none.
func readFailure(line string, err error) *failure {
	rest, ok := strings.CutPrefix(line, "failed ")
	if !ok {
		f := &failure{op: "starting a process: " + err.Error()}
		errors.As(err, &f.errno)
		return f
	}
	n := 0
	number, op, _ := strings.Cut(rest, " ")
	for _, c := range number {
		n = n*10 + int(c-'0')
	}
	return &failure{op: op, errno: unix.Errno(n)}
}
