package sandbox

import (
	"syscall"
	"time"
)

// Reason is why a sandbox ended.
type Reason string

// The reasons. A limit's name means that the limit ended it.
const (
	Exited   Reason = "exited"    // the command called exit
	Signaled Reason = "signaled"  // a signal ended the command
	WallTime Reason = "wall-time" // policy.TimeLimits.Wall
	CPUTime  Reason = "cpu-time"  // policy.TimeLimits.CPU
	Memory   Reason = "memory"    // the kernel's OOM killer, for policy.Limits.Memory
	Output   Reason = "output"    // policy.Policy.Output
	Syscall  Reason = "syscall"   // the seccomp filter killed it (SIGSYS)
	Setup    Reason = "setup"     // the sandbox could not be made; the command never ran
	Canceled Reason = "canceled"  // the context ended, or Kill was called
)

// Result is what a sandbox did. The JSON form is described in docs/result.md.
// A number that this kernel or this user can't know is -1, never 0.
type Result struct {
	Reason   Reason         `json:"reason"`
	ExitCode int            `json:"exit_code"`        // as a shell says it: the command's own, or 128+n for signal n
	Signal   syscall.Signal `json:"signal,omitempty"` // that ended the command; 0: none
	Limit    string         `json:"limit,omitempty"`  // the policy key of the limit that ended it, such as "limits.memory"

	WallTime time.Duration `json:"wall_time_ns"`

	// Of the cgroup where it counts, else of the command and its reaped children,
	// for memory the largest resident set of one process. When the sandbox was
	// killed as a whole, for a time limit or the context, and no cgroup
	// counted, at least that much was used; after another kill they are -1.
	UserTime   time.Duration `json:"user_time_ns"`
	SystemTime time.Duration `json:"system_time_ns"`
	PeakMemory int64         `json:"peak_memory_bytes"`

	PeakProcesses int64 `json:"peak_processes"`
	OOMKills      int64 `json:"oom_kills"`
	Throttled     int64 `json:"cpu_throttled_periods"`
	OutputBytes   int64 `json:"output_bytes"` // counted only when the policy limits it

	Denied     []Denied `json:"denied,omitempty"`      // with Cmd.Audit: what the filter denied, once for each kind
	MoreDenied int      `json:"more_denied,omitempty"` // calls of kinds beyond the 256 that are kept
}

// Denied is a kind of system call that the filter denied or logged: a call, and what
// the filter's rules look at of its arguments.
type Denied struct {
	Call    string `json:"call"`            // with the arguments up to the last that a rule looks at, by their constants where they have some
	Action  string `json:"action"`          // the filter's answer: an errno's name, kill-process, kill-thread, trap or log
	Group   string `json:"group,omitempty"` // of the rule that decided; "": no rule holds for the call
	Reason  string `json:"reason"`          // why the filter says so
	Count   int    `json:"count"`
	PID     int    `json:"pid"`     // outside, of the thread that was the first
	Program string `json:"program"` // its name, proc_pid_comm(5)
}
