package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// notifyC does with libseccomp what answerGetppid does: a thread calls getppid
// argv[1] times, the main thread answers each call. It prints the nanoseconds of all.
const notifyC = `
#include <errno.h>
#include <pthread.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
static long n;
static int listener = -1;
static pthread_barrier_t b;
static void *target(void *arg) {
	scmp_filter_ctx c = seccomp_init(SCMP_ACT_ALLOW);
	if (!c || seccomp_rule_add(c, SCMP_ACT_NOTIFY, SCMP_SYS(getppid), 0) || seccomp_load(c)) _exit(2);
	listener = seccomp_notify_fd(c);
	pthread_barrier_wait(&b);
	for (long i = 0; i < n; i++) if (syscall(SYS_getppid) != 42) _exit(3);
	return 0;
}
int main(int argc, char **argv) {
	pthread_t t;
	struct timespec from, to;
	struct seccomp_notif *req;
	struct seccomp_notif_resp *resp;
	n = atol(argv[1]);
	pthread_barrier_init(&b, 0, 2);
	if (seccomp_notify_alloc(&req, &resp) || pthread_create(&t, 0, target, 0)) return 1;
	pthread_barrier_wait(&b);
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (long i = 0; i < n; i++) {
		memset(req, 0, sizeof *req);
		if (seccomp_notify_receive(listener, req)) return 4;
		resp->id = req->id; resp->val = 42; resp->error = 0; resp->flags = 0;
		if (seccomp_notify_respond(listener, resp)) return 5;
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	printf("%lld\n", (to.tv_sec - from.tv_sec) * 1000000000LL + to.tv_nsec - from.tv_nsec);
	return 0;
}
`

// BenchmarkNotify answers calls of another thread, by a seccomp.Listener and by
// libseccomp:
//
//	go test -run - -bench Notify ./bench/seccomp
func BenchmarkNotify(b *testing.B) {
	b.Run("cloche", func(b *testing.B) {
		if err := answerGetppid(b); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
	})
	b.Run("libseccomp", func(b *testing.B) {
		needs.Programs(b, "gcc")
		name := filepath.Join(b.TempDir(), "notify")
		if err := os.WriteFile(name+".c", []byte(notifyC), 0o644); err != nil {
			b.Fatal(err)
		}
		if out, err := exec.Command("gcc", "-O2", "-pthread", "-o", name, name+".c", "-lseccomp").CombinedOutput(); err != nil {
			needs.Skip(b, fmt.Sprintf("no program with libseccomp: %v %s", err, out))
		}
		out, err := exec.Command(name, strconv.Itoa(b.N)).Output()
		if err != nil {
			b.Fatal(err)
		}
		var ns float64
		if _, err := fmt.Sscan(string(out), &ns); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(ns/float64(b.N), "ns/op") // without the program's start
		b.ReportMetric(float64(b.N)/ns*1e9, "calls/s")
	})
}

func answerGetppid(b *testing.B) error {
	needs.Arch(b, "there are tables of these alone", "amd64", "arm64")
	arch, _ := seccomp.ArchByName(runtime.GOARCH)
	prog, err := seccomp.Compile(seccomp.Profile{
		Default: seccomp.Allow, Unknown: seccomp.Allow, BadArch: seccomp.KillProcess,
		Groups: []seccomp.Group{{Rules: []seccomp.Rule{{Syscalls: []string{"getppid"}, Action: seccomp.UserNotify}}}},
	}, arch)
	if err != nil {
		return err
	}
	type loaded struct {
		l   *seccomp.Listener
		err error
	}
	made, begin, ended := make(chan loaded), make(chan bool), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine, and the filter with it
		err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		var l *seccomp.Listener
		if err == nil {
			// Else a signal of Go's scheduler ends a call that is answered already, and it is made again.
			l, err = seccomp.LoadListener(prog, unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
		}
		made <- loaded{l, err}
		<-begin
		for range b.N {
			if v, _, e := unix.Syscall(unix.SYS_GETPPID, 0, 0, 0); v != 42 {
				err = fmt.Errorf("getppid gave %d, %v", v, e)
			}
		}
		ended <- err
	}()
	m := <-made
	if m.err != nil {
		close(begin)
		return m.err
	}
	defer m.l.Close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b.ResetTimer()
	close(begin)
	for range b.N {
		n, err := m.l.Receive()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if err := m.l.Respond(n.ID, seccomp.Response{Value: 42}); err != nil {
			return err
		}
	}
	b.StopTimer()
	return <-ended
}
