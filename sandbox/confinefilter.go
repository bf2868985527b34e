package sandbox

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// Landlock's ABI from which a ruleset has what is named.
const (
	abiTruncate = 3 // Linux 6.2
	abiScopes   = 6 // Linux 6.12
	abiTSYNC    = 8
)

// compile makes the filter: the policy's profile, and before it what stands for
// the namespaces and mounts that a running program does not get. There is none
// where there is nothing to refuse.
func (c *confinement) compile(goarch string) ([]unix.SockFilter, error) {
	arch, ok := seccomp.ArchByName(goarch)
	if !ok {
		return nil, fmt.Errorf("there are no filters for %s; run the program on amd64 or arm64", goarch)
	}
	profile, archs, _, err := c.p.Filter(arch, c.kernel)
	if err != nil {
		return nil, err
	}
	if err := c.survives(&profile, arch); err != nil {
		return nil, err
	}
	groups := c.refusals()
	if name, plain := c.p.PlainSeccomp(); len(groups) > 0 && (!plain || name == "docker" || name == "none") {
		// What else is allowed stays so, but no second door to what is refused: another
		// architecture's numbers, io_uring, calls that nobody here knows.
		profile.Unknown, profile.BadArch = seccomp.Errno(unix.ENOSYS), seccomp.KillProcess
		groups = append(groups, seccomp.Group{
			Name:   "@uninspectable",
			Reason: "io_uring does what a filter refuses, where no filter looks",
			Rules:  []seccomp.Rule{refusing(unix.ENOSYS, "io_uring_setup", "io_uring_enter", "io_uring_register")},
		})
	}
	profile.Groups = append(groups, profile.Groups...)
	return seccomp.Compile(profile, archs...)
}

// survives refuses a profile of the policy's own under which Confine could not go on
// after the filter is loaded, nor a Go program at all: its runtime makes threads, gets
// memory and waits, and Landlock comes last.
func (c *confinement) survives(p *seccomp.Profile, arch seccomp.Arch) error {
	if _, plain := c.p.PlainSeccomp(); plain {
		return nil
	}
	needs := []string{
		"clone", "futex", "mmap", "munmap", "madvise", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "tgkill", "getpid", "epoll_pwait", "nanosleep",
		"openat", "read", "close", "getdents64", "exit_group",
	}
	if c.p.Landlock != policy.LandlockOff && c.abi > 0 {
		needs = append(needs, "landlock_restrict_self")
	}
	for _, call := range needs {
		if _, ok := arch.Number(call); ok && !p.MayPass(arch, call) {
			return fmt.Errorf("%s: the filter never lets %s pass, without which this Go program can't go on; allow it in the profile, or run a child with sandbox.Command", c.setting("seccomp.profile"), call)
		}
	}
	return nil
}

// refusals are the groups that come before the profile's own.
func (c *confinement) refusals() []seccomp.Group {
	var groups []seccomp.Group
	closed := c.p.Network != policy.NetworkHost
	if closed {
		groups = append(groups, seccomp.Group{
			Name:   "@no-network",
			Reason: "there is no network namespace to keep a running program from the network, and Landlock knows TCP alone: neither UDP, raw sockets and MPTCP nor netlink, packet and vsock",
			Rules:  []seccomp.Rule{when(refusing(unix.EACCES, "socket", "socketpair"), arg(0, seccomp.NotEqual, unix.AF_UNIX))},
		})
	}
	// A scoped ruleset (ABI 6) keeps abstract names apart; before it, and for
	// sockets with a path, nothing but the filter does, which can't read names.
	scoped := c.abi >= abiScopes && c.p.Landlock != policy.LandlockOff
	if !c.open || closed && !scoped {
		groups = append(groups, othersSockets(closed))
	}
	if !c.open {
		groups = append(groups, c.attributes())
	}
	if c.p.Unshare.IPC {
		groups = append(groups, seccomp.Group{
			Name:   "@no-ipc",
			Reason: "System V IPC and the names of POSIX queues belong to the ipc namespace, which is the host's",
			Rules: []seccomp.Rule{refusing(unix.EACCES, "shmget", "shmat", "shmctl", "semget", "semop", "semtimedop", "semctl",
				"msgget", "msgsnd", "msgrcv", "msgctl", "mq_open", "mq_unlink")},
		})
	}
	return groups
}

// othersSockets keeps a program from what listens on UNIX sockets outside, such
// as /run/docker.sock: Landlock does not look at connect(2) to a path.
func othersSockets(noNetwork bool) seccomp.Group {
	g := seccomp.Group{
		Name:   "@others-sockets",
		Reason: "a UNIX socket is reached by its name, which a filter can't read; one of datagrams needs no connection for that, even one half of a pair",
		Rules: []seccomp.Rule{
			when(refusing(unix.EACCES, "socket", "socketpair"), arg(0, seccomp.Equal, unix.AF_UNIX), socketType(unix.SOCK_DGRAM)),
			when(refusing(unix.EACCES, "socket", "socketpair"), arg(0, seccomp.Equal, unix.AF_UNIX), socketType(unix.SOCK_RAW)), // datagrams, too
		},
	}
	if noNetwork {
		g.Rules = append(g.Rules, refusing(unix.EACCES, "connect"))
	} else { // other families have to connect
		g.Rules = append(g.Rules, when(refusing(unix.EACCES, "socket"), arg(0, seccomp.Equal, unix.AF_UNIX)))
	}
	return g
}

// attributes is what a read-only mount would keep a program from, and Landlock
// does not: uid 0, and whoever owns a file, needs no capability for it, nor to
// have opened the file for writing.
func (c *confinement) attributes() seccomp.Group {
	g := seccomp.Group{
		Name:   "@attributes",
		Reason: "modes, owners, times and attributes of files are out of Landlock's reach, and so are watches, which tell the names in a directory that is hidden",
		Rules: []seccomp.Rule{
			refusing(unix.EPERM, "chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat",
				"utime", "utimes", "futimesat", "utimensat", "setxattr", "lsetxattr", "fsetxattr", "setxattrat",
				"removexattr", "lremovexattr", "fremovexattr", "removexattrat", "file_setattr"),
			refusing(unix.EACCES, "inotify_add_watch", "fanotify_mark"),
		},
	}
	for _, request := range [...]uint64{
		unix.FS_IOC_SETFLAGS, unix.FS_IOC_SET_ENCRYPTION_POLICY, unix.FS_IOC_ENABLE_VERITY,
		0x40046602, // FS_IOC32_SETFLAGS
		0x40087602, // FS_IOC_SETVERSION
		0x40047602, // FS_IOC32_SETVERSION
		0x401c5820, // FS_IOC_FSSETXATTR
	} {
		g.Rules = append(g.Rules, when(refusing(unix.EPERM, "ioctl"), arg(1, seccomp.Equal, request)))
	}
	if c.abi < abiTruncate {
		g.Rules = append(g.Rules, refusing(unix.EACCES, "truncate"))
	}
	return g
}

// refusing is a rule that has calls fail.
func refusing(e unix.Errno, calls ...string) seccomp.Rule {
	return seccomp.Rule{Syscalls: calls, Action: seccomp.Errno(e)}
}

// when is a rule with conditions that must all hold.
func when(r seccomp.Rule, args ...seccomp.Arg) seccomp.Rule {
	r.Args = args
	return r
}

func arg(index int, op seccomp.Op, value uint64) seccomp.Arg {
	return seccomp.Arg{Index: index, Op: op, Value: value, Low32: true} // they are ints to the kernel
}

// socketType is a condition on a socket's type, without its flags.
func socketType(t uint64) seccomp.Arg {
	return seccomp.Arg{Index: 1, Op: seccomp.MaskedEqual, Value: t, Mask: 0xf, Low32: true} // SOCK_TYPE_MASK
}
