// Compiles filters by libseccomp, as an oracle for tests. It reads
//
//	filter DEFAULT BADARCH OPTIMIZE
//	rule ACTION NUMBER COUNT {ARG OP A B}
//	end
//
// with actions as SECCOMP_RET_* values, and writes for each filter a line: the
// number of instructions and their bytes in hexadecimal, or "error " and why. A
// rule that libseccomp refuses as one that is there already is passed over.
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void export(scmp_filter_ctx ctx) {
	static unsigned char buf[1 << 20];
	int fd = memfd_create("filter", MFD_CLOEXEC);
	int err = seccomp_export_bpf(ctx, fd);
	ssize_t n = pread(fd, buf, sizeof buf, 0);
	close(fd);
	if (err < 0 || n < 0) {
		printf("error export: %s\n", strerror(-err));
		return;
	}
	printf("%zd ", n / 8);
	for (ssize_t i = 0; i < n; i++)
		printf("%02x", buf[i]);
	printf("\n");
}

int main(void) {
	static const enum scmp_compare ops[] = {SCMP_CMP_EQ, SCMP_CMP_NE, SCMP_CMP_LT, SCMP_CMP_LE, SCMP_CMP_GT, SCMP_CMP_GE, SCMP_CMP_MASKED_EQ};
	scmp_filter_ctx ctx = NULL;
	char word[16];
	int failed = 0;
	while (scanf("%15s", word) == 1) {
		if (!strcmp(word, "filter")) {
			uint32_t def, bad, optimize;
			if (scanf("%" SCNu32 " %" SCNu32 " %" SCNu32, &def, &bad, &optimize) != 3)
				return 2;
			ctx = seccomp_init(def);
			failed = !ctx || seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, bad) || (optimize && seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, optimize));
		} else if (!strcmp(word, "rule")) {
			uint32_t action;
			int nr, count;
			struct scmp_arg_cmp args[6];
			if (scanf("%" SCNu32 " %d %d", &action, &nr, &count) != 3 || count > 6)
				return 2;
			for (int i = 0; i < count; i++) {
				unsigned arg, op;
				if (scanf("%u %u %" SCNu64 " %" SCNu64, &arg, &op, &args[i].datum_a, &args[i].datum_b) != 4 || op > 6)
					return 2;
				args[i].arg = arg;
				args[i].op = ops[op];
			}
			int err = failed ? 0 : seccomp_rule_add_exact_array(ctx, action, nr, count, args);
			if (err && err != -EEXIST)
				failed = -err;
		} else {
			if (failed)
				printf("error %s\n", strerror(failed));
			else
				export(ctx);
			fflush(stdout);
			seccomp_release(ctx);
		}
	}
	return 0;
}
