/* A program that sets its dumpable attribute to its argument. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	prctl(PR_SET_DUMPABLE, argc > 1 ? atoi(argv[1]) : 1, 0, 0, 0);
	puts("ready");
	fflush(stdout);
	pause();
	return 0;
}
