// Package plan turns a policy and the facts of a host into a plan: the ordered
// operations that make the sandbox, each knowing the step it belongs to and
// the line of policy that asked for it. Compile is a pure function; nothing
// here makes a system call. One file holds one mechanism.
package plan

import (
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/policy"
)

// Input is all that a plan depends on.
type Input struct {
	Policy *policy.Policy // expanded and valid
	Facts  host.Facts     // with Paths for what SourcePaths names

	Filter      []unix.SockFilter // of the command; nil: none
	FilterFlags uint              // SECCOMP_FILTER_FLAG_* to load it with
	InitFilter  []unix.SockFilter // of pid 1
	// Programs are filters that somebody else has compiled; they are loaded in this order,
	// before Filter.
	Programs [][]unix.SockFilter
	Notify   *Notify // nil: no call is answered by the supervisor

	// File descriptors that the launcher inherits beside 0, 1, 2 and the
	// command's own extra ones, which are 3 to 2+ExtraFiles.
	ExtraFiles int
	StatusFD   int   // pipe to the supervisor
	ControlFD  int   // socket to the supervisor: terminal, id maps, listener; -1: none
	EntryFDs   []int // v1 tasks files (or cgroup.procs) to write 0 to
	CgroupFD   int   // v2 directory for CLONE_INTO_CGROUP; -1: none
	HasCgroup  bool

	// Terminal says which of 0, 1 and 2 are the sandbox's own pseudo-terminal.
	Terminal [3]bool

	// Sequence makes the root in place of the policy's Mounts.
	Sequence []Act
	// Manner is how the sandbox lives beside its caller; nil: as Cloche's own do.
	Manner *Manner

	// Standalone makes an image that needs no supervisor, for `cloche build`.
	Standalone *Standalone
}

// HasTerminal reports whether the command gets a pseudo-terminal.
func (in *Input) HasTerminal() bool { return in.Terminal != [3]bool{} }

// Plan is what will be done.
type Plan struct {
	GOARCH   string
	Policy   *policy.Policy
	Steps    []Step
	Ops      []Op
	OnFatal  Label
	VarNames []string // by Var

	// Landlock is what the command's ruleset allows; what joins it gets the same.
	Landlock []LandlockPath

	// Notes says in words what a policy's "where available" left out.
	Notes []string

	marks map[Label]int // made when the plan is first printed
}

// supervised reports whether a Go program waits for the sandbox.
func (b *builder) supervised() bool { return b.in.Standalone == nil }

// builds reports whether the image will be a file that runs anywhere.
func (b *builder) builds() bool { return b.in.Standalone != nil && b.in.Standalone.InPlace == nil }

// inPlace is set when `cloche run` becomes the image.
func (b *builder) inPlace() *InPlace {
	if b.in.Standalone == nil {
		return nil
	}
	return b.in.Standalone.InPlace
}

// Process is who carries a step out.
type Process string

// The processes of a sandbox.
const (
	Launcher Process = "launcher" // the image as it was started: makes the namespaces
	Init     Process = "init"     // pid 1 inside: sets everything up, then waits
	Network  Process = "network"  // makes the network namespace beside init, and is gone
	Command  Process = "command"  // becomes the command by its last operation
	Watcher  Process = "watcher"  // of a command that joins: its parent, outside of the pid namespace
)

// Step is a group of operations with one purpose.
type Step struct {
	Process Process
	Name    string // "mount /usr", "user namespace"
	Kind    Kind   // for the explanation of errors
	Path    string // the path that matters, if one does
	Origin  string // the line of policy or the flag that asked for it
}

// Kind classifies steps, so that an errno can be explained.
type Kind uint8

// The kinds of steps.
const (
	KindOther Kind = iota
	KindClone
	KindCgroup
	KindIDs
	KindPropagation
	KindRoot
	KindBind
	KindTmpfs
	KindOverlay
	KindFile
	KindHide
	KindDev
	KindDevpts
	KindMqueue
	KindProc
	KindLoopback
	KindHostname
	KindPivot
	KindTerminal
	KindCwd
	KindRlimit
	KindCapabilities
	KindKeyring
	KindLandlock
	KindSeccomp
	KindExec
	KindWait
	KindJoin
	KindContainerRoot
	KindContainerMount
	KindContainerDevice
	KindContainerProcess
	KindPlace   // what a mount is put on, and the directories on the way to it
	KindContent // of a file that is being made
	KindSymlink
	KindMode
	KindReadOnly   // of a mount that is there
	KindJoinBeside // a namespace that is there
	KindNoUserNS   // that no further user namespace can be made
	KindLockFile
	KindReport
	KindLabel
)

// Error is a policy that can't be planned on this host. It names the setting,
// why it can't be, and what to do.
type Error struct {
	Setting string // "read /nope", "limits.pids"
	Origin  string
	Why     string
	Fix     string
}

func (e *Error) Error() string {
	s := e.Setting
	if e.Origin != "" {
		s += " (" + e.Origin + ")"
	}
	s += ": " + e.Why
	if e.Fix != "" {
		s += "; " + e.Fix
	}
	return s
}

// Compile makes the plan.
func Compile(in Input) (*Plan, error) {
	if in.Standalone != nil {
		if err := NeedsSupervisor(in.Policy); err != nil {
			return nil, err
		}
		in.ControlFD, in.Terminal = -1, [3]bool{}
		if in.Standalone.InPlace == nil {
			in.StatusFD, in.CgroupFD, in.EntryFDs, in.ExtraFiles = lifelineFD, -1, nil, 0
		}
	}
	b := newBuilder(&in)
	if b.argv() == nil {
		if err := b.checkPrelude(); err != nil {
			return nil, err
		}
	}
	if pre := b.prelude(); pre != nil {
		b.ownCgroup = pre.Hierarchy.Version == 1
	}
	if b.builds() {
		var err error
		if b.ownCgroup, err = checkStandaloneLimits(in.Policy); err != nil {
			return nil, err
		}
	}
	if err := b.checkKernel(); err != nil {
		return nil, err
	}
	if err := b.checkNotify(); err != nil {
		return nil, err
	}
	if in.Sequence != nil {
		if err := b.checkSequence(); err != nil {
			return nil, err
		}
	} else if err := b.arrangeMounts(); err != nil {
		return nil, err
	}
	b.launcher()
	if err := b.init(); err != nil {
		return nil, err
	}
	b.command()
	b.settle()
	b.wait()
	b.reportFatal()
	if b.vars > MaxVars {
		return nil, &Error{Setting: "policy", Why: "more values are alive at once than a launcher image holds", Fix: "ask for fewer mounts"}
	}
	return b.p, nil
}
