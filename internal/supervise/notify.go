package supervise

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// Notify has system calls of the command and all that it starts answered by a
// function, seccomp_unotify(2).
type Notify struct {
	// Profile says which: those that it answers with UserNotify. Its filter is
	// loaded beside the policy's own, and of two answers the stricter holds: what the
	// policy denies is denied, and nobody is asked.
	Profile seccomp.Profile
	// Archs are the architectures that the profile is for; nil: the machine's own.
	Archs []seccomp.Arch
	// Handle answers one notification. It is called by one goroutine, from before
	// the command's exec to the end of the sandbox; Wait waits for it. It may answer
	// later, from another goroutine: until then the thread waits.
	Handle func(*seccomp.Listener, *seccomp.Notification)
}

// notifyPlan is what the plan needs to know of spec.Notify.
func notifyPlan(n *Notify, goarch string) (*plan.Notify, error) {
	if n == nil {
		return nil, nil
	}
	arch, ok := seccomp.ArchByName(goarch)
	if !ok {
		return nil, fmt.Errorf("notify: no table of system calls for %s", goarch)
	}
	archs := n.Archs
	if len(archs) == 0 {
		archs = []seccomp.Arch{arch}
	}
	prog, err := seccomp.Compile(n.Profile, archs...)
	if err != nil {
		return nil, fmt.Errorf("notify: profile %s: %w", n.Profile.Name, err)
	}
	if len(prog) == 0 {
		return nil, fmt.Errorf("notify: profile %s has no rule, so nothing would notify; give it one with the action notify", n.Profile.Name)
	}
	return &plan.Notify{Filter: prog, Killable: host.KillableNotify()}, nil
}

// sameNotify is for sameInput.
func sameNotify(a, b *plan.Notify) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Killable == b.Killable && sameProgram(a.Filter, b.Filter)
}

// receive takes what pid 1 sends over the control socket, and serves it.
func (p *Process) receive() {
	for {
		kind, fd, ok := p.receiveDescriptor()
		switch {
		case !ok:
			return // all was sent, or the set-up failed; its record says so
		case kind == plan.SentTerminal && p.spec.OnTerminal != nil:
			p.takeTerminal(fd)
		case kind == plan.SentListener && p.notify != nil:
			p.answerCalls(fd)
		default:
			unix.Close(fd)
		}
	}
}

// receiveDescriptor reads one message, unix(7); ok is false when there is none to come.
func (p *Process) receiveDescriptor() (kind byte, fd int, ok bool) {
	buf, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	n, oobn := 0, 0
	for {
		var err error
		n, oobn, _, _, err = unix.Recvmsg(int(p.control.Fd()), buf, oob, unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return 0, -1, false
		}
		break
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(msgs) == 0 {
		return 0, -1, false
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) == 0 {
		return 0, -1, false
	}
	return buf[0], fds[0], true
}

// answerCalls serves the listener until nobody is left whose calls it answers, or
// the sandbox ends.
func (p *Process) answerCalls(fd int) {
	l, err := seccomp.NewListener(fd)
	if err != nil {
		p.kill(Setup, "") // nobody would answer
		return
	}
	defer l.Close()
	p.mu.Lock()
	p.listener = l
	over := p.reaped
	p.mu.Unlock()
	if over {
		return
	}
	for {
		n, err := l.Receive()
		if err != nil {
			return
		}
		p.notify.Handle(l, n)
	}
}
