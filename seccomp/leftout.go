package seccomp

// Omission is calls that a profile leaves out for one reason.
type Omission struct {
	Name, Reason string
	Calls        []string
}

// LeftOut is what the default profile keeps from a command and why: the other half of its
// rules.
func LeftOut() []Omission {
	out := func(name, reason string, calls ...string) Omission {
		return Omission{Name: name, Reason: reason, Calls: calls}
	}
	return []Omission{
		out("mount", "could uncover what is hidden and make writable what is read-only, and hands hostile images to file systems in the kernel (CVE-2022-0185, in fsconfig)",
			"mount", "umount", "umount2", "pivot_root", "chroot", "fsopen", "fsconfig", "fsmount", "fspick", "open_tree", "open_tree_attr", "move_mount", "mount_setattr",
			"statmount", "listmount"),
		out("namespaces", "a new namespace opens kernel code that only root reached before, an old one is somebody else's (CVE-2022-0492); of clone and unshare the flags are refused", "setns", "listns"),
		out("other processes", "reads and writes the memory, registers and descriptors of every process of the same user (CVE-2019-13272, in ptrace); before Linux 4.8 a tracer changes a call after the filter judged it",
			"ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp", "process_madvise", "uprobe", "uretprobe"),
		out("bpf", "runs programs in the kernel, behind a verifier that failed again and again (CVE-2021-3490, CVE-2022-23222)", "bpf"),
		out("perf", "counts and samples in the kernel: side channels, and a large interface with a history (CVE-2013-2094)", "perf_event_open"),
		out("keyrings", "keys belong to users and sessions, which no namespace holds apart (CVE-2016-0728)", "keyctl", "add_key", "request_key"),
		out("userfaultfd", "stops the kernel in the middle of a copy for as long as the program likes, which wins races that could not be won otherwise", "userfaultfd"),
		out("io_uring", "does I/O where no filter looks, and is the kernel's most attacked interface of late (CVE-2022-29582, CVE-2023-2598); programs fall back", "io_uring_setup", "io_uring_enter", "io_uring_register"),
		out("clone3", "its flags lie behind a pointer, where a filter can't look; libc falls back to clone", "clone3"),
		out("file handles", "opens files by number, past every directory that hides them (the escape \"shocker\", 2014)", "open_by_handle_at", "fanotify_init", "fanotify_mark"),
		out("splicing memory", "hands pages of a process to a pipe without a copy (CVE-2008-0600)", "vmsplice"),
		out("inode flags", "sets attributes such as immutable, which outlive the command", "file_setattr"),
		out("kernel code", "loads modules, or another kernel", "init_module", "finit_module", "delete_module", "create_module", "kexec_load", "kexec_file_load",
			"get_kernel_syms", "query_module"),
		out("the machine", "ends, names, meters or times the whole machine", "reboot", "sethostname", "setdomainname", "swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "vhangup", "syslog",
			"settimeofday", "clock_settime", "clock_settime64", "stime", "adjtimex", "clock_adjtime", "clock_adjtime64", "bdflush", "nfsservctl", "lookup_dcookie"),
		out("ports and segments", "programs devices, or builds descriptors for 16-bit code (CVE-2017-17053, in modify_ldt)", "ioperm", "iopl", "modify_ldt", "set_thread_area", "get_thread_area", "vm86", "vm86old",
			"pciconfig_read", "pciconfig_write", "pciconfig_iobase"),
		out("memory policy", "moves pages between nodes, also another process's (CVE-2017-7616)", "mbind", "set_mempolicy", "set_mempolicy_home_node", "migrate_pages", "move_pages"),
		out("security modules", "are the administrator's to ask and to set", "lsm_get_self_attr", "lsm_set_self_attr", "lsm_list_modules"),
		out("old calls", "no program of today makes them, and some the kernel no longer has (CVE-2004-1235, in uselib)", "uselib", "sysfs", "_sysctl", "getpmsg", "putpmsg", "afs_syscall", "tuxcall",
			"security", "vserver", "epoll_ctl_old", "epoll_wait_old"),
		out("new calls", "are too new for programs to need them", "rseq_slice_yield"),
	}
}
