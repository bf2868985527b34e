/* The process of a container that is timed: it ends at once, or waits for SIGTERM when
 * it has an argument. */
#include <signal.h>
#include <unistd.h>

static void end(int sig) { (void)sig; _exit(0); }

int main(int argc, char **argv) {
	(void)argv;
	if (argc > 1) {
		signal(SIGTERM, end);
		for (;;)
			pause();
	}
	return 0;
}
