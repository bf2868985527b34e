// Package observe watches a command by the notifications of a filter and tells
// package learn what it did. It observes and never enforces: each call continues, also
// one of which it looked behind a pointer, so nothing that it saw is proof of what
// the kernel then did. It is for commands that are trusted while they are watched.
package observe

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/learn"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// maxBeyond is how many kinds of call are listed that the base's filter denies.
const maxBeyond = 64

// Observer takes the notifications of one command. Its results are to be read when
// the command has ended.
type Observer struct {
	Calls     learn.Calls
	Files     learn.Files
	Addresses Addresses
	// Beyond are calls that were let through and that the base's filter denies.
	Beyond []string
	// Unread counts calls of which the path or the address could not be read.
	Unread int

	arch    seccomp.Arch
	during  *policy.Policy
	base    []unix.SockFilter // nil: it denies nothing
	beyond  map[string]bool
	started bool // the command's exec was seen; before it the launcher calls
}

// New returns an observer of a command that has the policy during, expanded. What
// the filter base answers with ENOSYS is answered so here too: programs fall back to
// other calls then, which are the ones to learn.
func New(arch seccomp.Arch, base seccomp.Profile, during *policy.Policy) (*Observer, error) {
	o := &Observer{arch: arch, during: during, beyond: map[string]bool{}}
	if base.DeniesNothing() {
		return o, nil
	}
	var err error
	o.base, err = seccomp.Compile(base, arch)
	return o, err
}

// Profile notifies of every call but those that a learned policy allows in any case:
// they are the most frequent ones, and a notification costs two switches of process.
func (o *Observer) Profile() seccomp.Profile {
	quiet := learn.Core()
	rules := quiet.Rules
	quiet.Rules = nil
	for _, r := range rules {
		var calls []string
		for _, name := range r.Syscalls {
			if name != "execve" { // whose path is to be seen
				calls = append(calls, name)
			}
		}
		r.Syscalls = calls
		quiet.Rules = append(quiet.Rules, r)
	}
	return seccomp.Profile{
		Name: "observed", Default: seccomp.UserNotify, Unknown: seccomp.UserNotify,
		BadArch: seccomp.KillProcess, Groups: []seccomp.Group{quiet},
	}
}

// Handle notes a call and lets it continue.
func (o *Observer) Handle(l *seccomp.Listener, n *seccomp.Notification) {
	_ = l.Respond(n.ID, o.answer(l, n)) // ErrGone: it was killed
}

func (o *Observer) answer(l *seccomp.Listener, n *seccomp.Notification) seccomp.Response {
	name, ok := o.arch.Name(n.Data.NR)
	if !ok {
		return seccomp.Response{Errno: unix.ENOSYS}
	}
	if o.started = o.started || name == "execve" || name == "execveat"; !o.started {
		return seccomp.Response{Continue: true}
	}
	if o.base != nil {
		switch action, _, err := seccomp.Simulate(o.base, n.Data); {
		case err != nil || action == seccomp.Allow || action == seccomp.Log:
		case action == seccomp.Errno(unix.ENOSYS):
			return seccomp.Response{Errno: unix.ENOSYS}
		default:
			if !o.beyond[name] && len(o.beyond) < maxBeyond {
				o.beyond[name] = true
				o.Beyond = append(o.Beyond, name)
			}
		}
	}
	program := command(n.PID)
	if !l.Valid(n.ID) {
		return seccomp.Response{Continue: true} // it is gone, and the name perhaps somebody else's
	}
	o.Calls.Add(name, n.Data.Args, program)
	t := &target{l: l, n: n, program: program}
	t.look(o, name)
	t.close()
	if t.failed {
		o.Unread++
	}
	return seccomp.Response{Continue: true}
}

// command is the name of a thread's program, proc_pid_comm(5).
func command(tid int) string {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(tid) + "/comm")
	if err != nil {
		return "?"
	}
	return strings.TrimSuffix(string(text), "\n")
}
