/*
 * The kernel's floor: the least that a sandbox of this shape can cost. One
 * clone3(2) into all namespaces, the mounts, pivot_root(2), a filter, execve(2);
 * nothing is decided, checked or reported, and the command itself is pid 1.
 *
 *     floor CMD [ARGS...]
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_open_tree
#define SYS_open_tree 428
#define SYS_move_mount 429
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif

static char stack[64 * 1024] __attribute__((aligned(16)));
static char **command;
static char uid_map[64], gid_map[64];

#ifdef __aarch64__
#define ARCH AUDIT_ARCH_AARCH64
#else
#define ARCH AUDIT_ARCH_X86_64
#endif

#define MUST(x) do { if ((long)(x) < 0) { dprintf(2, "floor: %s: %s\n", #x, strerror(errno)); _exit(125); } } while (0)

static void put(const char *file, const char *text)
{
	int fd = open(file, O_WRONLY | O_CLOEXEC);
	MUST(fd);
	MUST(write(fd, text, strlen(text)));
	close(fd);
}

static void node(const char *name)
{
	char from[32], to[32];
	snprintf(from, sizeof from, "/dev/%s", name);
	snprintf(to, sizeof to, "dev/%s", name);
	MUST(mknod(to, S_IFREG | 0666, 0));
	MUST(mount(from, to, NULL, MS_BIND, NULL));
}

/* A filter of 200 instructions that is searched from end to end, as a list of
 * allowed calls that nobody sorted would be. */
static void filter(void)
{
	static struct sock_filter code[200];
	int n = 0;
	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 4);
	code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0);
	for (int call = 1000; n < 199; call++)
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 0);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog prog = { .len = n, .filter = code };
	MUST(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog));
}

static int child(void *unused)
{
	put("/proc/self/setgroups", "deny");
	put("/proc/self/uid_map", uid_map);
	put("/proc/self/gid_map", gid_map);

	MUST(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	int root = syscall(SYS_open_tree, AT_FDCWD, "/", 1 /* OPEN_TREE_CLONE */ | O_CLOEXEC | AT_RECURSIVE);
	MUST(root);
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV };
	MUST(syscall(SYS_mount_setattr, root, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr));
	MUST(syscall(SYS_move_mount, root, "", AT_FDCWD, "/tmp", MOVE_MOUNT_F_EMPTY_PATH));
	MUST(fchdir(root));
	MUST(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
	MUST(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755"));
	node("null");
	node("zero");
	node("full");
	node("random");
	node("urandom");
	node("tty");
	MUST(mkdir("dev/shm", 0755));
	MUST(mkdir("dev/pts", 0755));
	MUST(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620"));
	MUST(symlink("pts/ptmx", "dev/ptmx"));
	MUST(mount("tmpfs", "tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777"));
	MUST(syscall(SYS_pivot_root, ".", "."));
	MUST(umount2(".", MNT_DETACH));
	MUST(chdir("/"));

	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	MUST(s);
	MUST(ioctl(s, SIOCSIFFLAGS, &lo));
	close(s);

	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	filter();
	execv(command[0], command);
	dprintf(2, "floor: exec %s: %s\n", command[0], strerror(errno));
	_exit(127);
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 125;
	command = argv + 1;
	snprintf(uid_map, sizeof uid_map, "%d %d 1\n", getuid(), getuid());
	snprintf(gid_map, sizeof gid_map, "%d %d 1\n", getgid(), getgid());
	/* glibc's clone(2) gives the child its own stack in shared memory; the
	 * flags are those that clone3 would get. */
	int pid = clone(child, stack + sizeof stack,
			CLONE_VM | CLONE_VFORK | CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET |
			CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP | SIGCHLD, NULL);
	MUST(pid);
	int status;
	MUST(waitpid(pid, &status, 0));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
