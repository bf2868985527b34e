package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/internal/plan"
)

// joined tells all that a command that joins can see of the sandbox and of itself.
const joined = `
cut -d' ' -f4- /proc/self/mountinfo | sort
grep -vE '^(Pid|Tgid|NSpid|NSpgid|NStgid|NSsid|PPid|Vm|Rss|voluntary|nonvoluntary|Cpus|Mems|untag|x86)' /proc/self/status
cat /proc/self/limits /proc/self/cgroup /proc/self/oom_score_adj /proc/sys/kernel/hostname /proc/self/attr/current 2>&1
env | sort
pwd; umask; id; tty
ls -l /proc/self/fd | awk '{print $1, $9, $10, $11}' | grep -v /proc/
for n in mnt pid net ipc uts user cgroup time; do readlink /proc/self/ns/$n; test -e /proc/1/ns/$n && echo reached $n; done
echo $PPID; cat /etc/shadow; mkdir /x; kill -0 1; ls /sys; unshare -U true; cat /proc/1/maps; cat /proc/kcore
true`

// running starts a sandbox in the background, which the end of the test ends, and joins it once.
func (f *fixture) running(t *testing.T, uid int) *start {
	t.Helper()
	own, err := os.MkdirTemp(f.dir, "records-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(own, uid, uid); uid != 0 && err != nil {
		t.Fatal(err)
	}
	records := filepath.Join(own, "records")
	s := &start{uid: uid, cwd: f.dir, env: []string{"PATH=/usr/bin:/bin", "HOME=/", "LANG=C", "CLOCHE_STATE_DIR=" + records}}
	call := func(args ...string) {
		t.Helper()
		s.args = args
		if r := s.run(t, f.fused); r.status != 0 {
			t.Fatalf("%v: %d: %s", args, r.status, r.stderr)
		}
	}
	call("run", "--name", "web", "--detach", "--", "sleep", "infinity")
	t.Cleanup(func() { call("rm", "--force", "web") })
	image := filepath.Join(records, "web", plan.JoinFileName)
	if _, err := os.Stat(image); err == nil {
		t.Error("there is an image before anybody joined")
	}
	call("exec", "web", "true")
	if _, err := os.Stat(image); err != nil {
		var fs unix.Statfs_t
		if fd, ferr := unix.PidfdOpen(os.Getpid(), 0); ferr == nil && unix.Fstatfs(fd, &fs) == nil && fs.Type != unix.PID_FS_MAGIC {
			needs.Kernel(t, "pidfds do not tell one process from another", "6.9", "")
		}
		t.Fatal(err)
	}
	return s
}

// TestExecSame: a command that joins by the image in the sandbox's record, before there is a
// Go runtime, is confined as one that joins without it, and the caller sees the same.
func TestExecSame(t *testing.T) {
	f := programs(t)
	for who, uid := range ids() {
		t.Run(who, func(t *testing.T) {
			s := f.running(t, uid)
			for name, args := range map[string][]string{
				"all that is inside": {"web", "--", "sh", "-c", joined},
				"without dashes":     {"web", "echo", "--", "-x", ""},
				"exit code":          {"web", "--", "sh", "-c", "exit 7"},
				"exit code 125":      {"web", "--", "sh", "-c", "exit 125"},
				"signal":             {"web", "--", "sh", "-c", "kill -TERM $$"},
				"SIGSYS":             {"web", "--", "sh", "-c", "kill -SYS $$"},
				"no such command":    {"web", "--", "nosuch"},
				"a directory":        {"web", "--", "/usr"},
				"no such sandbox":    {"wed", "--", "true"},
				"no command":         {"web"},
				"an empty command":   {"web", "--", ""},
				"a flag":             {"--env", "A=b", "web", "--", "sh", "-c", joined},
				"stdin":              {"web", "--", "cat"},
				"many arguments":     append([]string{"web", "--", "sh", "-c", "echo $#"}, strings.Split(strings.Repeat("x ", 20000), " ")...),
			} {
				t.Run(name, func(t *testing.T) {
					c := *s
					c.args = append([]string{"exec"}, args...)
					c.raw = func(c *exec.Cmd) {
						c.Stdin = strings.NewReader("hello")
						c.ExtraFiles = []*os.File{os.Stdin, os.Stderr} // which the command does not get
					}
					plain, fused := c.run(t, f.plain), c.run(t, f.fused)
					if plain != fused {
						t.Errorf("without a prelude:\n%s%s%d\nwith it:\n%s%s%d\ndiffer at %s", plain.stdout, plain.stderr, plain.status, fused.stdout, fused.stderr, fused.status, differ(plain, fused))
					}
				})
			}
		})
	}
}

// TestExecTaken: the prelude joins by the image, ends as the sandbox ends and when it is
// killed takes the command with it; the image of a sandbox that is no more has no effect on
// the next one of that name.
func TestExecTaken(t *testing.T) {
	f := programs(t)
	for who, uid := range ids() {
		t.Run(who, func(t *testing.T) {
			s := f.running(t, uid)
			begin := func() (launcher *exec.Cmd, watcher int) {
				t.Helper()
				cmd := exec.Command(f.fused, "exec", "web", "--", "sleep", "600")
				cmd.Dir, cmd.Env = s.cwd, s.env
				if uid != 0 {
					cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
				}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
					watcher = atoi(childOf(cmd.Process.Pid))
					if pid := childOf(watcher); pid != "" {
						if comm, _ := os.ReadFile("/proc/" + pid + "/comm"); string(comm) == "sleep\n" {
							return cmd, watcher
						}
					}
				}
				cmd.Process.Kill()
				cmd.Wait()
				t.Fatal("the command does not begin")
				return nil, 0
			}
			cmd, _ := begin()
			proc := "/proc/" + strconv.Itoa(cmd.Process.Pid)
			if exe, _ := os.Readlink(proc + "/exe"); exe != "/memfd:cloche (deleted)" {
				t.Errorf("the launcher executes %s, which is no sealed memory file", exe)
			}
			if got, _ := os.Readlink(proc + "/fd/" + strconv.Itoa(plan.PreludeExeFD)); got != f.fused {
				t.Errorf("the launcher has %q, want %q", got, f.fused)
			}
			cmd.Process.Signal(syscall.SIGTERM)
			cmd.Wait()
			if got := cmd.ProcessState.ExitCode(); got != 128+int(syscall.SIGTERM) {
				t.Errorf("a command that was sent SIGTERM ended with %d", got)
			}

			cmd, watcher := begin()
			fd, err := unix.PidfdOpen(watcher, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			cmd.Process.Kill()
			cmd.Wait()
			if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 30_000); n != 1 {
				t.Errorf("the watcher outlives its launcher: %v", err)
			}

			cmd, _ = begin()
			old, err := os.ReadFile(filepath.Join(strings.TrimPrefix(s.env[3], "CLOCHE_STATE_DIR="), "web", plan.JoinFileName))
			if err != nil {
				t.Fatal(err)
			}
			end := *s
			end.args = []string{"kill", "-s", "KILL", "web"}
			if r := end.run(t, f.fused); r.status != 0 {
				t.Fatal(r.stderr)
			}
			cmd.Wait()
			if got := cmd.ProcessState.ExitCode(); got != 128+int(syscall.SIGKILL) {
				t.Errorf("the command ended with %d when its sandbox did", got)
			}
			end.args = []string{"rm", "--force", "web"}
			if r := end.run(t, f.fused); r.status != 0 {
				t.Fatal(r.stderr)
			}
			end.args = []string{"run", "--name", "web", "--detach", "--hostname", "second", "--", "sleep", "infinity"}
			if r := end.run(t, f.fused); r.status != 0 {
				t.Fatal(r.stderr)
			}
			image := filepath.Join(strings.TrimPrefix(s.env[3], "CLOCHE_STATE_DIR="), "web", plan.JoinFileName)
			if _, err := os.Stat(image); err == nil {
				t.Error("the next of that name has the image of the one before")
			}
			if err := os.WriteFile(image, old, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(image, uid, uid); uid != 0 && err != nil {
				t.Fatal(err)
			}
			end.args = []string{"exec", "web", "cat", "/proc/sys/kernel/hostname"}
			if r := end.run(t, f.fused); r.status != 0 || r.stdout != "second\n" {
				t.Errorf("with the image of another sandbox: %d %q %s", r.status, r.stdout, r.stderr)
			}
			if now, err := os.ReadFile(image); err != nil || string(now) == string(old) {
				t.Errorf("the image is not replaced: %v", err)
			}
		})
	}
}
