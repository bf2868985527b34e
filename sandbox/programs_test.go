package sandbox_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/sandbox"

	"github.com/cloche-sandbox/cloche/internal/needs"
)

// builds is the build profile: the working directory is writable.
func builds(t testing.TB) *policy.Policy {
	t.Helper()
	p, _ := policy.Builtin("build")
	return p
}

// TestPython runs an interpreter that uses processes, threads and a data base.
func TestPython(t *testing.T) {
	needs.Programs(t, "python3")
	script := `
import os, threading, subprocess, multiprocessing, tempfile, hashlib, random
t = [threading.Thread(target=lambda: hashlib.sha256(b"x" * 100000).digest()) for _ in range(8)]
[x.start() for x in t]; [x.join() for x in t]
assert subprocess.check_output(["sh", "-c", "echo hi"]) == b"hi\n"
with multiprocessing.Pool(2) as p:
    assert p.map(abs, [-1, -2]) == [1, 2]
with tempfile.NamedTemporaryFile() as f:
    f.write(os.urandom(10))
print("done")
`
	if got := output(t, defaults(t), "/usr/bin/python3", "-c", script); got != "done\n" {
		t.Errorf("got %q", got)
	}
}

// TestPthreads compiles a pthread program inside and runs it inside: threads
// share memory and descriptors, each has its own id and registers, the libc's
// setuid and exit act on all of them.
func TestPthreads(t *testing.T) {
	needs.Programs(t, "gcc")
	dir := t.TempDir()
	source := `
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
static int shared, tids[8];
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t b;
static void *work(void *arg) {
	long n = (long)arg;
	tids[n] = syscall(SYS_gettid);
	for (int i = 0; i < 1000; i++) { pthread_mutex_lock(&m); shared++; pthread_mutex_unlock(&m); }
	pthread_barrier_wait(&b);
	if (getuid() != geteuid()) exit(3);
	return (void *)(n * 2);
}
int main(void) {
	pthread_t t[8];
	pthread_barrier_init(&b, NULL, 8);
	for (long i = 0; i < 8; i++) if (pthread_create(&t[i], NULL, work, (void *)i)) { perror("pthread_create"); return 1; }
	for (long i = 0; i < 8; i++) { void *r; pthread_join(t[i], &r); if ((long)r != i * 2) return 2; }
	for (int i = 0; i < 8; i++) for (int j = 0; j < i; j++) if (tids[i] == tids[j]) return 4;
	if (setuid(getuid())) return 5;
	printf("%d\n", shared);
	return 0;
}
`
	if err := os.WriteFile(filepath.Join(dir, "t.c"), []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	c := sandbox.Command(context.Background(), builds(t), "sh", "-c", "gcc -O1 -pthread -o t t.c && ./t")
	c.Dir = dir
	out, err := c.CombinedOutput()
	if err != nil || string(out) != "8000\n" {
		t.Errorf("%q, %v", out, err)
	}
}

// TestGit makes a repository and a commit inside.
func TestGit(t *testing.T) {
	needs.Programs(t, "git")
	dir := t.TempDir()
	c := sandbox.Command(context.Background(), builds(t), "sh", "-ec", `
git init -q .
git config user.name Somebody
git config user.email somebody@example.com
echo hello >file
git add file
git commit -q -m first
git status --short
git log --oneline | wc -l
git clone -q . copy
cat copy/file`)
	c.Dir = dir
	out, err := c.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "1\nhello" {
		t.Errorf("%q, %v", out, err)
	}
}

// TestDoubleFork: a daemon that left its parents ends with the sandbox, and its
// zombies are reaped while it lasts.
func TestDoubleFork(t *testing.T) {
	needs.Programs(t, "python3")
	script := `
import os, time, sys
for i in range(20):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os._exit(0) if i else time.sleep(1000)
        os._exit(0)
for _ in range(20): os.wait()
for _ in range(100):
    left = [p for p in os.listdir("/proc") if p.isdigit()]
    if len(left) <= 3: break
    time.sleep(0.02)
print(len(left))
`
	if got := output(t, defaults(t), "/usr/bin/python3", "-c", script); got != "3\n" {
		t.Errorf("processes left: %q (pid 1, the script, the daemon)", got)
	}
}

// TestNoInit: without Cloche's reaper the command itself is pid 1.
func TestNoInit(t *testing.T) {
	p := with(t, defaults(t), "no-init", "")
	if got := output(t, p, "sh", "-c", "echo $$; exit 0"); got != "1\n" {
		t.Errorf("got %q", got)
	}
	c := command(t, p, "sh", "-c", "exit 5")
	c.Run()
	if r := c.Result(); r == nil || r.ExitCode != 5 {
		t.Errorf("%+v", r)
	}
	if err := command(t, p, "no-such-command").Run(); err == nil || !strings.Contains(err.Error(), "ENOENT") {
		t.Errorf("%v", err)
	}
}
