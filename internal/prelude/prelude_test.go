package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/launcher"
	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/internal/plan"
)

// inside tells all that a command can see of its sandbox.
const inside = `
cut -d' ' -f4- /proc/self/mountinfo | sort
grep -vE '^(Pid|Tgid|NSpid|NSpgid|NStgid|NSsid|PPid|Vm|Rss|voluntary|nonvoluntary|Cpus|Mems|untag|x86)' /proc/self/status
cat /proc/self/limits /proc/self/cgroup /proc/self/oom_score_adj /proc/sys/kernel/hostname /proc/self/attr/current 2>&1
env | sort
pwd; umask; id; tty
ls -l /proc/self/fd | awk '{print $1, $9, $10, $11}' | grep -v /proc/
cd / && find . -xdev -maxdepth 3 ! -path './proc/*' ! -path './usr/*' ! -path './etc/*' -printf '%M %u %g %p %l\n' 2>&1 | sort
echo $$ $PPID
for n in mnt pid net ipc uts user cgroup time; do test -e /proc/1/ns/$n && echo reached $n; done
cat /etc/shadow; echo x > note; mkdir /x; kill -0 1; ls /proc; ls /sys; unshare -U true; cat /proc/1/maps; cat /proc/kcore
ls -l /proc/1/exe
true`

// masked is what differs from one sandbox to the next.
var masked = regexp.MustCompile(`0:\d+ |shared:\d+|master:\d+|cloche-[0-9a-z-]+|SigQ:\t\d+|pipe:\[\d+\]|/proc/\d+`)

type fixture struct {
	dir, plain, fused string
}

// start is one way to call cloche.
type start struct {
	uid  int
	cwd  string
	env  []string
	args []string
	raw  func(*exec.Cmd)
}

// result is what a caller sees of it.
type result struct {
	stdout, stderr string
	status         int
}

func (s *start) run(t *testing.T, exe string) result {
	t.Helper()
	cmd := exec.Command(exe, s.args...)
	cmd.Dir, cmd.Env = s.cwd, s.env
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if s.uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(s.uid), Gid: uint32(s.uid), Groups: []uint32{uint32(s.uid)}}}
	}
	if s.raw != nil {
		s.raw(cmd)
	}
	err := cmd.Run()
	var ee *exec.ExitError
	if err != nil && !errors.As(err, &ee) {
		t.Fatal(err)
	}
	mask := func(b []byte) string {
		return strings.ReplaceAll(masked.ReplaceAllString(string(b), "…"), exe, "cloche")
	}
	return result{mask(out.Bytes()), mask(errs.Bytes()), cmd.ProcessState.ExitCode()}
}

// ids are who a test runs cloche as.
func ids() map[string]int {
	if os.Geteuid() == 0 {
		return map[string]int{"root": 0, "user": needs.UID}
	}
	return map[string]int{"user": 0} // as who we are
}

// TestSame: with the prelude and without it the sandbox is the same, and so is
// what the caller sees.
func TestSame(t *testing.T) {
	f := programs(t)
	work, home := filepath.Join(f.dir, "work", "of mine"), filepath.Join(f.dir, "home")
	for _, d := range []string{work, filepath.Join(home, "src"), filepath.Join(f.dir, "bin")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"link": work, "work/of mine/link": home} {
		if err := os.Symlink(to, filepath.Join(f.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"work/of mine/script": "#!/no/such/interpreter\n", "work/of mine/file": "x\n", "bin/tool": "#!/bin/sh\necho tool\n", "self": "#!/proc/self/exe version\n"} {
		mode := os.FileMode(0o755)
		if strings.HasSuffix(name, "file") {
			mode = 0o644
		}
		if err := os.WriteFile(filepath.Join(f.dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{"PATH=/usr/bin:/bin", "HOME=" + home, "LANG=C", "SECRET=1", "TERM=dumb", "LC_X=y", "USER=me"}
	sh := func(script string) []string { return []string{"run", "--", "sh", "-c", script} }
	type change func(s *start)
	cases := map[string]change{
		"all that is inside": func(s *start) { s.args = sh(inside) },
		"without dashes":     func(s *start) { s.args = []string{"run", "echo", "--", "-x", ""} },
		"exit code":          func(s *start) { s.args = sh("exit 7") },
		"exit code 125":      func(s *start) { s.args = sh("exit 125") },
		"exit code 127":      func(s *start) { s.args = sh("exit 127") },
		"signal":             func(s *start) { s.args = sh("kill -TERM $$") },
		"SIGSYS":             func(s *start) { s.args = sh("kill -SYS $$") },
		"a failed write":     func(s *start) { s.args = sh("echo x > note") },
		"no such command":    func(s *start) { s.args = []string{"run", "--", "nosuch"} },
		"a hidden command":   func(s *start) { s.args = []string{"run", "tool"}; s.env[0] += ":" + filepath.Join(f.dir, "bin") },
		"a directory":        func(s *start) { s.args = []string{"run", "--", "/usr"} },
		"no program":         func(s *start) { s.args = []string{"run", "--", "./file"} },
		"no interpreter":     func(s *start) { s.args = []string{"run", "--", "./script"} },
		"a hidden interpreter": func(s *start) {
			s.args = []string{"run", "--", filepath.Join(f.dir, "bin", "tool")}
		},
		"no command":       func(s *start) { s.args = []string{"run"} },
		"an empty command": func(s *start) { s.args = []string{"run", "--", ""} },
		"a flag":           func(s *start) { s.args = []string{"run", "--nosuch"} },
		"a network":        func(s *start) { s.args = append([]string{"run", "--net", "private"}, sh(inside)[1:]...) },
		"at home":          func(s *start) { s.cwd = home; s.args = sh(inside) },
		"above home":       func(s *start) { s.cwd = f.dir; s.args = sh(inside) },
		"below home":       func(s *start) { s.cwd = filepath.Join(home, "src"); s.args = sh(inside) },
		"in /":             func(s *start) { s.cwd = "/"; s.args = sh(inside) },
		"in /tmp":          func(s *start) { s.cwd = "/tmp"; s.args = sh("pwd") },
		"in /usr":          func(s *start) { s.cwd = "/usr/share"; s.args = sh("pwd; ls | head -3") },
		"in /proc":         func(s *start) { s.cwd = "/proc/self"; s.args = sh("pwd") },
		"by a link": func(s *start) {
			s.cwd = filepath.Join(f.dir, "link")
			s.env = append(s.env, "PWD="+s.cwd)
			s.args = sh("pwd; cat file")
		},
		"PWD is right":      func(s *start) { s.env = append(s.env, "PWD="+work); s.args = sh("pwd; cat file") },
		"PWD is wrong":      func(s *start) { s.env = append(s.env, "PWD=/usr"); s.args = sh("pwd; cat file") },
		"home by ..":        func(s *start) { s.env[1] = "HOME=" + work + "/.."; s.args = sh("pwd; ls") },
		"home is the link":  func(s *start) { s.env[1] = "HOME=" + filepath.Join(f.dir, "link"); s.args = sh("pwd; ls") },
		"home is here":      func(s *start) { s.env[1] = "HOME=" + work + "//"; s.args = sh("pwd; ls") },
		"no home":           func(s *start) { s.env[1] = "X=y"; s.args = sh("pwd; ls") },
		"no environment":    func(s *start) { s.env = []string{}; s.args = sh("env | sort; pwd") },
		"a forged report":   func(s *start) { s.env = append(s.env, "CLOCHE_EXPLAIN=0:0:3:1"); s.args = sh("echo ran; env | sort") },
		"a report to start": func(s *start) { s.env = append(s.env, "CLOCHE_EXPLAIN=0:0:0:1"); s.args = sh("echo ran; env | sort") },
		"records here": func(s *start) {
			s.env = append(s.env, "CLOCHE_STATE_DIR="+filepath.Join(work, "records", strconv.Itoa(s.uid)))
			s.args = sh("ls -aR records")
		},
		"a runtime directory here": func(s *start) {
			s.env = append(s.env, "XDG_RUNTIME_DIR="+work)
			s.args = sh("ls -a; ls cloche")
		},
		"a runtime directory": func(s *start) { s.env = append(s.env, "XDG_RUNTIME_DIR=/run/user/7"); s.args = sh(inside) },
		"stdin is a file":     func(s *start) { s.args = sh("cat"); s.raw = func(c *exec.Cmd) { c.Stdin = strings.NewReader("hello") } },
		"more descriptors": func(s *start) {
			s.args = sh("ls /proc/self/fd | wc -l")
			s.raw = func(c *exec.Cmd) { c.ExtraFiles = []*os.File{os.Stdin, os.Stderr} }
		},
		"ignored signals": func(s *start) {
			s.args = sh(`trap "" TERM PIPE HUP USR1; exec "$0" run -- grep -E "^Sig(Ign|Blk|Cgt)" /proc/self/status`)
			s.raw = throughShell
		},
		"a lower limit": func(s *start) {
			s.args = sh(`ulimit -n 100; exec "$0" run -- sh -c "ulimit -n; ulimit -a"`)
			s.raw = throughShell
		},
		"another umask": func(s *start) {
			s.args = sh(`umask 077; exec "$0" run -- sh -c "umask; ls -ld $PWD /tmp /dev/shm"`)
			s.raw = throughShell
		},
		"stdout is closed": func(s *start) { s.args = sh(`exec "$0" run -- sh -c "ls -l /proc/self/fd" >&-`); s.raw = throughShell },
		"stdin is closed":  func(s *start) { s.args = sh(`exec "$0" run -- sh -c "echo hello" <&-`); s.raw = throughShell },
		"a deleted directory": func(s *start) {
			s.args = sh(`d=$(mktemp -d -p /dev/shm); cd $d; rmdir $d; exec "$0" run -- pwd`)
			s.raw = throughShell
		},
		"blocked signals": func(s *start) {
			s.args = sh(`python3 -c 'import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGCHLD, signal.SIGPROF])
os.execv(sys.argv[1], sys.argv[1:])' "$0" run -- grep -E "^Sig(Ign|Blk|Cgt)" /proc/self/status`)
			s.raw = throughShell
		},
		"all signals ignored": func(s *start) {
			s.args = sh(`python3 -c 'import os, signal, sys
for s in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}: signal.signal(s, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])' "$0" run -- grep -E "^Sig(Ign|Blk|Cgt)" /proc/self/status`)
			s.raw = throughShell
		},
		"the order of variables": func(s *start) {
			s.env = append(s.env[:5:5], "TZ=UTC", "LC_TIME=C", "LC_ALL=C", "LANGUAGE=en", "COLUMNS=")
			s.args = []string{"run", "env"}
		},
		"home by a link": func(s *start) {
			s.env[1] = "HOME=" + work + "/link/src"
			s.args = sh("pwd")
		},
		// CVE-2019-5736: what is executed then is the set-up's own file.
		"a script for /proc/self/exe": func(s *start) { s.cwd, s.env[1], s.args = f.dir, "HOME=/", []string{"run", "./self"} },
		"many arguments":              func(s *start) { s.args = append(sh(`echo $#`), strings.Split(strings.Repeat("x ", 20000), " ")...) },
	}
	for who, uid := range ids() {
		for name, change := range cases {
			t.Run(who+"/"+name, func(t *testing.T) {
				s := &start{uid: uid, cwd: work, env: append([]string{}, env...)}
				change(s)
				plain, fused := s.run(t, f.plain), s.run(t, f.fused)
				if plain != fused {
					t.Errorf("without a prelude:\n%s%s%d\nwith it:\n%s%s%d\ndiffer at %s", plain.stdout, plain.stderr, plain.status, fused.stdout, fused.stderr, fused.status, differ(plain, fused))
				}
			})
		}
	}
}

// throughShell runs a script outside that executes cloche, its $0.
func throughShell(c *exec.Cmd) {
	exe := c.Path
	c.Path, c.Args = "/bin/sh", []string{"sh", "-c", c.Args[len(c.Args)-1], exe}
}

func differ(a, b result) string {
	for _, p := range [][2]string{{a.stdout, b.stdout}, {a.stderr, b.stderr}} {
		x, y := strings.Split(p[0], "\n"), strings.Split(p[1], "\n")
		for i := range x {
			if i >= len(y) || x[i] != y[i] {
				return x[i]
			}
		}
	}
	return "the end"
}

// TestTaken: the prelude really carries a plain start out, and leaves other ones.
func TestTaken(t *testing.T) {
	f := programs(t)
	for who, uid := range ids() {
		for name, test := range map[string]struct {
			args []string
			want string // what the launcher has as a prelude's descriptor
		}{
			"plain":  {[]string{"run", "--", "sleep", "30"}, f.fused},
			"a flag": {[]string{"run", "--hostname", "x", "--", "sleep", "30"}, ""},
		} {
			t.Run(who+"/"+name, func(t *testing.T) {
				cmd := exec.Command(f.fused, test.args...)
				cmd.Dir, cmd.Env = f.dir, []string{"PATH=/usr/bin:/bin", "HOME=/"}
				if uid != 0 {
					cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
				}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				defer func() {
					cmd.Process.Signal(syscall.SIGTERM)
					cmd.Wait()
				}()
				got, exe := "", ""
				for range 200 {
					if pid1 := childOf(cmd.Process.Pid); pid1 != "" {
						exe, _ = os.Readlink("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/exe")
						got, _ = os.Readlink("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/fd/" + strconv.Itoa(plan.PreludeExeFD))
						if got == test.want && childOf(atoi(pid1)) != "" {
							break
						}
					}
					time.Sleep(10 * time.Millisecond)
				}
				if got != test.want {
					t.Errorf("the launcher has %q, want %q", got, test.want)
				}
				if exe != "/memfd:cloche (deleted)" {
					t.Errorf("the launcher executes %s, which is no sealed memory file", exe)
				}
			})
		}
	}
}

// TestNothingLeft: a launcher that is killed takes the sandbox with it, and the next
// start removes its cgroup, whichever of the two it is.
func TestNothingLeft(t *testing.T) {
	needs.Root(t, "to make cgroups")
	f := programs(t)
	program, err := os.ReadFile(f.plain)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := launcher.ReadExecutable(program); err != nil {
		t.Fatal(err)
	}
	groups := func() string {
		out, _ := exec.Command("sh", "-c", "find /sys/fs/cgroup -name 'cloche-[0-9]*' 2>/dev/null").Output()
		return string(out)
	}
	for _, first := range []string{f.plain, f.fused} {
		for _, second := range []string{f.plain, f.fused} {
			cmd := exec.Command(first, "run", "--", "sleep", "300")
			cmd.Dir, cmd.Env = f.dir, []string{"PATH=/usr/bin:/bin", "HOME=/root"}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			name := "cloche-" + strconv.Itoa(cmd.Process.Pid)
			for range 200 {
				if p := childOf(cmd.Process.Pid); p != "" && childOf(atoi(p)) != "" {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			if !strings.Contains(groups(), name) {
				t.Errorf("there is no cgroup %s to begin with", name)
			}
			pid1 := atoi(childOf(cmd.Process.Pid))
			cmd.Process.Kill()
			cmd.Wait()
			for range 200 {
				if unix.Kill(pid1, 0) != nil {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			if unix.Kill(pid1, 0) == nil {
				t.Errorf("pid 1 outlives its launcher")
			}
			again := exec.Command(second, "run", "--", "true")
			again.Dir, again.Env = f.dir, cmd.Env
			if out, err := again.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
			if g := groups(); strings.Contains(g, name) {
				t.Errorf("%s then %s: %s is left: %s", filepath.Base(first), filepath.Base(second), name, g)
			}
		}
	}
}

// childOf is the pid of a process's first child, "" if it has none.
func childOf(pid int) string {
	list, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/task/" + strconv.Itoa(pid) + "/children")
	first, _, _ := strings.Cut(strings.TrimSpace(string(list)), " ")
	return first
}

func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
