package seccomp

import "golang.org/x/sys/unix"

// Builtins are the names of the built-in profiles.
func Builtins() []string { return []string{"default", "build", "strict", "none"} }

// Builtin is a built-in profile.
func Builtin(name string) (Profile, bool) {
	p := Profile{
		Name: name, Default: Errno(unix.EPERM), Unknown: Errno(unix.ENOSYS), BadArch: KillProcess,
	}
	switch name {
	case "default":
		p.Description = "what ordinary programs need, and no more"
		p.Groups = append(defaultRefusals(), defaultGroups()...)
	case "build":
		p.Description = "default, and what debuggers, tracers and sanitizers need of their own children"
		p.Groups = append(append(debugGroups(), defaultRefusals()...), defaultGroups()...)
	case "strict":
		p.Description = "pure computation: what a compiled program needs that reads its input and writes its output"
		p.Default = KillProcess
		p.Groups = strictGroups()
	case "none":
		p.Description = "no filter at all"
		p.Default, p.Unknown, p.BadArch = Allow, Allow, Allow
	default:
		return Profile{}, false
	}
	return p, true
}

func allow(calls ...string) Rule { return Rule{Syscalls: calls, Action: Allow} }

func when(call string, args ...Arg) Rule {
	return Rule{Syscalls: []string{call}, Action: Allow, Args: args}
}

func is(index int, value uint64) Arg { return Arg{Index: index, Op: Equal, Value: value, Low32: true} }

func without(index int, bits uint64) Arg {
	return Arg{Index: index, Op: MaskedEqual, Mask: bits}
}

// newNamespaces are clone(2)'s flags that make namespaces. CLONE_NEWTIME is not
// among them: in clone its bit is a part of the exit signal.
const newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// defaultRefusals come first: calls that get another answer than the default's
// "operation not permitted", because programs know what to do with it.
func defaultRefusals() []Group {
	return []Group{
		{
			Name:   "@uninspectable",
			Reason: "what they do lies behind pointers or in shared memory, where a filter can't look: ENOSYS has libc fall back to clone and to ordinary I/O, which can be judged (io_uring: sockets and files past the filter; isolate's and Docker's advisories)",
			Rules: []Rule{{
				Syscalls: []string{"clone3", "io_uring_setup", "io_uring_enter", "io_uring_register"},
				Action:   Errno(unix.ENOSYS),
			}},
		},
		{
			Name:   "@terminal-input",
			Reason: "TIOCSTI and TIOCLINUX type into a terminal in the user's name (CVE-2017-5226), and line disciplines are old kernel code; compared on the low 32 bits, as the kernel does (CVE-2019-10063)",
			Rules: []Rule{
				{Syscalls: []string{"ioctl"}, Action: Errno(unix.EPERM), Args: []Arg{is(1, unix.TIOCSTI)}},
				{Syscalls: []string{"ioctl"}, Action: Errno(unix.EPERM), Args: []Arg{is(1, 0x541c)}}, // TIOCLINUX
				{Syscalls: []string{"ioctl"}, Action: Errno(unix.EPERM), Args: []Arg{is(1, 0x5423)}}, // TIOCSETD
			},
		},
	}
}

// defaultGroups are what the default profile allows. What is in none of them
// fails with EPERM: the mount API and pivot_root, setns, ptrace, process_vm_*,
// pidfd_getfd, kcmp, bpf, perf_event_open, userfaultfd, keyrings, modules, kexec,
// reboot, swap, quota, acct, clocks, open_by_handle_at, fanotify, kernel logs and
// the calls that only old or privileged programs make.
func defaultGroups() []Group {
	return []Group{
		{Name: "@process", Reason: "processes and threads of one's own; a new namespace of any kind is refused, as it opens kernel code that only root reached before (CVE-2022-0185, CVE-2022-0492)", Rules: []Rule{
			when("clone", without(0, newNamespaces)),
			when("unshare", without(0, newNamespaces|unix.CLONE_NEWTIME)),
			allow("fork", "vfork", "execve", "execveat", "exit", "exit_group", "wait4", "waitid", "getpid", "getppid", "gettid",
				"getpgid", "getpgrp", "setpgid", "getsid", "setsid", "set_tid_address", "arch_prctl", "prctl", "rseq", "membarrier",
				"pidfd_open", "pidfd_send_signal", "getrusage", "times", "sysinfo", "uname", "getcpu", "capget", "capset"),
		}},
		{Name: "@signal", Reason: "signals reach only what the pid namespace shows", Rules: []Rule{
			allow("kill", "tkill", "tgkill", "rt_sigaction", "rt_sigprocmask", "rt_sigpending", "rt_sigqueueinfo", "rt_tgsigqueueinfo",
				"rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "sigaltstack", "signalfd", "signalfd4", "pause", "restart_syscall"),
		}},
		{Name: "@memory", Reason: "a process's own memory", Rules: []Rule{
			allow("brk", "mmap", "munmap", "mremap", "mprotect", "madvise", "msync", "mincore", "mlock", "mlock2", "mlockall", "munlock",
				"munlockall", "pkey_alloc", "pkey_free", "pkey_mprotect", "remap_file_pages", "memfd_create", "memfd_secret", "mseal",
				"map_shadow_stack", "get_mempolicy", "process_mrelease"),
		}},
		{Name: "@sync", Reason: "futexes and waiting for events", Rules: []Rule{
			allow("futex", "futex_waitv", "futex_wait", "futex_wake", "futex_requeue", "get_robust_list", "set_robust_list",
				"poll", "ppoll", "select", "pselect6", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_wait",
				"epoll_wait_old", "epoll_pwait", "epoll_pwait2", "eventfd", "eventfd2",
				"io_setup", "io_destroy", "io_submit", "io_cancel", "io_getevents", "io_pgetevents"),
		}},
		{Name: "@time", Reason: "reading clocks and timers of one's own; setting a clock is refused", Rules: []Rule{
			allow("clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "alarm", "getitimer",
				"setitimer", "timer_create", "timer_settime", "timer_gettime", "timer_getoverrun", "timer_delete",
				"timerfd_create", "timerfd_settime", "timerfd_gettime"),
		}},
		{Name: "@scheduler", Reason: "priorities and processors within what the kernel grants everybody", Rules: []Rule{
			allow("sched_yield", "sched_getaffinity", "sched_setaffinity", "sched_getparam", "sched_setparam", "sched_getscheduler",
				"sched_setscheduler", "sched_getattr", "sched_setattr", "sched_get_priority_max", "sched_get_priority_min",
				"sched_rr_get_interval", "getpriority", "setpriority", "ioprio_get", "ioprio_set"),
		}},
		{Name: "@file", Reason: "files, as far as the mounts, Landlock and permissions show them", Rules: []Rule{
			allow("open", "openat", "openat2", "creat", "close", "close_range", "dup", "dup2", "dup3", "fcntl", "flock",
				"stat", "fstat", "lstat", "newfstatat", "statx", "statfs", "fstatfs", "ustat", "access", "faccessat", "faccessat2",
				"readlink", "readlinkat", "getdents", "getdents64", "getcwd", "chdir", "fchdir", "umask",
				"mkdir", "mkdirat", "rmdir", "mknod", "mknodat", "link", "linkat", "symlink", "symlinkat", "unlink", "unlinkat",
				"rename", "renameat", "renameat2", "chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat",
				"utime", "utimes", "utimensat", "futimesat", "truncate", "ftruncate", "fallocate", "sync", "fsync", "fdatasync",
				"syncfs", "sync_file_range", "cachestat", "file_getattr",
				"getxattr", "lgetxattr", "fgetxattr", "listxattr", "llistxattr", "flistxattr", "setxattr", "lsetxattr", "fsetxattr",
				"removexattr", "lremovexattr", "fremovexattr", "setxattrat", "getxattrat", "listxattrat", "removexattrat",
				"inotify_init", "inotify_init1", "inotify_add_watch", "inotify_rm_watch", "name_to_handle_at"),
		}},
		{Name: "@io", Reason: "reading and writing what is open", Rules: []Rule{
			allow("read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2", "lseek",
				"sendfile", "splice", "tee", "copy_file_range", "readahead", "fadvise64", "pipe", "pipe2", "ioctl"),
		}},
		{Name: "@network", Reason: "sockets of the families that programs use; AF_ALG, AF_VSOCK and the many others are kernel code with a history (CVE-2026-31431)", Rules: []Rule{
			when("socket", is(0, unix.AF_UNIX)),
			when("socket", is(0, unix.AF_INET)),
			when("socket", is(0, unix.AF_INET6)),
			when("socket", is(0, unix.AF_NETLINK), is(2, unix.NETLINK_ROUTE)),
			{Syscalls: []string{"socket"}, Action: Errno(unix.EAFNOSUPPORT)},
			when("socketpair", is(0, unix.AF_UNIX)),
			{Syscalls: []string{"socketpair"}, Action: Errno(unix.EAFNOSUPPORT)},
			allow("bind", "listen", "accept", "accept4", "connect", "getsockname", "getpeername", "getsockopt", "setsockopt",
				"sendto", "recvfrom", "sendmsg", "recvmsg", "sendmmsg", "recvmmsg", "shutdown"),
		}},
		{Name: "@ipc", Reason: "System V and POSIX queues, of the ipc namespace", Rules: []Rule{
			allow("shmget", "shmat", "shmdt", "shmctl", "semget", "semop", "semtimedop", "semctl", "msgget", "msgsnd", "msgrcv", "msgctl",
				"mq_open", "mq_unlink", "mq_timedsend", "mq_timedreceive", "mq_notify", "mq_getsetattr"),
		}},
		{Name: "@ids", Reason: "ids that the user namespace maps; without capabilities none can be gained", Rules: []Rule{
			allow("getuid", "geteuid", "getgid", "getegid", "getgroups", "getresuid", "getresgid", "setuid", "setgid", "setreuid",
				"setregid", "setresuid", "setresgid", "setfsuid", "setfsgid", "setgroups"),
		}},
		{Name: "@limits", Reason: "limits can be lowered", Rules: []Rule{
			allow("getrlimit", "setrlimit", "prlimit64"),
		}},
		{Name: "@self-confinement", Reason: "a program may tighten what holds for it; a listener for its own calls would let it answer for the kernel", Rules: []Rule{
			when("seccomp", is(0, unix.SECCOMP_SET_MODE_STRICT)),
			when("seccomp", is(0, unix.SECCOMP_SET_MODE_FILTER), without(1, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER)),
			when("seccomp", is(0, unix.SECCOMP_GET_ACTION_AVAIL)),
			allow("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"),
		}},
		{Name: "@personality", Reason: "only the values that programs ask for; others switch protections off (ADDR_NO_RANDOMIZE) or revive old code", Rules: []Rule{
			when("personality", is(0, 0)), when("personality", is(0, 8)), when("personality", is(0, 0x20000)),
			when("personality", is(0, 0x20008)), when("personality", is(0, 0xffffffff)),
		}},
		{Name: "@random", Reason: "random numbers", Rules: []Rule{allow("getrandom")}},
	}
}

// debugGroups are what build allows beyond default.
func debugGroups() []Group {
	return []Group{
		{Name: "@debug", Reason: "tracing and reading one's own children, which the pid namespace holds (safe for a filter since Linux 4.8, where the tracer can't change a call after it was judged)", Rules: []Rule{
			allow("ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "process_madvise"),
		}},
		{Name: "@addresses", Reason: "debuggers and sanitizers switch address randomisation off for their children", Rules: []Rule{
			when("personality", is(0, 0x0040000)), when("personality", is(0, 0x0040008)),
		}},
	}
}

// strictGroups are the strict profile.
func strictGroups() []Group {
	const opensToWrite = unix.O_WRONLY | unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC | unix.O_APPEND
	return []Group{
		{Name: "@start", Reason: "the exec of the command, and its loader finding its libraries", Rules: []Rule{
			allow("execve", "brk", "mmap", "munmap", "mremap", "mprotect", "madvise", "arch_prctl", "set_tid_address", "set_robust_list",
				"rseq", "prlimit64", "getrandom", "access", "faccessat", "faccessat2", "fstat", "newfstatat", "stat", "statx", "readlink",
				"readlinkat", "getcwd", "uname", "close", "pread64"),
			{Syscalls: []string{"openat"}, Action: Allow, Args: []Arg{{Index: 2, Op: MaskedEqual, Mask: opensToWrite, Low32: true}}},
			{Syscalls: []string{"open"}, Action: Allow, Args: []Arg{{Index: 1, Op: MaskedEqual, Mask: opensToWrite, Low32: true}}},
		}},
		{Name: "@compute", Reason: "reading input, writing output, time, and the end", Rules: []Rule{
			allow("read", "readv", "write", "writev", "lseek", "futex", "sched_yield", "sched_getaffinity", "clock_gettime", "clock_getres",
				"clock_nanosleep", "nanosleep", "gettimeofday", "time", "getrusage", "times", "getpid", "gettid", "tgkill", "rt_sigaction",
				"rt_sigprocmask", "rt_sigreturn", "sigaltstack", "sysinfo", "getuid", "geteuid", "getgid", "getegid", "restart_syscall", "exit", "exit_group"),
			when("ioctl", is(1, unix.TCGETS)),
			when("fcntl", is(1, unix.F_GETFL)), when("fcntl", is(1, unix.F_GETFD)), when("fcntl", is(1, unix.F_SETFD)),
		}},
		{Name: "@absent", Reason: "what libraries try and do without", Rules: []Rule{
			{Syscalls: []string{"clone3"}, Action: Errno(unix.ENOSYS)},
			{Syscalls: []string{"ioctl", "fcntl", "openat", "open", "prctl", "getdents64", "socket"}, Action: Errno(unix.EPERM)},
		}},
	}
}

// initProfile is for Cloche's own pid 1, once the command runs: the calls of its
// loop, and nothing that could serve somebody who took it over. One whose pid was reported
// makes itself dumpable behind it.
func initProfile(reported bool) Profile {
	rules := []Rule{allow("ppoll", "read", "write", "wait4", "kill", "munmap", "madvise", "restart_syscall", "exit_group")}
	if reported {
		rules = append(rules, when("prctl", is(0, unix.PR_SET_DUMPABLE)))
	}
	return Profile{
		Name: "init", Default: KillProcess, Unknown: KillProcess, BadArch: KillProcess,
		Groups: []Group{{Name: "@init", Reason: "pid 1's loop", Rules: rules}},
	}
}
