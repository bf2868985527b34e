package bwrap_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cloche-sandbox/cloche/internal/needs"
)

// outcome is what a caller sees of a command line.
type outcome struct {
	stdout, stderr string
	code           int
	pid            int // that it had
}

// callers are who command lines are tried as.
func callers() map[string]*syscall.Credential {
	if os.Geteuid() != 0 {
		return map[string]*syscall.Credential{"user": nil}
	}
	return map[string]*syscall.Credential{"root": nil, "user": {Uid: needs.UID, Gid: needs.UID}}
}

// start runs a bwrap with files as its descriptors from 3 on.
func start(t testing.TB, who *syscall.Credential, dir, program string, args []string, files ...*os.File) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.ExtraFiles = dir, files
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + dir, "LANG=C", "SHOWN=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return outcome{out.String(), errs.String(), cmd.ProcessState.ExitCode(), cmd.ProcessState.Pid()}
}

// place is a directory that both callers may use, with a few files.
func place(t *testing.T, who *syscall.Credential) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cloche-beside-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, d := range []string{"a/b/c", "w", "ov/l1", "ov/l2", "ov/up", "ov/work"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"a/f": "f\n", "a/b/g": "g\n", "ov/l1/x": "1\n", "ov/l2/x": "2\n", "ov/l1/only": "1\n", "data": "content\n", "script": "echo no shebang $1\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range [][2]string{{"/etc", "a/out"}, {"b", "a/in"}, {"/nowhere", "a/broken"}} {
		if err := os.Symlink(l[0], filepath.Join(dir, l[1]+"")); err != nil {
			t.Fatal(err)
		}
	}
	err = filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
		if err == nil && who != nil {
			err = os.Lchown(p, int(who.Uid), int(who.Gid))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

const system = "--ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64 "

// mounts prints what mountinfo says that does not depend on how it came to be.
const mounts = `awk '{ sub(/,relatime/,"",$6); for (i=7;i<=NF;i++) if ($i=="-") break; print $5, $6, $(i+1) }' /proc/self/mountinfo | sort`

// sideBySide are command lines that both understand; @ is a directory of the test's own, and the
// last word is a script.
var sideBySide = []struct{ name, line, script string }{
	{"root is there and writable", system, "ls /; echo x > /new && cat /new; stat -c %a /"},
	{"all of the host", "--ro-bind / /", "id; pwd; echo $PWD $SHOWN; touch /etc/x"},
	{"unshare all", "--unshare-all --ro-bind / / --proc /proc --dev /dev --tmpfs /tmp", "ls -l /dev | grep -v pts | sed 's/ [A-Z][a-z][a-z] .*:[0-9][0-9] / /'; ls -a /tmp; ls /sys/class/net; cat /proc/net/dev | grep -c lo"},
	{"mounts", "--unshare-pid " + system + "--bind @/a /a --ro-bind @/w /w --dev-bind /dev/null /n --tmpfs /t --proc /proc --dev /dev --size 65536 --tmpfs /s", mounts},
	{"a mount over what is mounted below", system + "--bind @/w /a/b --bind @/a /a", "ls /a /a/b"},
	{"a mount below one", system + "--bind @/a /a --tmpfs /a/b --dir /a/b/new", "ls -R /a"},
	{"directories made in a tree of the host", system + "--bind @/w /w --dir /w/made/deep --symlink made /w/l", "find /w; stat -c %a /w/made"},
	{"a link inside the tree", system + "--bind @/a /a --bind @/w /a/in/c", "ls -R /a/b"},
	{"read-only is recursive", "--ro-bind / / --bind @ @ --ro-bind @/a @/w", "touch @/w/x; touch @/a/ok && ls @/a"},
	{"remount", system + "--bind @/w /w --tmpfs /w/t --remount-ro /w", "touch /w/x; touch /w/t/x && echo below"},
	{"remount of the root", system + "--tmpfs /t --remount-ro /", "touch /x; touch /t/x && echo below"},
	{"not a mount", system + "--dir /d --remount-ro /d", "true"},
	{"perms", system + "--perms 0700 --dir /p/q/r --perms 1777 --tmpfs /t --chmod 0711 /p --dir /u/v", "stat -c '%a %n' /p /p/q /p/q/r /t /u /u/v"},
	{"files from descriptors", system + "--file 3 /f --perms 0640 --bind-data 4 /d/g --ro-bind-data 5 /h", "cat /f /d/g /h; stat -c '%a %n' /f /d/g /h; echo more >> /d/g && cat /d/g; echo more >> /h"},
	{"a descriptor of a directory", system + "--bind-fd 6 /b ", "ls /b; touch /b/x && rm /b/x && echo rw"},
	{"a descriptor of a directory, read-only", system + "--ro-bind-fd 6 /r", "ls /r; touch /r/x"},
	{"a descriptor that is none", system + "--file 77 /f", "true"},
	{"a command that is handed descriptors", "--ro-bind / / --bind-data 3 @/data --info-fd 8", "ls /proc/self/fd | sort -n | tr '\\n' ' '; cat <&4"},
	{"ids", "--ro-bind / / --unshare-user --uid 7 --gid 8", "id; cat /proc/self/status | grep -E '^(Cap(Inh|Prm|Eff|Amb)|NoNewPrivs)'"},
	{"ids without a user namespace", "--ro-bind / / --uid 7", "id"},
	{"capabilities", "--ro-bind / / --unshare-user --cap-add CAP_NET_RAW --cap-add CAP_CHOWN --cap-drop CAP_CHOWN --proc /proc", "grep -E '^Cap(Inh|Prm|Eff|Amb)' /proc/self/status"},
	{"all capabilities dropped", "--ro-bind / / --cap-drop ALL", "grep -E '^Cap(Inh|Prm|Eff|Amb)' /proc/self/status"},
	{"some capabilities added to none", "--ro-bind / / --cap-drop ALL --cap-add CAP_NET_RAW --cap-add CAP_CHOWN --cap-drop CAP_CHOWN", "grep -E '^Cap(Inh|Prm|Eff|Amb)' /proc/self/status"},
	{"no option about capabilities", "--ro-bind / /", "grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status"},
	{"no further user namespace", "--ro-bind / / --unshare-user --disable-userns --dev /dev", "id -u; unshare -U true; cat /proc/self/uid_map | tr -s ' '| cut -d' ' -f2"},
	{"disabled, and looked after", "--ro-bind / / --unshare-user --disable-userns --assert-userns-disabled --dev /dev", "id -u; unshare -U true; echo $?"},
	{"not disabled", "--ro-bind / / --unshare-user --assert-userns-disabled", "true"},
	{"host name", "--ro-bind / / --unshare-uts --hostname inside", "uname -n"},
	{"environment", "--ro-bind / / --setenv A b --unsetenv SHOWN --setenv HOME /nowhere", "env | grep -v '^_=' | sort"},
	{"clear environment", "--ro-bind / / --setenv A b --clearenv --setenv C d", "env | grep -v '^_=' | sort"},
	{"directory that is not there", system + "--chdir /nope", "true"},
	{"directory falls back to home", system + "--setenv HOME /usr", "pwd; echo $PWD"},
	{"directory falls back to the root", system + "--unsetenv HOME", "pwd; echo $PWD"},
	{"directory", "--ro-bind / / --chdir /usr/bin", "pwd; echo $PWD"},
	{"source that is not there", system + "--bind /nope /x", "true"},
	{"source that may be missing", system + "--bind-try /nope /x --ro-bind-try /nope /y --dev-bind-try /nope /z", "ls /"},
	{"file on a directory", system + "--dir /x --bind @/a/f /x", "true"},
	{"directory on a file", system + "--ro-bind-data 3 /x --bind @/a /x", "true"},
	{"link where a file is", system + "--file 3 /x --symlink y /x", "true"},
	{"message queues", "--unshare-ipc --unshare-user " + system + "--mqueue /q", "ls -d /q"},
	{"pid 1", "--unshare-pid --as-pid-1 --ro-bind / / --proc /proc", "echo $$"},
	{"new session", "--ro-bind / / --new-session --unshare-pid --proc /proc", "test $(cut -d' ' -f6 /proc/self/stat) -gt 0; echo $?"},
	{"exit code", "--ro-bind / / --unshare-pid", "exit 37"},
	{"killed", "--ro-bind / / --unshare-pid", "kill -9 $$"},
	{"killed, without a pid namespace", "--ro-bind / /", "kill -15 $$"},
	{"status", "--ro-bind / / --unshare-pid --unshare-ipc --json-status-fd 1", "exit 3"},
	{"info", "--ro-bind / / --unshare-all --info-fd 1", "true"},
	{"what is left goes on", "--ro-bind / / --unshare-pid --dev /dev --bind @/w @/w", "(sleep 0.2; echo late > @/w/late) & echo main"},
	{"lock file", "--ro-bind / / --lock-file @/data", "grep -c POSIX /proc/locks >/dev/null; echo locked"},
	{"a filter that is none", "--ro-bind / / --seccomp 3", "true"},
	{"a descriptor for a filter that is none", "--ro-bind / / --seccomp 77", "true"},
	{"session of the caller", "--ro-bind / / --proc /proc", "test $(cut -d' ' -f6 /proc/$$/stat) != $$; echo $?"},
}

var numbers = regexp.MustCompile(`"(child-pid|[a-z]+-namespace)": [0-9]+`)

// sideStart runs a command line of sideBySide, or one like it.
func sideStart(t *testing.T, who *syscall.Credential, program, line, script string) outcome {
	t.Helper()
	dir := place(t, who)
	args := append(strings.Fields(strings.ReplaceAll(line, "@", dir)), "sh", "-c", strings.ReplaceAll(script, "@", dir))
	files := make([]*os.File, 5)
	for i, name := range []string{"data", "data", "data", "a", "data"} {
		var err error
		if files[i], err = os.Open(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		defer files[i].Close()
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	r := start(t, who, dir, program, args, append(files, null)...)
	if strings.Contains(script, "late") {
		late := filepath.Join(dir, "w/late")
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if text, _ := os.ReadFile(late); len(text) > 0 {
				r.stdout += "late\n"
				break
			}
		}
	}
	for _, s := range []*string{&r.stdout, &r.stderr} {
		*s = strings.ReplaceAll(*s, dir, "@")
		*s = numbers.ReplaceAllString(*s, `"$1": N`)
	}
	return r
}

// TestBesideBubblewrap runs each command line under bubblewrap and under Cloche: what is seen
// inside, what comes out, and how it ends are the same.
func TestBesideBubblewrap(t *testing.T) {
	needs.Programs(t, "bwrap", "awk", "unshare")
	theirs, err := exec.LookPath("bwrap")
	if err != nil {
		t.Fatal(err)
	}
	mine := ours(t)
	for name, who := range callers() {
		for _, c := range sideBySide {
			t.Run(name+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				a, b := sideStart(t, who, theirs, c.line, c.script), sideStart(t, who, mine, c.line, c.script)
				if a.stdout != b.stdout || a.code != b.code {
					t.Errorf("bubblewrap: exit %d\n%s%s\nCloche: exit %d\n%s%s", a.code, a.stdout, a.stderr, b.code, b.stdout, b.stderr)
				}
				if (a.stderr == "") != (b.stderr == "") || strings.HasPrefix(a.stderr, "bwrap: ") != strings.HasPrefix(b.stderr, "bwrap: ") {
					t.Errorf("stderr of bubblewrap %q, of Cloche %q", a.stderr, b.stderr)
				}
				if n := strings.Count(b.stderr, "bwrap: "); n > 1 {
					t.Errorf("%d lines: %s", n, b.stderr)
				}
			})
		}
	}
}
