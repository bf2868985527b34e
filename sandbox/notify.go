package sandbox

import "github.com/cloche-sandbox/cloche/seccomp"

// Notify has system calls of a command, and of all that it starts, answered by a
// function of the calling program, seccomp_unotify(2). It takes nothing off the
// policy: its filter is loaded beside the policy's own, and where the two differ the
// stricter answer holds. It needs Linux 5.11 and policy.Policy.Init; Exec
// leaves such a command to Start.
type Notify struct {
	// Profile says which calls: those that it answers with seccomp.UserNotify.
	Profile seccomp.Profile
	// Archs are the architectures that the profile is for; nil: the machine's own.
	Archs []seccomp.Arch
	// Handle answers one notification. It is called by one goroutine, from before the command's
	// exec until the end; Wait waits for it. The thread whose call it is waits as long as
	// no answer is given, which may be from another goroutine. When this program
	// dies, the calls fail.
	//
	// It must not look behind a pointer and then have the kernel continue the call: see
	// seccomp.Notification.
	Handle func(l *seccomp.Listener, n *seccomp.Notification)
}

// Denials is how many system calls the policy's filter has denied or logged so far; -1
// without Audit, or before Start. After Wait the Result has each kind.
func (c *Cmd) Denials() int {
	if c.proc == nil {
		return -1
	}
	return c.proc.Denials()
}
