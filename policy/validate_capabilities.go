package policy

import (
	"fmt"
	"slices"
)

// undoing are the capabilities by which a command could undo the policy that
// confines it. In a user namespace of the sandbox's own a capability counts for
// what that namespace owns: its mounts are among it, the host's devices, kernel
// and processes are not. What is not listed was tried and undoes nothing that
// the capability is not there for: CAP_MKNOD meets mounts with nodev, a
// CAP_SYS_CHROOT has no root to get out to, CAP_NET_ADMIN on the host's own
// network needs the host's user namespace, CAP_DAC_OVERRIDE opens only files of
// ids that are mapped.
//
// Landlock stands against none of them. It refuses mount, umount and
// move_mount, and it does not see mount_setattr, nor an open_tree that clones
// a directory without what is mounted in it.
var undoing = [...]struct {
	name   string
	host   bool // only one of the host's own user namespace
	always bool // a filter is no remedy
	mounts bool // only where the mounts restrict something
	what   string
	calls  []string // by which it would
}{
	{name: "CAP_SYS_ADMIN", mounts: true, what: "could make writable what is read-only and uncover what is hidden (mount_setattr, open_tree, mount), which Landlock does not stop", calls: []string{
		"mount_setattr", "open_tree", "open_tree_attr", "mount", "umount", "umount2", "move_mount", "fsmount", "pivot_root",
	}},
	{name: "CAP_DAC_READ_SEARCH", host: true, mounts: true, what: "could open every file of a file system that it is shown a part of (open_by_handle_at), which Landlock does not stop", calls: []string{"open_by_handle_at"}},
	{name: "CAP_SYS_MODULE", host: true, what: "could load code into the kernel", calls: []string{"init_module", "finit_module"}},
	{name: "CAP_SYS_RAWIO", host: true, what: "could program the host's devices (ioperm, iopl)", calls: []string{"ioperm", "iopl"}},
	{name: "CAP_SYS_BOOT", host: true, what: "could load another kernel (kexec_load)", calls: []string{"kexec_load", "kexec_file_load"}},
	{name: "CAP_BPF", host: true, what: "could run programs in the kernel (bpf)", calls: []string{"bpf"}},
	{name: "CAP_PERFMON", host: true, what: "could read the kernel's memory and other processes' (perf_event_open)", calls: []string{"perf_event_open"}},
	{name: "CAP_SYS_PTRACE", host: true, always: true, what: "could take over the sandbox's pid 1, and the host's processes where the pid namespace is shared (/proc/PID/mem, ptrace)"},
}

// validateCapabilities refuses capabilities that would undo the rest of the policy.
func validateCapabilities(p *Policy) error {
	for _, c := range undoing {
		if c.host && p.Unshare.User || !slices.Contains(p.Capabilities, c.name) || c.mounts && !p.restrictsMounts() {
			continue
		}
		with, fix := "with it the command ", "leave it out"
		if !c.always {
			call := p.passing(c.calls)
			if call == "" {
				continue
			}
			with, fix = "with it and without a seccomp filter the command ", "say --seccomp default, or leave the capability out"
			if p.Filtered() {
				with = "with it and a seccomp filter that lets " + call + " pass the command "
				fix = "deny that call in the filter, say --seccomp default, or leave the capability out"
			}
		}
		switch {
		case c.host:
			fix += ", or unshare user: then it counts for the sandbox's own namespaces alone"
		case c.mounts:
			fix += "; a program that mounts can do it in a user namespace of its own (unshare -Ur), where what it was given stays locked"
		}
		key := "capabilities." + c.name
		if p.Origins[key] == "" { // ALL
			key = "capabilities"
		}
		return at(p, key, fmt.Errorf("%s undoes the policy: %s%s: %s", c.name, with, c.what, fix))
	}
	return nil
}

// restrictsMounts reports whether the mounts inside keep anything from the
// command: all but the host's root itself, writable, with nothing put over it.
func (p *Policy) restrictsMounts() bool {
	whole := false
	for i := range p.Mounts {
		switch m := &p.Mounts[i]; {
		case m.Kind == Write && m.Path == "/" && (m.Source == "" || m.Source == "/"):
			whole = true
		case m.Kind != Write && m.Kind != Symlink:
			return true
		}
	}
	return !whole
}
