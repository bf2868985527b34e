package main

import "regexp"

// notCalls matches what x/sys' files take over from the kernel's headers though
// nobody can call it: limits, masks and reserved places.
var notCalls = regexp.MustCompile(`^(arch_specific_syscall|syscall_mask|(reserved|unused)\d+)$`)

// only64 are the calls of x86-64 that x32 has under no number: those of ABI "64"
// in the kernel's arch/x86/entry/syscalls/syscall_64.tbl but for x32From512.
var only64 = []string{
	"_sysctl",
	"create_module",
	"epoll_ctl_old",
	"epoll_wait_old",
	"get_kernel_syms",
	"get_thread_area",
	"map_shadow_stack",
	"nfsservctl",
	"query_module",
	"set_thread_area",
	"uselib",
	"vserver",
}

// x32From512 are the calls of ABI "x32" in the same file, numbered from 512 on:
// those whose structures differ from x86-64's. The list is closed, as the kernel
// says there.
var x32From512 = []string{
	"rt_sigaction",
	"rt_sigreturn",
	"ioctl",
	"readv",
	"writev",
	"recvfrom",
	"sendmsg",
	"recvmsg",
	"execve",
	"ptrace",
	"rt_sigpending",
	"rt_sigtimedwait",
	"rt_sigqueueinfo",
	"sigaltstack",
	"timer_create",
	"mq_notify",
	"kexec_load",
	"waitid",
	"set_robust_list",
	"get_robust_list",
	"vmsplice",
	"move_pages",
	"preadv",
	"pwritev",
	"rt_tgsigqueueinfo",
	"recvmmsg",
	"sendmmsg",
	"process_vm_readv",
	"process_vm_writev",
	"setsockopt",
	"getsockopt",
	"io_setup",
	"io_submit",
	"execveat",
	"preadv2",
	"pwritev2",
}

// armPrivate are the calls of 32-bit ARM outside of the table, from
// __ARM_NR_BASE on: arch/arm/include/uapi/asm/unistd.h. Numbers are those of
// EABI, whose base is 0. The old ABI's, from 0x900000 on, are no calls of a
// kernel that can filter them: CONFIG_OABI_COMPAT excludes seccomp filters.
var armPrivate = map[string]int{
	"breakpoint": 0x0f0001,
	"cacheflush": 0x0f0002,
	"usr26":      0x0f0003,
	"usr32":      0x0f0004,
	"set_tls":    0x0f0005,
	"get_tls":    0x0f0006,
}
