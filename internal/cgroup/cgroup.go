// Package cgroup makes, limits, reads and takes away the cgroup of a sandbox:
// cgroup2, the older hierarchies of cgroup v1, and both at once, behind one
// interface. See cgroups(7).
//
// Everything under a cgroup directory is opened by openat2(2) below a
// descriptor of that directory, which was checked to be on a cgroup file system.
package cgroup

import (
	"strings"
	"time"

	"github.com/cloche-sandbox/cloche/policy"
)

// Controller is a resource that a cgroup can limit or count.
type Controller uint8

// The controllers that limits and readings use. CPUAcct and Freezer are part of
// every cgroup2 and hierarchies of their own on v1; IO is v1's blkio.
const (
	Memory Controller = iota
	CPU
	CPUAcct
	Cpuset
	Pids
	IO
	Freezer
	nControllers
)

// String is the controller's name on cgroup2, and on v1 for the two that
// cgroup2 has no controller for.
func (c Controller) String() string {
	names := [...]string{"memory", "cpu", "cpuacct", "cpuset", "pids", "io", "freezer"}
	if int(c) < len(names) {
		return names[c]
	}
	return "unknown"
}

// set is a set of controllers.
type set uint16

func (s set) has(c Controller) bool { return s&(1<<c) != 0 }

func (s set) String() string {
	var names []string
	for c := range nControllers {
		if s.has(c) {
			names = append(names, c.String())
		}
	}
	return strings.Join(names, ", ")
}

// Unavailable is a controller that this process may not use, or a limit that
// the kernel's controller was built without.
type Unavailable struct {
	Controller string // "memory"; several are joined by ", "
	Cause      string
	Remedy     string
	Limit      string // by its name in policy.Limits.WhereAvailable; "": the controller as a whole
}

func (e *Unavailable) Error() string {
	if e.Limit != "" {
		return "limits." + e.Limit + ": " + e.Cause + "; " + e.Remedy
	}
	return "cgroup controller " + e.Controller + ": " + e.Cause + "; " + e.Remedy
}

// Options are the needs of a sandbox beside its limits.
type Options struct {
	CPUTime bool // CPUTime will be called: counted by cpuacct on v1
	Freezer bool // Freeze and Thaw will be called
	NoInit  bool // the command itself is pid 1: it alone counts towards the limit of pids
	DryRun  bool // find out where, check, and make nothing; Entries have no descriptors
}

// Entry is a file to which a process writes "0" to enter the group.
type Entry struct {
	Path string // for messages
	FD   int    // open for writing, close-on-exec; -1 after a dry run
	V2   bool   // cgroup.procs of cgroup2: dear, CLONE_INTO_CGROUP is the better way
}

// Unknown is the value of a reading that this kernel or this layout lacks.
const Unknown = -1

// Usage is what a group has used. A value that can't be known is Unknown, never 0.
type Usage struct {
	MemoryCurrent int64 // bytes
	MemoryPeak    int64 // bytes; cgroup2: Linux 5.19
	SwapPeak      int64 // bytes; cgroup2: Linux 6.5; v1: Unknown
	MemoryLimited int64 // how often the group ran into its memory limit; v1: Unknown when never
	OOMKills      int64 // processes that the OOM killer ended; v1: Linux 4.13

	CPUUser, CPUSystem time.Duration // their sum is exact, how it is split may be an estimate of the kernel's tick
	Periods            int64         // CPU quota periods that passed
	Throttled          int64         // of them, those in which the group had to wait
	ThrottledTime      time.Duration

	PidsCurrent int64 // processes and threads, with pid 1 of the sandbox
	PidsPeak    int64 // the same; Linux 6.1
	PidsRefused int64 // forks that the limit refused

	CPUPressure, MemoryPressure, IOPressure Pressure // cgroup2 alone
}

// Pressure is the total time lost to waiting for a resource, proc_pressure(5).
type Pressure struct {
	Some time.Duration // some task waited
	Full time.Duration // all tasks that could run waited
}

// controllersFor are those that limits and options use.
func controllersFor(l *policy.Limits, o Options) set {
	var s set
	add := func(on bool, c Controller) {
		if on {
			s |= 1 << c
		}
	}
	add(l.Memory != 0 || l.Swap != nil, Memory)
	add(l.CPUs != 0 || l.CPUWeight != 0, CPU)
	add(l.Pids != 0, Pids)
	add(len(l.IO) != 0, IO)
	add(l.Cpuset != "", Cpuset)
	add(o.CPUTime, CPUAcct)
	add(o.Freezer, Freezer)
	return s
}
