package cli_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/cloche-sandbox/cloche/internal/needs"
)

// learned are programs that are learned from and then run under what was learned.
var learned = []struct {
	name     string
	programs []string
	command  []string
}{
	{"dash", nil, []string{"sh", "-c", "for i in 1 2 3; do echo $i; done | sort -r; cat ../data/words | wc -l"}},
	{"coreutils", nil, []string{"sh", "-c", "cp ../data/words w; sort w | uniq -c; ls -l w | cut -c1-10; rm w; seq 3 | tac"}},
	{"python3", []string{"python3"}, []string{"python3", "-c", "import json, subprocess, threading\nt = threading.Thread(target=print, args=(1,)); t.start(); t.join()\nprint(json.loads('[2]'), subprocess.check_output(['echo', 'hi']))\nprint(open('../data/words').read())"}},
	{"perl", []string{"perl"}, []string{"perl", "-e", `open F, "<", "../data/words"; print sort <F>; print POSIX::floor(2.5) if eval "use POSIX; 1"`}},
	{"awk", []string{"awk"}, []string{"awk", `{ n += length($0) } END { print n }`, "../data/words"}},
	{"tar", []string{"tar", "gzip"}, []string{"sh", "-c", "tar czf t.tgz -C ../data words && tar tzf t.tgz && rm t.tgz"}},
	{"git", []string{"git"}, []string{"sh", "-ec", "rm -rf repo; git init -q repo; cd repo; git config user.name n; git config user.email n@example.org; echo 1 >f; git add f; git commit -q -m one; git log --format=%s; git status --short"}},
	{"sqlite3", []string{"sqlite3"}, []string{"sqlite3", "new.db", "create table if not exists t(x); delete from t; insert into t values (42); select x from t;"}},
	{"gcc", []string{"gcc"}, []string{"sh", "-ec", `echo 'int main(void) { return 7; }' >m.c; gcc -o m m.c; ./m || echo $?`}},
	{"openssl", []string{"openssl"}, []string{"openssl", "dgst", "-sha256", "../data/words"}},
	{"make", []string{"make"}, []string{"sh", "-ec", `printf 'all:\n\t@echo made\n' >Makefile; make -s`}},
	{"loopback", []string{"python3"}, []string{"python3", "-c", "import socket\ns = socket.create_server(('127.0.0.1', 0))\nc = socket.create_connection(s.getsockname()); d, _ = s.accept(); c.sendall(b'over loopback'); c.close(); print(d.recv(99))"}},
}

// outcome is what a command printed, and how it ended.
func outcome(t *testing.T, cmd *exec.Cmd) (stdout string, code int, stderr string) {
	t.Helper()
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode(), complaints.String()
}

// TestLearned: under what was learned of it a command does the same. Something else is
// renamed all the time meanwhile, which has the kernel answer EAGAIN to who looks for
// what ".." leads to.
func TestLearned(t *testing.T) {
	makeLearnTop(t)
	if os.Geteuid() == 0 && runtime.NumCPU() > 1 { // once for both users; one processor would do nothing else
		renameAllTheTime(t)
	}
	asRootAndUser(t, func(t *testing.T) {
		for _, test := range learned {
			t.Run(test.name, func(t *testing.T) {
				needs.Programs(t, test.programs...)
				t.Parallel()
				dir := learnDir(t)
				learn := cloche(append([]string{"learn", "-o", "../policy.toml", "--"}, test.command...)...)
				learn.Dir = dir
				want, code, said := outcome(t, learn)
				if code != 0 || !strings.Contains(said, "policy.toml is written") {
					t.Fatalf("learn: exit status %d\n%s%s", code, want, said)
				}
				for range 2 {
					if err := os.RemoveAll(dir); err != nil {
						t.Fatal(err)
					}
					if err := os.Mkdir(dir, 0o755); err != nil {
						t.Fatal(err)
					}
					run := cloche(append([]string{"run", "--policy", "../policy.toml", "--"}, test.command...)...)
					run.Dir = dir
					if got, code, said := outcome(t, run); got != want || code != 0 || said != "" {
						text, _ := os.ReadFile(filepath.Join(dir, "../policy.toml"))
						t.Fatalf("%q, exit status %d, %q; while learning %q\n%s", got, code, said, want, text)
					}
				}
			})
		}
	})
}

// renameAllTheTime gives a directory other names until the test has ended.
func renameAllTheTime(t *testing.T) {
	t.Helper()
	names := [2]string{t.TempDir(), filepath.Join(t.TempDir(), "another")}
	stop := make(chan struct{})
	var renaming sync.WaitGroup
	renaming.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := os.Rename(names[0], names[1]); err != nil {
				t.Error(err)
				return
			}
			names[0], names[1] = names[1], names[0]
		}
	})
	t.Cleanup(func() {
		close(stop)
		renaming.Wait()
	})
}

// learnTop is where tests of learning work that root started for the ordinary user
// too, whose home is in /tmp then, which every sandbox has its own of.
const learnTop = "/var/cloche-learn-test"

func makeLearnTop(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	if err := os.Mkdir(learnTop, 0o777); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
	if err := os.Chmod(learnTop, 0o777); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(learnTop) })
}

// learnDir is an empty directory to work in, beside one that the default policy
// does not show.
func learnDir(t *testing.T) string {
	t.Helper()
	home := os.Getenv("HOME")
	if _, err := os.Stat(learnTop); err == nil {
		home = learnTop
	}
	top, err := os.MkdirTemp(home, "learn-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(top) })
	for _, name := range []string{"work", "data", "other"} {
		if err := os.Mkdir(filepath.Join(top, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"data/words", "other/words"} {
		if err := os.WriteFile(filepath.Join(top, name), []byte("one\ntwo\nthree\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(top, "work")
}

// TestLearnedStops: what a program does beyond what was learned is refused, and it is said
// what is missing; --append adds it, and takes nothing away.
func TestLearnedStops(t *testing.T) {
	needs.Programs(t, "python3")
	makeLearnTop(t)
	asRootAndUser(t, func(t *testing.T) {
		dir := learnDir(t)
		learn := func(args ...string) (string, int) {
			c := cloche(append([]string{"learn", "-o", "../p.toml"}, args...)...)
			c.Dir = dir
			_, code, said := outcome(t, c)
			return said, code
		}
		less := []string{"--", "python3", "-c", "import os\nprint(open('../data/words').read())"}
		more := []string{"--", "python3", "-c", "import _socket\nprint(open('../other/words').read()); _socket.socket(1, 5).close(); open('new', 'w'); print('all')"}
		if said, code := learn(less...); code != 0 {
			t.Fatal(said)
		}
		run := func(flags []string, command []string) (string, int, string) {
			c := cloche(append(append([]string{"run", "--policy", "../p.toml"}, flags...), command...)...)
			c.Dir = dir
			return outcome(t, c)
		}
		for _, test := range []struct{ code, want string }{
			{"open('../other/words')", "No such file"},
			{"open('new', 'w')", "Read-only file system"},
			{"import _socket; _socket.socket(1, 5)", "socket(AF_UNIX"},
			{"import os; os.getpriority(0, 0)", "getpriority"},
		} {
			out, code, said := run([]string{"--audit"}, []string{"--", "python3", "-c", test.code})
			if code != 1 || !strings.Contains(said, test.want) {
				t.Errorf("%s: exit status %d, %q %q; want %q", test.code, code, out, said, test.want)
			}
			if strings.Contains(said, "audit:") && !strings.Contains(said, "cloche learn --append") {
				t.Errorf("%s: %q does not say how to allow it", test.code, said)
			}
		}
		if said, code := learn(more...); code != 125 || !strings.Contains(said, "--append") {
			t.Errorf("over a policy that is there: exit status %d, %s", code, said)
		}
		if said, code := learn(append([]string{"--append"}, more...)...); code != 0 {
			t.Fatal(said)
		}
		for _, command := range [][]string{less, more} {
			if out, code, said := run(nil, command); code != 0 || said != "" {
				t.Errorf("after --append: %v: exit status %d, %q, %q", command, code, out, said)
			}
		}
		before, _ := os.ReadFile(filepath.Join(dir, "../p.toml"))
		if said, code := learn(append([]string{"--append"}, more...)...); code != 0 {
			t.Fatal(said)
		}
		if after, _ := os.ReadFile(filepath.Join(dir, "../p.toml")); strings.Count(string(after), "[[seccomp.group]]") != strings.Count(string(before), "[[seccomp.group]]") {
			t.Errorf("the same run once more changes the filter:\n%s\nbefore:\n%s", after, before)
		}
	})
}
