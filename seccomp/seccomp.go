// Package seccomp turns rules about system calls into filters for seccomp(2):
// classic BPF that the kernel runs before each call of a process. It is pure
// Go; only Load and LoadAllThreads make a system call.
package seccomp

import (
	"strconv"

	"golang.org/x/sys/unix"
)

//go:generate go run ./internal/gentables
//go:generate go run ./internal/genfilters

// Action is a filter's answer, a SECCOMP_RET_* value of seccomp(2).
type Action uint32

// The answers without a value of their own.
const (
	KillProcess Action = unix.SECCOMP_RET_KILL_PROCESS // the whole process ends as by SIGSYS (Linux 4.14)
	KillThread  Action = unix.SECCOMP_RET_KILL_THREAD
	Trap        Action = unix.SECCOMP_RET_TRAP       // a SIGSYS that the process may handle
	Log         Action = unix.SECCOMP_RET_LOG        // allowed and logged (Linux 4.14)
	UserNotify  Action = unix.SECCOMP_RET_USER_NOTIF // a supervisor answers (Linux 5.0)
	Allow       Action = unix.SECCOMP_RET_ALLOW
)

// Errno is the answer that the call fails with e.
func Errno(e unix.Errno) Action { return Action(unix.SECCOMP_RET_ERRNO | uint32(e)&0xffff) }

// Trace is the answer that a tracer gets to see the call with the given message.
func Trace(msg uint16) Action { return Action(unix.SECCOMP_RET_TRACE | uint32(msg)) }

// stricter reports whether the kernel prefers a to b when two filters answer.
func (a Action) stricter(b Action) bool {
	return int32(a&unix.SECCOMP_RET_ACTION_FULL) < int32(b&unix.SECCOMP_RET_ACTION_FULL)
}

// String is the action as profiles write it.
func (a Action) String() string {
	switch a {
	case KillProcess:
		return "kill-process"
	case KillThread:
		return "kill-thread"
	case Trap:
		return "trap"
	case Log:
		return "log"
	case UserNotify:
		return "notify"
	case Allow:
		return "allow"
	}
	switch a & 0xffff0000 {
	case unix.SECCOMP_RET_ERRNO:
		if n := unix.ErrnoName(unix.Errno(a & 0xffff)); n != "" {
			return n
		}
		return "errno " + strconv.Itoa(int(a&0xffff))
	case unix.SECCOMP_RET_TRACE:
		return "trace " + strconv.Itoa(int(a&0xffff))
	}
	return "0x" + strconv.FormatUint(uint64(a), 16)
}

// Op compares an argument.
type Op uint8

// The comparisons, unsigned.
const (
	Equal Op = iota
	NotEqual
	Less
	LessEqual
	Greater
	GreaterEqual
	MaskedEqual // argument & Mask == Value
)

// Arg is a condition on one argument of a call.
type Arg struct {
	Index int // 0 to 5
	Op    Op
	Value uint64
	Mask  uint64 // of MaskedEqual
	// Low32 compares the lower 32 bits alone: for arguments of which the kernel
	// itself looks at no more (ioctl requests, int flags). Compared with 64
	// bits, 0x100005412 would pass where TIOCSTI is denied (CVE-2019-10063).
	Low32 bool
}

// Rule is what happens to some calls when all conditions hold.
type Rule struct {
	// Syscalls are names, or numbers in decimal. A name that an architecture does
	// not have says nothing there; one that no architecture has is an error.
	Syscalls []string
	Action   Action
	Args     []Arg // all must hold; there may be several on one argument
	// Origin is where the rule was written, "profile.toml:12", for messages. It
	// decides nothing.
	Origin string
}

// Group is rules that belong together, and why they are there.
type Group struct {
	Name   string
	Reason string
	Rules  []Rule
}

// Profile is a whole filter. Of the rules that hold for a call, the first one
// decides, in the order of the groups.
type Profile struct {
	Name        string
	Description string
	Default     Action // of calls that no rule holds for
	// Unknown is the answer to numbers that the profile can't have meant: those
	// above the highest that one of its rules names on the architecture, which are
	// newer than the profile, and those that no call has. With ENOSYS programs
	// fall back to what they did before; EPERM would make them fail. The number -1,
	// which a tracer leaves of a call that it skips (Linux 4.8), is such a number.
	Unknown Action
	BadArch Action // of calls by the numbers of architectures that were not asked for
	Groups  []Group
	// Flags are the SECCOMP_FILTER_FLAG_* with which the filter is to be loaded.
	// They change nothing in its program.
	Flags uint
}

// empty reports whether there is nothing to filter.
func (p *Profile) empty() bool {
	return len(p.Groups) == 0 && p.Default == Allow && p.Unknown == Allow && p.BadArch == Allow
}

// Data is a system call as a filter sees it, struct seccomp_data.
type Data struct {
	NR   int32
	Arch uint32
	IP   uint64
	Args [6]uint64
}
