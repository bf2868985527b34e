/* A program whose threads have, each by a raw system call, something of their own: what its argument names. */
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *what;
static pthread_barrier_t ready;

static void fail(const char *call) { perror(call); exit(1); }

static void *odd(void *unused)
{
	(void)unused;
	if (!strcmp(what, "setuid")) {
		if (syscall(SYS_setresuid, 61358, 61358, 61358)) fail("setresuid");
	} else if (!strcmp(what, "groups")) {
		gid_t g[2] = {4, 5};
		if (syscall(SYS_setgroups, 2, g)) fail("setgroups");
	} else if (!strcmp(what, "filter")) {
		struct sock_filter f[] = {{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}};
		struct sock_fprog p = {1, f};
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) fail("no_new_privs");
		if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p)) fail("seccomp");
	} else if (!strcmp(what, "caps")) {
		struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
		struct __user_cap_data_struct d[2] = {{1 << CAP_KILL, 1 << CAP_KILL, 0}, {0, 0, 0}};
		if (syscall(SYS_capset, &h, d)) fail("capset");
	} else if (!strcmp(what, "netns")) {
		if (unshare(CLONE_NEWNET)) fail("unshare");
	}
	prctl(PR_SET_NAME, "odd", 0, 0, 0);
	pthread_barrier_wait(&ready);
	pause();
	return 0;
}

static void *even(void *unused)
{
	(void)unused;
	prctl(PR_SET_NAME, "even", 0, 0, 0);
	pthread_barrier_wait(&ready);
	pause();
	return 0;
}

int main(int argc, char **argv)
{
	pthread_t t;
	what = argc > 1 ? argv[1] : "";
	pthread_barrier_init(&ready, 0, 4);
	pthread_create(&t, 0, even, 0);
	pthread_create(&t, 0, odd, 0);
	pthread_create(&t, 0, even, 0);
	pthread_barrier_wait(&ready);
	puts("ready");
	fflush(stdout);
	pause();
	return 0;
}
