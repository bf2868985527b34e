package bwrap_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/internal/plan"
)

// agentLine, flatpakLine and allLine are the command lines that bench/bwrap times.
const (
	agentLine = "--new-session --die-with-parent --unshare-net --bind @/w @/w --setenv SANDBOX_RUNTIME 1 --setenv TMPDIR /tmp/claude --ro-bind / / --bind @/a @/a " +
		"--ro-bind /dev/null @/a/f --ro-bind /dev/null /etc/shadow --dev /dev --unshare-pid --unshare-user --cap-drop ALL --proc /proc"
	flatpakLine = "--ro-bind /usr /usr --proc /proc --unshare-pid --unshare-ipc --unshare-net --dir /tmp --dir /var/tmp --dir /run/host --perms 0700 --dir /run/user/0 --symlink ../run /var/run " +
		"--ro-bind /sys/block /sys/block --ro-bind /sys/bus /sys/bus --bind @/w /var/cache --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64 " +
		"--ro-bind /etc/hosts /etc/hosts --dev /dev --bind @/w /tmp --tmpfs /tmp/.X11-unix --tmpfs /run/host/fonts --remount-ro /run/host/fonts --die-with-parent"
	allLine = "--unshare-all --ro-bind / / --proc /proc --dev /dev --tmpfs /tmp"
)

// everything tells all that a command can see of its sandbox.
const everything = `
cut -d' ' -f4- /proc/self/mountinfo | sort
grep -vE '^(Pid|Tgid|NSpid|NSpgid|NStgid|NSsid|PPid|Vm|Rss|voluntary|nonvoluntary|Cpus|Mems|untag|x86)' /proc/self/status
cat /proc/self/limits /proc/self/cgroup /proc/self/oom_score_adj /proc/sys/kernel/hostname /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups 2>&1
env | sort; pwd; umask; id; tty
ls -l /proc/self/fd | awk '{print $1, $9, $10, $11}' | grep -v /proc/
stat -c '%A %u %g %N' /* /dev/* 2>&1 | sort
echo $$ $PPID; cut -d' ' -f5-6 /proc/$$/stat
for n in mnt pid net ipc uts user cgroup time; do test -e /proc/1/ns/$n && echo reached $n; done
cat /etc/shadow | head -1; mkdir /x; kill -0 1; ls /proc | grep -v '^[0-9]'; ls /sys; unshare -U true
ls -l /proc/1/exe; echo x > /proc/sysrq-trigger; echo x >/proc/sys/kernel/hostname; cat /sys/class/net/lo/operstate
true`

// changing is what differs from one sandbox to the next.
var changing = regexp.MustCompile(`0:\d+ |shared:\d+|master:\d+|SigQ:\t\d+|pipe:\[\d+\]|socket:\[\d+\]|/proc/\d+|cloche-beside-\d+|cloche-[a-z]*bwrap-\d+|/tmp/Test[^ ]*`)

// TestAlone: what an image reads and carries out by itself makes the same sandbox as the
// program does, and looks the same to the caller; so does what it leaves to the program, before it has
// begun or after it has failed.
func TestAlone(t *testing.T) {
	needs.Programs(t, "awk", "unshare")
	plain, fast := ours(t), fused(t)
	lines := [][3]string{
		{"agent", agentLine, everything},
		{"flatpak", flatpakLine, everything},
		{"all", allLine, everything},
		{"network of the caller", "--unshare-all --share-net --ro-bind / / --proc /proc --dev /dev", everything},
		{"pid namespace alone", "--unshare-pid --ro-bind / / --proc /proc", everything},
		{"all but the user namespace", "--unshare-pid --unshare-ipc --unshare-uts --unshare-net --unshare-cgroup --ro-bind / / --proc /proc --dev /dev --die-with-parent", everything},
		{"a user namespace", "--unshare-pid --unshare-user --ro-bind / / --proc /proc --dev /dev", everything},
		{"no capabilities", "--unshare-pid --cap-drop ALL --ro-bind / / --proc /proc --dev /dev", everything},
		{"a user namespace if there may be one", "--unshare-pid --unshare-user-try --unshare-cgroup-try --ro-bind / / --proc /proc", everything},
		{"devices", "--unshare-pid --ro-bind / / --dev-bind /dev /dev --proc /proc", everything},
		{"order", system + "--unshare-pid --bind @/w /a/b --bind @/a /a --tmpfs /a/b --dir /a/b/new --proc /proc", mounts + "; ls -R /a"},
		{"modes", system + "--unshare-pid --perms 0700 --dir /p/q/r --perms 1777 --tmpfs /t --dir /u/v --perms 0750 --dir /g/h --perms 0705 --dir /o/h --tmpfs /z/y", "stat -c '%a %n' / /p /p/q /p/q/r /t /u /u/v /g /g/h /o /o/h /z /z/y"},
		{"a mode of nothing", "--unshare-pid --ro-bind / / --perms 0700 --bind / /", "true"},
		{"no mode", "--unshare-pid --ro-bind / / --tmpfs /tmp --perms 08 --dir /tmp/x", "true"},
		{"too large a mode", "--unshare-pid --ro-bind / / --tmpfs /tmp --perms 17777 --dir /tmp/x", "true"},
		{"two modes", "--unshare-pid --ro-bind / / --tmpfs /tmp --perms 0700 --perms 0700 --dir /tmp/x", "true"},
		{"made in a tree of the host", system + "--unshare-pid --bind @/w /w --dir /w/made/deep --symlink made /w/l --symlink made /w/l --tmpfs /w/t/u", "find /w; stat -c %a /w/made /w/made/deep"},
		{"another link is there", system + "--unshare-pid --symlink a /l --symlink b /l", "readlink /l"},
		{"a link where a file is", system + "--unshare-pid --bind @/w /w --ro-bind @/data /w/x --symlink y /w/x", "true"},
		{"a link inside the tree", system + "--unshare-pid --bind @/a /a --bind @/w /a/in/c", "ls -R /a/b"},
		{"a link that leads out", system + "--unshare-pid --bind @/a /a --dir /a/out/made", "ls /a /etc"},
		{"a broken link", system + "--unshare-pid --bind @/a /a --dir /a/broken/made", "ls -R /a"},
		{"on a link", system + "--unshare-pid --bind @/a /a --bind @/w /a/out", "ls /a /etc"},
		{"a source by a link", system + "--unshare-pid --bind @/a/in /a --ro-bind @/a/out /b", "ls /a; ls /b | head -3"},
		{"a source that is broken", system + "--unshare-pid --bind @/a/broken /a", "true"},
		{"a source that may be broken", system + "--unshare-pid --bind-try @/a/broken /a --ro-bind-try /nope /b", "ls /"},
		{"a source below a file", system + "--unshare-pid --bind-try @/data/x /a", "ls /"},
		{"a file on a directory", system + "--unshare-pid --dir /x --bind @/a/f /x", "true"},
		{"a directory on a file", system + "--unshare-pid --ro-bind @/data /x --bind @/a /x", "true"},
		{"a file", system + "--unshare-pid --ro-bind @/data /x/y --bind @/w/../data /z", "cat /x/y; echo x >/x/y; stat -c %a /x"},
		{"the host's tree elsewhere", system + "--unshare-pid --ro-bind / /host --proc /proc", "ls -d /host/usr /host/proc; ls /host/proc | head -2; " + mounts},
		{"the host's tree twice", "--unshare-pid --ro-bind / / --bind / /mnt", mounts},
		{"the host's tree by another name", system + "--unshare-pid --bind //. /h --proc /proc", mounts},
		{"the host's tree by a path", system + "--unshare-pid --bind /usr/.. /h --proc /proc", mounts},
		{"a source in /proc", system + "--unshare-pid --ro-bind /proc/version /v --ro-bind /proc /p --proc /proc", "wc -l /v; ls /p | grep -c version"},
		{"a source that leads to /proc", system + "--unshare-pid --ro-bind-try /etc/mtab /m --bind @/a /a --proc /proc", "ls /m; " + mounts},
		{"a relative source", system + "--unshare-pid --bind a /a", "ls /a"},
		{"a relative destination", system + "--unshare-pid --bind @/a a --dir b/c", "ls /a /b"},
		{"a destination with dots", system + "--unshare-pid --bind @/a /a/./b --dir /c//d --tmpfs /e/ --dir /f/../g --dir /h/. --dir /..", "ls / /a; find /c /e /f /g /h"},
		{"an empty source", system + "--unshare-pid --bind  /a", "true"},
		{"a remount of what is no mount", system + "--unshare-pid --dir /d --remount-ro /d", "true"},
		{"a remount of the root", system + "--unshare-pid --tmpfs /t --remount-ro /", "touch /x; touch /t/x && echo below"},
		{"a remount of nothing", system + "--unshare-pid --remount-ro /nope", "true"},
		{"environment", "--unshare-pid --ro-bind / / --setenv A b --unsetenv SHOWN --setenv HOME /nowhere --setenv A c --unsetenv NOPE --setenv E a=b", "env"},
		{"clear environment", "--unshare-pid --ro-bind / / --setenv A b --clearenv --setenv C d --setenv PATH /usr/bin", "env"},
		{"no variable", "--unshare-pid --ro-bind / / --setenv A=b c", "env"},
		{"an unset with =", "--unshare-pid --ro-bind / / --unsetenv A=b", "env"},
		{"a directory", "--unshare-pid --ro-bind / / --chdir /usr/bin", "pwd; echo $PWD"},
		{"two directories", "--unshare-pid --ro-bind / / --chdir /usr/bin --chdir /usr", "pwd; echo $PWD"},
		{"a directory that is not there", system + "--unshare-pid --chdir /nope", "true"},
		{"a relative directory", "--unshare-pid --ro-bind / / --chdir a", "pwd; echo $PWD"},
		{"home instead", system + "--unshare-pid --setenv HOME /usr", "pwd; echo $PWD; env"},
		{"the root instead", system + "--unshare-pid --unsetenv HOME", "pwd; echo $PWD; env"},
		{"the root instead of home", system + "--unshare-pid --setenv HOME /nope", "pwd; echo $PWD"},
		{"a capability", "--unshare-pid --ro-bind / / --cap-drop CAP_CHOWN --proc /proc", "grep Cap /proc/self/status"},
		{"no pid namespace", "--ro-bind / / --new-session --unshare-net", "ls /proc/net | head -3; echo $$ >/dev/null"},
		{"exit code", "--unshare-pid --ro-bind / /", "exit 37"},
		{"exit code 125", "--unshare-pid --ro-bind / /", "exit 125"},
		{"exit code 1", "--unshare-pid --ro-bind / /", "exit 1"},
		{"killed", "--unshare-pid --ro-bind / /", "kill -9 $$"},
		{"terminated", "--unshare-pid --ro-bind / /", "kill -15 $$"},
		{"what is left goes on", "--ro-bind / / --unshare-pid --dev /dev --bind @/w @/w", "(sleep 0.2; echo late > @/w/late) & echo main"},
		{"descriptors are handed on", "--unshare-pid --ro-bind / / --proc /proc", "ls /proc/self/fd | sort -n | tr '\\n' ' '; cat <&4"},
		{"a new session", "--unshare-pid --ro-bind / / --new-session --proc /proc", "test $(cut -d' ' -f6 /proc/self/stat) -gt 0; echo $?"},
		{"as many acts as there is room for, and more", "--unshare-pid --ro-bind / / --tmpfs /tmp" + strings.Repeat(" --dir /tmp/x", 300), "ls /tmp"},
		{"as many variables", "--unshare-pid --ro-bind / / --setenv A " + strings.Repeat("x", 60000) + " --setenv B " + strings.Repeat("y", 70000) + " --setenv A b", "env | grep -E '^[AB]=' | wc -c"},
		{"an option that it does not know", "--unshare-pid --nosuch --ro-bind / /", "true"},
		{"an option without its argument", "--unshare-pid --ro-bind / / --setenv A", "true"},
		{"dashes", "--unshare-pid --ro-bind / / --", "echo dashes"},
	}
	for _, c := range sideBySide {
		lines = append(lines, [3]string{"beside " + c.name, c.line, c.script})
	}
	for name, who := range callers() {
		for _, c := range lines {
			t.Run(name+"/"+c[0], func(t *testing.T) {
				t.Parallel()
				a, b := sideStart(t, who, plain, c[1], c[2]), sideStart(t, who, fast, c[1], c[2])
				for _, s := range []*string{&a.stdout, &a.stderr, &b.stdout, &b.stderr} {
					*s = changing.ReplaceAllString(*s, "…")
				}
				if a.stdout != b.stdout || a.stderr != b.stderr || a.code != b.code {
					t.Errorf("the program: exit %d\n%s%s\nthe image: exit %d\n%s%s\ndiffer at %s", a.code, a.stdout, a.stderr, b.code, b.stdout, b.stderr, difference(a, b))
				}
			})
		}
	}
}

func difference(a, b outcome) string {
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

// TestAloneTaken: the image really carries out what it can, and leaves the rest before it has begun.
func TestAloneTaken(t *testing.T) {
	program := fused(t)
	for name, who := range callers() {
		for _, c := range []struct {
			name, line string
			env        string
			taken      bool
		}{
			{"agent", agentLine, "", true},
			{"flatpak", flatpakLine, "", true},
			{"all", allLine, "", true},
			{"a descriptor", allLine + " --bind-fd 3 /tmp", "", false},
			{"no pid namespace", "--ro-bind / /", "", false},
			{"own options", allLine, "CLOCHE_BWRAP_OPTIONS=--cloche-rlimit nofile=99", false},
			{"a report from somewhere else", allLine, "CLOCHE_EXPLAIN=0:0:0:1", false},
			{"another name of the directory", allLine, "PWD=/proc/self/cwd", false},
			{"the directory's name", allLine, "PWD=@", true},
		} {
			t.Run(name+"/"+c.name, func(t *testing.T) {
				dir := place(t, who)
				cmd := exec.Command(program, append(strings.Fields(strings.ReplaceAll(c.line, "@", dir)), "sleep", "600")...)
				cmd.Dir, cmd.Env = dir, []string{"PATH=/usr/bin:/bin", strings.ReplaceAll(c.env, "@", dir)}
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
				if c.name == "a descriptor" {
					f, err := os.Open(dir)
					if err != nil {
						t.Fatal(err)
					}
					defer f.Close()
					cmd.ExtraFiles = []*os.File{f}
				}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				defer func() {
					stop(cmd)
					cmd.Wait()
				}()
				want, got, exe := "", "", ""
				if c.taken {
					want = program
				}
				proc := filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid))
				for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
					if sleeps(cmd.Process.Pid, 2) {
						exe, _ = os.Readlink(proc + "/exe")
						got, _ = os.Readlink(filepath.Join(proc, "fd", strconv.Itoa(plan.PreludeExeFD)))
						break
					}
				}
				if got != want {
					t.Errorf("the launcher has %q, want %q", got, want)
				}
				if exe != "/memfd:cloche (deleted)" {
					t.Errorf("the launcher executes %s, which is no sealed memory file", exe)
				}
			})
		}
	}
}

// sleeps reports whether a process, or one that descends from it, has become sleep(1).
func sleeps(pid, deep int) bool {
	list, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/task/" + strconv.Itoa(pid) + "/children")
	for _, child := range strings.Fields(string(list)) {
		comm, _ := os.ReadFile("/proc/" + child + "/comm")
		n, _ := strconv.Atoi(child)
		if string(comm) == "sleep\n" || deep > 0 && sleeps(n, deep-1) {
			return true
		}
	}
	return false
}

// stop ends all that descends from a process, the youngest first, and it.
func stop(cmd *exec.Cmd) {
	var end func(pid int)
	end = func(pid int) {
		list, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/task/" + strconv.Itoa(pid) + "/children")
		for _, child := range strings.Fields(string(list)) {
			n, _ := strconv.Atoi(child)
			end(n)
		}
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	end(cmd.Process.Pid)
}
