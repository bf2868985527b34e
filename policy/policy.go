// Package policy says what a command may do. A Policy is plain data that a
// person could write: as TOML, as flags of `cloche run`, or as a Go literal.
// Nothing here makes a system call; the paths in a Policy are strings until
// internal/host has looked at them.
package policy

import (
	"maps"
	"slices"
	"time"

	"github.com/cloche-sandbox/cloche/seccomp"
)

// Policy is everything a sandbox allows. New returns the one that allows
// nothing at all: an empty root, no network, no capability, every namespace
// but time new. The zero value is not that one: it makes no namespace, so
// Validate refuses it.
//
// A Policy never changes once a sandbox was started from it.
type Policy struct {
	// Name and Description are for people: they appear in `cloche profiles`,
	// in plans and in messages, and decide nothing.
	Name        string
	Description string

	// Mounts is the file system as seen inside. Order does not matter between
	// different paths (a parent is always mounted before what lies in it); for
	// the same path the later entry wins.
	Mounts []Mount
	// ShowCommand adds the command's own file and what it needs to load (its
	// dynamic loader and shared libraries, a script's interpreter), read-only,
	// where Mounts do not show them. What Mounts hide stays hidden.
	ShowCommand bool

	// Network is the network namespace's content, see the Network constants.
	Network Network

	// Unshare holds the namespaces that are made anew; one that is missing is
	// shared with the caller. See namespaces(7).
	Unshare Namespaces

	User         User
	Capabilities []string // kept, by capabilities(7) name such as "CAP_NET_BIND_SERVICE"; empty: none
	// Seccomp names the profile of the filter: "default", "build", "strict", "docker"
	// or "none", see seccomp/profile, or the path of a profile file in either of its
	// forms, which holds a slash or ends in .toml or .json.
	Seccomp string
	// SeccompText is the text of the file that Seccomp names, see LoadSeccomp.
	SeccompText string
	// SeccompProfile is a whole profile in place of a named one; Seccomp is "" then.
	SeccompProfile *seccomp.Profile
	// SeccompGroups are rules that come before those of the profile: of the rules that
	// hold for a call, the first one decides.
	SeccompGroups []seccomp.Group
	Landlock      Landlock
	Keyring       bool // join a fresh session keyring, keyrings(7); not needed while the filter denies keyctl

	Rlimits map[string]Rlimit // by getrlimit(2) name in lower case without RLIMIT_: "nofile", "core", …
	Limits  Limits            // cgroup limits
	Time    TimeLimits
	Output  Size // bytes of stdout and stderr together; 0: unlimited

	Env      Env
	Cwd      string // absolute, inside; "" is "/"
	Hostname string // "" keeps the host's, which a new uts namespace starts with; setting one needs a uts namespace
	Terminal Terminal
	Init     bool // pid 1 is Cloche's own reaper; false: the command itself is pid 1

	// Origins tells where a setting was asked for ("default.toml:12",
	// "--memory 64M"), by its TOML key, such as "limits.memory". A Mount carries
	// its own. For messages and `cloche can` only.
	Origins map[string]string

	// Notes is what Expand decided and a person should know, a line each, such
	// as why the working directory is not shown. It decides nothing.
	Notes []string
}

// New returns the policy that a file without extends starts from: an empty
// root, no network, no capability, the filter of seccomp's default profile,
// Landlock required, and every namespace but time made anew.
func New() *Policy {
	return &Policy{
		Network:  NetworkNone,
		Unshare:  Namespaces{User: true, Mount: true, PID: true, Net: true, IPC: true, UTS: true, Cgroup: true},
		User:     User{Mode: UserCurrent},
		Seccomp:  "default",
		Landlock: LandlockRequire,
		Terminal: TerminalAuto,
		Init:     true,
	}
}

// Clone returns a copy that shares nothing with p.
func (p *Policy) Clone() *Policy {
	c := *p
	c.Mounts = slices.Clone(p.Mounts)
	for i := range c.Mounts {
		c.Mounts[i].Lower = slices.Clone(c.Mounts[i].Lower)
	}
	c.Capabilities = slices.Clone(p.Capabilities)
	c.SeccompGroups = cloneGroups(p.SeccompGroups)
	if p.SeccompProfile != nil {
		own := *p.SeccompProfile
		own.Groups = cloneGroups(own.Groups)
		c.SeccompProfile = &own
	}
	c.Rlimits = maps.Clone(p.Rlimits)
	if p.Limits.Swap != nil {
		c.Limits.Swap = new(*p.Limits.Swap)
	}
	c.Limits.IO = slices.Clone(p.Limits.IO)
	c.Limits.WhereAvailable = slices.Clone(p.Limits.WhereAvailable)
	c.Env.Keep = slices.Clone(p.Env.Keep)
	c.Env.Set = maps.Clone(p.Env.Set)
	c.Env.Unset = slices.Clone(p.Env.Unset)
	c.Origins = maps.Clone(p.Origins)
	c.Notes = slices.Clone(p.Notes)
	return &c
}

func cloneGroups(groups []seccomp.Group) []seccomp.Group {
	groups = slices.Clone(groups)
	for i := range groups {
		rules := slices.Clone(groups[i].Rules)
		for k := range rules {
			rules[k].Syscalls, rules[k].Args = slices.Clone(rules[k].Syscalls), slices.Clone(rules[k].Args)
		}
		groups[i].Rules = rules
	}
	return groups
}

// MountKind is what a Mount puts at its path.
type MountKind string

// The kinds of Mount.
const (
	Read    MountKind = "read"    // bind of a host path, read-only, recursive
	Write   MountKind = "write"   // bind of a host path, writable, recursive
	Hide    MountKind = "hide"    // an empty unreadable thing in place of what is there
	Tmpfs   MountKind = "tmpfs"   // a fresh tmpfs(5)
	Overlay MountKind = "overlay" // overlayfs: lower layers below, changes in Upper or dropped
	File    MountKind = "file"    // a file made of Data, read-only
	Symlink MountKind = "symlink" // a symbolic link to Source
	Dev     MountKind = "dev"     // a fresh /dev: null zero full random urandom tty, own pts, shm, mqueue
	Proc    MountKind = "proc"    // a fresh proc(5) for the pid namespace
)

// Mount is one entry of the file system inside.
type Mount struct {
	Kind MountKind
	// Path is where, inside: absolute and clean after Expand. Before it, "~" is
	// the caller's home and a relative path is under the working directory.
	Path string
	// Source is the host path of Read and Write (empty: the same as Path), or
	// the text of a Symlink.
	Source string
	// Optional: a Source that does not exist is skipped instead of refused, and
	// so is a relative Path where Expand finds that it must not be shown.
	Optional bool

	Size Size   // of a Tmpfs, bytes; 0: the kernel's default, half of memory
	Mode uint32 // permission bits of a Tmpfs or File; 0: 0755 (tmpfs), 0644 (file)
	Data string // of a File

	Lower []string // of an Overlay: host directories, the topmost first; empty: Path itself
	Upper string   // of an Overlay: host directory that receives the changes; empty: kept in memory, dropped at the end
	Work  string   // of an Overlay: empty directory on Upper's file system; empty: Upper + ".work"

	// Proc: "" shows everything of the pid namespace, "pid" is subset=pid (Linux 5.8).
	Subset string
	// Proc: hidepid= of proc(5): "", "noaccess", "invisible", "ptraceable".
	Hidepid string

	Origin string // where it was asked for, for messages
}

// Network is what of the network is reachable.
type Network string

// The networks. None and Private need a network namespace of the sandbox's own.
const (
	NetworkNone    Network = "none"    // a namespace in which even loopback is down
	NetworkPrivate Network = "private" // a namespace with loopback up and nothing else
	NetworkHost    Network = "host"    // the caller's own network
)

// Namespaces says which namespaces are new.
type Namespaces struct {
	User, Mount, PID, Net, IPC, UTS, Cgroup, Time bool
}

// UserMode is how ids inside map to ids outside, user_namespaces(7).
type UserMode string

// The modes of User.
const (
	UserCurrent UserMode = "current" // the caller's own ids, inside as outside
	UserRoot    UserMode = "root"    // 0 inside is the caller outside
	UserSingle  UserMode = "single"  // UID and GID inside are the caller outside; without a user namespace: setuid to them
	UserRanges  UserMode = "ranges"  // UID inside is the caller; the rest from /etc/subuid and /etc/subgid by newuidmap(1)
)

// User is who the command runs as.
type User struct {
	Mode     UserMode
	UID, GID uint32 // of UserSingle and UserRanges
}

// Landlock says whether landlock(7) rules derived from Mounts are added.
type Landlock string

// The modes of Landlock.
const (
	LandlockRequire        Landlock = "require"         // refused where the kernel has none
	LandlockWhereAvailable Landlock = "where-available" // added where the kernel has it; `cloche plan` says which
	LandlockOff            Landlock = "off"
)

// Rlimit is a soft and a hard limit, getrlimit(2). Unlimited is ^uint64(0).
type Rlimit struct{ Soft, Hard uint64 }

// Unlimited is RLIM_INFINITY.
const Unlimited = ^uint64(0)

// Size is a number of bytes.
type Size int64

// Limits are the cgroup limits; 0 means none was asked for. They need a cgroup
// that the caller may make; where there is none the sandbox is refused, but
// for those that WhereAvailable names.
type Limits struct {
	Memory    Size    // memory.max, bytes
	Swap      *Size   // memory.swap.max, bytes; nil: not limited; 0: no swap
	CPUs      float64 // cpu.max as a number of processors: 0.5 is half of one
	CPUWeight uint64  // cpu.weight, 1 to 10000
	Pids      int64   // pids.max, processes and threads of the command (pid 1 of the sandbox is not counted)
	IO        []IOLimit
	Cpuset    string // cpuset.cpus, such as "0-2,7"

	// WhereAvailable names limits ("memory", "swap", "cpus", "cpu-weight",
	// "pids", "io", "cpuset") that are left out, and reported so by `cloche plan`, where
	// the caller may not make a cgroup with that controller.
	WhereAvailable []string

	// Parent is the cgroup directory to make the sandbox's in; empty: found by
	// internal/cgroup. Absolute, in the cgroup2 or v1 hierarchy's file system.
	Parent string
}

// IOLimit is io.max for one block device; 0 means unlimited.
type IOLimit struct {
	Device              string // path of the device or of any file on it
	ReadBPS, WriteBPS   Size   // bytes per second
	ReadIOPS, WriteIOPS int64  // operations per second
}

// TimeLimits end the whole sandbox; 0 means none.
type TimeLimits struct {
	Wall time.Duration // since the start
	CPU  time.Duration // user and system, of all processes together; needs a cgroup
}

// Env is the environment inside.
type Env struct {
	Inherit bool              // start with the caller's whole environment
	Keep    []string          // else these of the caller's, by name; a trailing * is a prefix
	Set     map[string]string // then these; later wins
	Unset   []string          // last: removed
}

// Terminal is whether the command gets a pseudo-terminal of its own.
type Terminal string

// The modes of Terminal.
const (
	TerminalAuto   Terminal = "auto" // when stdin is a terminal
	TerminalAlways Terminal = "always"
	TerminalNever  Terminal = "never"
)
