package attack

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// Whoever watches a sandbox may be killed, by the kernel's OOM killer say. Pid 1 has
// asked the kernel to die with it, and ends besides when nobody holds the other end of
// its pipe; everything ends with pid 1.
var supervisorKilled = Attack{
	Name: "outlive-the-supervisor", Group: "limits", Reference: "PR_SET_PDEATHSIG(2const), pid_namespaces(7)",
	Tries: "leave processes behind when the process that started the sandbox is killed",
	Apart: true,
	Door:  []string{"write $DIR", "pids none"}, // no cgroup that the next run would have to take away
	Stops: []Stop{
		{&Layer{Name: "pid 1's death signal", Step: "protect pid 1", Call: "prctl", First: unix.PR_SET_PDEATHSIG}, "SIGKILL"},
		{&Layer{Name: "the supervisor's pipe", Step: "wait", Call: "ppoll"}, "SIGKILL"},
	},
	Outside: func(o *Outside) error {
		o.Tell("mark", o.Secret)
		o.Defer(o.endLeft)
		over, verdict := make(chan struct{}), make(chan bool, 1)
		o.after = verdict
		go func() {
			for len(o.left()) == 0 {
				select {
				case <-over:
					verdict <- false
					return
				case <-time.After(5 * time.Millisecond):
				}
			}
			for _, pid := range o.left() {
				if child := childAbove(pid); child != 0 {
					_ = unix.Kill(child, unix.SIGKILL)
					break
				}
			}
			dying := time.Now().Add(3 * time.Second) // which takes its time on a busy machine
			for len(o.left()) > 0 && time.Now().Before(dying) {
				time.Sleep(5 * time.Millisecond)
			}
			verdict <- len(o.left()) > 0
			o.endLeft() // for which the attacker waits
		}()
		o.Defer(sync.OnceFunc(func() { close(over) }))
		return nil
	},
	Inside: func(in *Inside) error {
		cmd := exec.Command("/proc/self/exe", Arg, leftRole, "daemon", in.Arg("mark"))
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			return Failed(err)
		}
		_ = cmd.Wait() // by then it was found, and the supervisor killed
		return NotFound("an end of the supervisor")
	},
	Escaped: func(o *Outside) bool {
		select {
		case left := <-o.after:
			return left
		case <-time.After(outliveFor):
			return false // nothing was ever seen
		}
	},
}

// childAbove is the child of this process that pid is or comes from.
func childAbove(pid int) int {
	for pid > 1 {
		b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		if err != nil {
			return 0
		}
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		parent, _ := strconv.Atoi(f[1])
		if parent == os.Getpid() {
			return pid
		}
		pid = parent
	}
	return 0
}

// apart is a sandbox whose supervisor is a process of its own.
type apart struct{ s Sandboxed }

// Run runs the attacker.
func (a apart) Run(ctx context.Context, argv []string, files []*os.File, stdout io.Writer) (Ended, error) {
	args := []string{"/proc/self/exe", Arg, supervisorRole, string(policy.Format(a.s.Policy))}
	return Bare{Prefix: args}.Run(ctx, argv, files, stdout)
}

// superviseApart is the main of that process: a policy, and a command.
func superviseApart(args []string) int {
	if len(args) < 2 {
		return 2
	}
	p, err := policy.Parse("policy", []byte(args[0]))
	if err != nil {
		return 2
	}
	ended, err := Sandboxed{Policy: p}.Run(context.Background(), args[1:], nil, os.Stdout)
	if err != nil || ended.Signal != 0 {
		return 1
	}
	return 0
}
