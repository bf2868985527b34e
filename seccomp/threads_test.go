package seccomp_test

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// threads is a program of two threads. One loads the filter that stands in the file
// argv[1] with the flags argv[2]; the other, made before, then tries getppid. With a
// third argument the other first loads that filter too, so that the two part ways.
const threads = `
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
static struct sock_filter code[4096];
static struct sock_fprog prog = { .filter = code };
static pthread_barrier_t b;
static int own, tid;
static long load(long flags) { return syscall(SYS_seccomp, 1, flags, &prog); }
static void *sibling(void *arg) {
	tid = syscall(SYS_gettid);
	if (own && load(0)) _exit(3);
	pthread_barrier_wait(&b);
	pthread_barrier_wait(&b);
	long r = syscall(SYS_getppid);
	printf("sibling %s\n", r < 0 ? "refused" : "allowed");
	return 0;
}
int main(int argc, char **argv) {
	pthread_t t;
	int fd = open(argv[1], O_RDONLY);
	prog.len = read(fd, code, sizeof code) / sizeof *code;
	own = argc > 3;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return 2;
	pthread_barrier_init(&b, 0, 2);
	if (pthread_create(&t, 0, sibling, 0)) return 2;
	pthread_barrier_wait(&b);
	long r = load(strtol(argv[2], 0, 0));
	if (r) printf("load %s\n", r == tid ? "names the sibling" : "fails");
	else printf("caller %s\n", syscall(SYS_getppid) < 0 ? "refused" : "allowed");
	fflush(stdout);
	pthread_barrier_wait(&b);
	pthread_join(t, 0);
	return 0;
}
`

// compiled builds a C program of one file.
func compiled(t testing.TB, source string, flags ...string) string {
	t.Helper()
	needs.Programs(t, "gcc")
	dir := t.TempDir()
	name := filepath.Join(dir, "prog")
	if err := os.WriteFile(name+".c", []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("gcc", append([]string{"-O2", "-pthread", "-o", name, name + ".c"}, flags...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	return name
}

// denying is a filter that refuses getppid, with EPERM.
func denying(t testing.TB) []unix.SockFilter {
	t.Helper()
	needs.Arch(t, "there are tables of these alone", "amd64", "arm64")
	arch, _ := seccomp.ArchByName(runtime.GOARCH)
	prog, err := seccomp.Compile(seccomp.Profile{
		Default: seccomp.Allow, Unknown: seccomp.Allow, BadArch: seccomp.KillProcess,
		Groups: []seccomp.Group{{Rules: []seccomp.Rule{{Syscalls: []string{"getppid"}, Action: seccomp.Errno(unix.EPERM)}}}},
	}, arch)
	if err != nil {
		t.Fatal(err)
	}
	return prog
}

// TestThreadsOfC: without TSYNC a filter binds the thread that loads it alone, with
// TSYNC its siblings too, and where one has a filter of its own the kernel names it.
func TestThreadsOfC(t *testing.T) {
	name := compiled(t, threads)
	code := filepath.Join(t.TempDir(), "filter")
	var text []byte
	for _, in := range denying(t) {
		text = binary.NativeEndian.AppendUint16(text, in.Code)
		text = append(text, in.Jt, in.Jf)
		text = binary.NativeEndian.AppendUint32(text, in.K)
	}
	if err := os.WriteFile(code, text, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		what, want string
		args       []string
	}{
		{"without TSYNC", "caller refused\nsibling allowed\n", []string{"0"}},
		{"with TSYNC", "caller refused\nsibling refused\n", []string{"1"}},
		{"with TSYNC over another filter", "load names the sibling\nsibling refused\n", []string{"1", "own"}},
	} {
		out, err := exec.Command(name, append([]string{code}, test.args...)...).CombinedOutput()
		if err != nil || string(out) != test.want {
			t.Errorf("%s: %q, %v, want %q", test.what, out, err, test.want)
		}
	}
}

// TestLoadAllThreads is done in a process of its own, as a filter stays.
func TestLoadAllThreads(t *testing.T) {
	if os.Getenv("CLOCHE_TEST_ALL_THREADS") == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestLoadAllThreads$", "-test.v")
		cmd.Env = append(os.Environ(), "CLOCHE_TEST_ALL_THREADS=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	prog := denying(t)
	parted := make(chan int)
	end := make(chan bool)
	var part func()
	part = func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		if unix.Gettid() == os.Getpid() {
			go part() // but for the first one, which is kept to the end of the process
			<-end
			return
		}
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			t.Error(err)
		}
		if err := seccomp.Load(prog, 0); err != nil {
			t.Error(err)
		}
		if _, e := getppid(0, 0, 0); e != unix.EPERM {
			t.Errorf("getppid on the thread that loaded the filter: %v", e)
		}
		parted <- unix.Gettid()
		<-end
	}
	go part()
	tid := <-parted
	runtime.LockOSThread()
	if _, e := getppid(0, 0, 0); e != 0 {
		t.Errorf("getppid on another thread: %v, before it has a filter", e)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	err := seccomp.LoadAllThreads(prog)
	if err == nil || !strings.Contains(err.Error(), "thread "+strconv.Itoa(tid)+" (") {
		t.Errorf("%v, want the thread %d", err, tid)
	}
	if _, e := getppid(0, 0, 0); e != 0 {
		t.Errorf("getppid: %v, after no thread was to get the filter", e)
	}
	close(end)
	for range 1000 { // until the thread is gone
		if err = seccomp.LoadAllThreads(prog); err == nil {
			break
		}
		unix.Nanosleep(&unix.Timespec{Nsec: 1e6}, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	refused := make(chan unix.Errno)
	for range 4 {
		go func() {
			runtime.LockOSThread()
			_, e := getppid(0, 0, 0)
			refused <- e
		}()
	}
	for range 4 {
		if e := <-refused; e != unix.EPERM {
			t.Errorf("getppid on a thread after LoadAllThreads: %v", e)
		}
	}
}

// credentials is a program whose one thread changes its user id, first by the raw system
// call, then by the libc's wrapper, and whose other thread looks at its own each time.
const credentials = `
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
static pthread_barrier_t b;
static void *sibling(void *arg) {
	for (int i = 0; i < 2; i++) {
		pthread_barrier_wait(&b);
		printf("%d ", (int)syscall(SYS_geteuid));
		pthread_barrier_wait(&b);
	}
	return 0;
}
int main(void) {
	pthread_t t;
	pthread_barrier_init(&b, 0, 2);
	if (pthread_create(&t, 0, sibling, 0)) return 2;
	if (syscall(SYS_setresuid, -1, 5, -1)) return 3;
	printf("%d ", (int)syscall(SYS_geteuid));
	pthread_barrier_wait(&b);
	pthread_barrier_wait(&b);
	if (syscall(SYS_setresuid, -1, 0, -1) || setresuid(-1, 7, -1)) return 4;
	printf("%d ", (int)syscall(SYS_geteuid));
	pthread_barrier_wait(&b);
	pthread_barrier_wait(&b);
	pthread_join(t, 0);
	return 0;
}
`

// TestCredentialsOfThreads: the kernel's setresuid changes the ids of one thread, the
// libc's those of all: why nothing here calls the former in a process of many threads.
func TestCredentialsOfThreads(t *testing.T) {
	needs.Root(t, "to change ids")
	out, err := exec.Command(compiled(t, credentials)).CombinedOutput()
	if want := "5 0 7 7 "; err != nil || string(out) != want {
		t.Errorf("%q, %v, want %q", out, err, want)
	}
}
