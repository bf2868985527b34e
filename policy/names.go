package policy

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cloche-sandbox/cloche/internal/document"
	"github.com/cloche-sandbox/cloche/seccomp/profile"
)

// The names that a policy may use for things of the kernel. Functions that
// return arrays, so that nothing is initialised before main.

// CapabilityNames returns the names of capabilities(7) as of Linux 5.9, by number.
func CapabilityNames() []string {
	names := [...]string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
		"CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
		"CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
		"CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
		"CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
		"CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
		"CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
	}
	return names[:]
}

// RlimitNames returns the names of getrlimit(2), as Policy.Rlimits has them.
func RlimitNames() []string {
	names := [...]string{
		"as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue",
		"nice", "nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack",
	}
	return names[:]
}

// NamespaceNames returns the names of namespaces(7), in lower case.
func NamespaceNames() []string {
	names := [...]string{"user", "mount", "pid", "net", "ipc", "uts", "cgroup", "time"}
	return names[:]
}

// SeccompProfiles returns the names that Policy.Seccomp may have, beside paths of files.
func SeccompProfiles() []string { return profile.Names() }

// LimitNames returns the names that Limits.WhereAvailable may hold.
func LimitNames() []string {
	names := [...]string{"memory", "swap", "cpus", "cpu-weight", "pids", "io", "cpuset"}
	return names[:]
}

// namespace returns the switch of the namespace with this name, or nil.
func (n *Namespaces) namespace(name string) *bool {
	switch name {
	case "user":
		return &n.User
	case "mount":
		return &n.Mount
	case "pid":
		return &n.PID
	case "net":
		return &n.Net
	case "ipc":
		return &n.IPC
	case "uts":
		return &n.UTS
	case "cgroup":
		return &n.Cgroup
	case "time":
		return &n.Time
	}
	return nil
}

// Has reports whether the namespace with this name, such as "pid", is new.
func (n Namespaces) Has(name string) bool {
	b := n.namespace(name)
	return b != nil && *b
}

// capabilityName returns the canonical form of a capability's name: "kill",
// "cap_kill" and "CAP_KILL" are one.
func capabilityName(s string) (string, error) {
	name := strings.ToUpper(s)
	if !strings.HasPrefix(name, "CAP_") {
		name = "CAP_" + name
	}
	all := CapabilityNames()
	for _, c := range all {
		if c == name {
			return c, nil
		}
	}
	return "", document.Unknown("capability", s, document.Nearest(name, all), "see capabilities(7)")
}

// checkPath refuses what no system call could be given.
func checkPath(s string) error {
	const pathMax = 4095 // PATH_MAX without its NUL, path_resolution(7)
	switch {
	case s == "":
		return errors.New("an empty path")
	case strings.IndexByte(s, 0) >= 0:
		return fmt.Errorf("path %s holds a NUL byte, which no path can", document.Clip(s))
	case len(s) > pathMax:
		return fmt.Errorf("path %s is %d bytes long, the kernel takes %d", document.Clip(s), len(s), pathMax)
	}
	return nil
}
