package sandbox_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/sandbox"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// confineThreads are the goroutines that a confined program locks to threads.
const confineThreads = 12

func init() {
	// confine: a program with many threads confines itself and tries on each of
	// them what TRY lists, a line each. What they say differs in nothing.
	helpers["confine"] = func() {
		var ready, done sync.WaitGroup
		goOn := make(chan struct{})
		results := make([]string, confineThreads)
		ready.Add(confineThreads)
		for i := range results {
			done.Go(func() {
				runtime.LockOSThread()
				ready.Done()
				<-goOn
				for line := range strings.SplitSeq(os.Getenv("TRY"), "\n") {
					results[i] += line + ": " + try(line) + "\n"
				}
			})
		}
		ready.Wait()
		if os.Getenv("UNCONFINED") == "" {
			p, _ := policy.Builtin(os.Getenv("PROFILE"))
			if os.Getenv("PROFILE") == "all" {
				p = policy.New()
				p.Mounts = []policy.Mount{{Kind: policy.Write, Path: "/"}}
			}
			for line := range strings.Lines(os.Getenv("FLAGS")) {
				name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
				if err := policy.FlagNamed(name).Apply(p, value); err != nil {
					fmt.Println(err)
					os.Exit(1)
				}
			}
			if err := sandbox.Confine(p); err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
		}
		close(goOn)
		done.Wait()
		for _, r := range results[1:] {
			if r != results[0] {
				fmt.Printf("the threads differ:\n%s\n%s", results[0], r)
				os.Exit(1)
			}
		}
		fmt.Print(results[0])
	}
	// confine-fooled: a filter that was there before must not pass for ours.
	helpers["confine-fooled"] = func() {
		runtime.LockOSThread()
		p, _ := policy.Builtin("default")
		filter, _ := seccomp.Precompiled("build", runtime.GOARCH)
		if _, _, e := unix.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); e != 0 {
			fmt.Println(e)
		}
		load := func() {
			if err := seccomp.LoadAllThreads(filter); err != nil {
				fmt.Println(err)
			}
		}
		load()
		prove, err := sandbox.ProveAgain()
		fmt.Println(err)
		fmt.Println("before:", prove())
		load()
		fmt.Println("after:", prove())
		fmt.Println("confine:", sandbox.Confine(p))
	}
}

// try does what a line says and tells what came of it.
func try(line string) string {
	what, arg, _ := strings.Cut(line, " ")
	word := func(err error) string {
		var e unix.Errno
		switch {
		case err == nil:
			return "ok"
		case errors.As(err, &e):
			return unix.ErrnoName(e)
		}
		return err.Error()
	}
	socket := func(family, kind, proto int) string {
		fd, err := unix.Socket(family, kind, proto)
		if err == nil {
			unix.Close(fd)
		}
		return word(err)
	}
	switch what {
	case "read":
		f, err := os.Open(arg)
		if err == nil {
			_, err = f.Read(make([]byte, 1))
			f.Close()
		}
		return word(err)
	case "list":
		_, err := os.ReadDir(arg)
		return word(err)
	case "write":
		f, err := os.OpenFile(arg, os.O_WRONLY, 0)
		if err == nil {
			f.Close()
		}
		return word(err)
	case "make":
		f, err := os.CreateTemp(arg, "made")
		if err == nil {
			os.Remove(f.Name())
			f.Close()
		}
		return word(err)
	case "chmod":
		fi, err := os.Stat(arg)
		if err == nil {
			err = os.Chmod(arg, fi.Mode())
		}
		return word(err)
	case "watch":
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
		if err == nil {
			_, err = unix.InotifyAddWatch(fd, arg, unix.IN_CREATE)
			unix.Close(fd)
		}
		return word(err)
	case "connect":
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err == nil {
			err = unix.Connect(fd, &unix.SockaddrUnix{Name: arg})
			unix.Close(fd)
		}
		return word(err)
	case "pair":
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err == nil {
			unix.Close(fds[0])
			unix.Close(fds[1])
		}
		return word(err)
	case "udp":
		return socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	case "datagrams":
		return socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	case "mptcp":
		return socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP)
	case "sctp":
		return socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP)
	case "raw":
		return socket(unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6)
	case "netlink":
		return socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)
	case "packet":
		return socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	case "vsock":
		return socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)
	case "listen":
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err == nil {
			l.Close()
		}
		return word(err)
	case "shm":
		id, err := unix.SysvShmGet(unix.IPC_PRIVATE, 4096, 0o600)
		if err == nil {
			_, err = unix.SysvShmCtl(id, unix.IPC_RMID, nil)
		}
		return word(err)
	case "uring":
		_, _, e := unix.RawSyscall(unix.SYS_IO_URING_SETUP, 0, 0, 0) // EINVAL where it is not refused
		return unix.ErrnoName(e)
	case "personality":
		_, _, e := unix.RawSyscall(unix.SYS_PERSONALITY, 0x0040000, 0, 0) // ADDR_NO_RANDOMIZE
		return unix.ErrnoName(e)
	case "capabilities":
		return word(sandbox.ProveCapabilities())
	case "child":
		out, err := exec.Command("/bin/sh", "-c", "cat "+arg).CombinedOutput()
		if err != nil {
			return "refused"
		}
		return strings.TrimSpace(string(out))
	}
	return "what?"
}

// confined runs what is tried, one pair of words each, in a program that confined
// itself by a profile and flags, and in one that did not.
type confined struct {
	profile string
	flags   []string
	env     []string
	dir     string
}

// gives holds what comes of it against what should: lines "read /x", "EACCES", …
func (c confined) gives(t *testing.T, want ...string) {
	t.Helper()
	var try, expect []string
	for i := 0; i < len(want); i += 2 {
		try = append(try, want[i])
		expect = append(expect, want[i]+": "+want[i+1])
	}
	c.env = append(c.env, "TRY="+strings.Join(try, "\n"))
	out, err := c.run("confine")
	if got, expect := strings.TrimSpace(out), strings.Join(expect, "\n"); err != nil || got != expect {
		t.Errorf("%s %q: %v\ngot:\n%s\nwant:\n%s", c.profile, c.flags, err, got, expect)
	}
}

// free is gives without Confine: what a test shows must not come of itself.
func (c confined) free(t *testing.T, want ...string) {
	t.Helper()
	c.env = append(c.env, "UNCONFINED=1")
	c.gives(t, want...)
}

func (c confined) run(as string) (string, error) {
	if c.profile == "" {
		c.profile = "default"
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(append(os.Environ(), role+"="+as, "PROFILE="+c.profile, "FLAGS="+strings.Join(c.flags, "\n")), c.env...)
	cmd.Dir = "/usr"
	if c.dir != "" {
		cmd.Dir = c.dir
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func put(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestConfine: the default profile holds on every thread.
func TestConfine(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/secret")
	c := confined{}
	c.gives(
		t,
		"read "+dir+"/secret", "EACCES", "personality", "EPERM", "read /etc/passwd", "ok", "read /usr/bin/env", "ok", "list /usr", "ok",
		"read /proc/self/status", "ok", "read /proc/meminfo", "ok", "list /proc", "EACCES", "read /proc/1/status", "EACCES",
		"write /dev/null", "ok", "read /dev/urandom", "ok", "list /dev", "EACCES", "list /dev/shm", "EACCES", "make /tmp", "EACCES",
		"shm", "EACCES", "uring", "ENOSYS", "chmod "+dir+"/secret", "EPERM", "watch "+dir, "EACCES", "capabilities", "ok", "child /etc/hostname > /dev/null && echo yes", "yes",
	)
	c.free(
		t,
		"read "+dir+"/secret", "ok", "list /proc", "ok", "read /proc/1/status", "ok", "list /dev", "ok", "list /dev/shm", "ok", "make /tmp", "ok",
		"shm", "ok", "chmod "+dir+"/secret", "ok", "watch "+dir, "ok",
	)
}

// TestConfineRoot: uid 0 loses what it owns, on disks and in /proc/sys, and the
// capabilities on every thread.
func TestConfineRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	c := confined{}
	c.gives(
		t,
		"read /etc/shadow", "EACCES", "child /etc/shadow", "refused", "list /etc", "EACCES", "read /etc/hostname", "ok",
		"write /proc/sys/kernel/hostname", "EACCES", "write /proc/self/comm", "ok", "chmod /etc/passwd", "EPERM", "write /etc/passwd", "EACCES", "capabilities", "ok",
	)
	c.free(t, "read /etc/shadow", "ok", "list /etc", "ok", "write /proc/sys/kernel/hostname", "ok", "chmod /etc/passwd", "ok", "write /etc/passwd", "ok")
	if out, err := (confined{env: []string{"UNCONFINED=1", "TRY=capabilities"}}).run("confine"); err != nil || !strings.Contains(out, "has capabilities") {
		t.Errorf("the capabilities are gone without Confine: %s, %v", out, err)
	}
	granted := confined{profile: "default", flags: []string{"share user", "cap-add CAP_CHOWN"}}
	granted.env = append(granted.env, "TRY=capabilities")
	if out, err := granted.run("confine"); err != nil || !strings.Contains(out, "has capabilities") {
		t.Errorf("CAP_CHOWN was granted: %s, %v", out, err)
	}
}

// TestConfineFiles: names that are protected below directories that are shown.
func TestConfineFiles(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/a/shown", dir+"/a/hidden", dir+"/a/in/shown", dir+"/a/in/deep/hidden", dir+"/a/other/shown", dir+"/w/work", dir+"/w/.git/hooks", dir+"/w/sub/work")
	if err := errors.Join(os.Link(dir+"/a/hidden", dir+"/a/second"), os.Symlink(dir+"/a/hidden", dir+"/to-hidden"), os.Symlink("sub", dir+"/w/link")); err != nil {
		t.Fatal(err)
	}
	c := confined{flags: []string{"read " + dir + "/a", "hide " + dir + "/a/in/deep", "hide " + dir + "/to-hidden", "hide " + dir + "/a/other/later"}}
	c.gives(
		t,
		"read "+dir+"/a/hidden", "EACCES", "read "+dir+"/a/second", "EACCES", "read "+dir+"/a/in/deep/hidden", "EACCES", "list "+dir+"/a/in/deep", "EACCES",
		"read "+dir+"/a/shown", "ok", "read "+dir+"/a/in/shown", "ok", "read "+dir+"/a/other/shown", "ok", "list "+dir+"/a", "EACCES", "list "+dir+"/a/other", "EACCES",
		"write "+dir+"/a/shown", "EACCES",
	)
	c.free(t, "read "+dir+"/a/hidden", "ok", "read "+dir+"/a/in/deep/hidden", "ok", "list "+dir+"/a", "ok", "write "+dir+"/a/shown", "ok")

	c = confined{flags: []string{"write " + dir + "/w", "read " + dir + "/w/.git", "read " + dir + "/w/link/work"}}
	c.gives(
		t,
		"write "+dir+"/w/work", "ok", "write "+dir+"/w/.git/hooks", "EACCES", "make "+dir+"/w/.git", "EACCES", "read "+dir+"/w/.git/hooks", "ok",
		"list "+dir+"/w", "ok", "write "+dir+"/w/sub/work", "EACCES", "make "+dir+"/w/sub", "EACCES", "make "+dir+"/w", "EACCES",
	)
	c.free(t, "write "+dir+"/w/.git/hooks", "ok", "make "+dir+"/w/.git", "ok")
	c = confined{flags: []string{"write " + dir + "/w", "write " + dir + "/w/sub", "read " + dir + "/w/.git"}}
	c.gives(t, "make "+dir+"/w/sub", "ok", "write "+dir+"/w/.git/hooks", "EACCES")
}

// TestConfineNetwork: without a network there is no socket but between the
// program's own threads and children.
func TestConfineNetwork(t *testing.T) {
	dir := t.TempDir()
	abstract := fmt.Sprintf("@cloche-test-%d", os.Getpid())
	for _, name := range []string{dir + "/socket", abstract} {
		l, err := net.Listen("unix", name)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	for _, flags := range [][]string{nil, {"net private"}, {"seccomp none"}} {
		confined{flags: flags}.gives(
			t,
			"udp", "EACCES", "listen", "EACCES", "mptcp", "EACCES", "sctp", "EACCES", "raw", "EACCES", "netlink", "EACCES", "packet", "EACCES",
			"vsock", "EACCES", "datagrams", "EACCES", "connect "+dir+"/socket", "EACCES", "connect "+abstract, "EACCES", "pair", "ok", "uring", "ENOSYS",
		)
	}
	confined{}.free(t, "udp", "ok", "listen", "ok", "netlink", "ok", "datagrams", "ok", "connect "+dir+"/socket", "ok", "connect "+abstract, "ok", "pair", "ok")
	confined{flags: []string{"net host"}}.gives(t, "udp", "ok", "listen", "ok", "connect "+dir+"/socket", "EACCES", "connect "+abstract, "EACCES", "datagrams", "EACCES", "pair", "ok")
	// Where no file is protected, no name of a socket is, but for abstract ones.
	scoped := []string{"connect " + dir + "/socket", "ok", "connect " + abstract, "EPERM", "datagrams", "ok", "udp", "EACCES", "chmod " + dir + "/socket", "ok", "list /", "ok"}
	confined{profile: "all"}.gives(t, scoped...)
	confined{profile: "all", flags: []string{"landlock off"}}.gives(t, "connect "+dir+"/socket", "EACCES", "connect "+abstract, "EACCES", "udp", "EACCES", "list /", "ok")
}

// TestConfineProof: a filter that was loaded before does not pass for another one.
func TestConfineProof(t *testing.T) {
	out, err := confined{}.run("confine-fooled")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if err != nil || len(lines) != 4 || lines[0] != "<nil>" || !strings.Contains(lines[1], "seccomp filters, not 2") || lines[2] != "after: <nil>" || lines[3] != "confine: <nil>" {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestConfineRefuses: what a running program can't have is refused by name, and
// nothing has changed then.
func TestConfineRefuses(t *testing.T) {
	for _, c := range []struct{ profile, flag, names, says string }{
		{"judge", "", "time.wall", "sandbox.Command"},
		{"default", "memory 64M", "limits.memory (--memory 64M)", "where-available"},
		{"default", "pids 10", "limits.pids", "where-available"},
		{"default", "max-output 1M", "max-output", "sandbox.Command"},
		{"default", "cpu-time 1s", "time.cpu", "rlimits.cpu"},
		{"default", "map-root ", "user.mode", "keeps its ids"},
		{"default", "cap-add CAP_CHOWN", "capabilities", "user namespace"},
		{"default", "tty ", "terminal", "keeps its terminal"},
		{"default", "seccomp strict", "seccomp.profile", "default"},
		{"default", "landlock off", "landlock.mode", "where-available"},
		{"default", "bind /usr:/other", "/other", "own path"},
		{"default", "read /does/not/exist", "/does/not/exist", "leave the entry out"},
		{"open", "", "landlock.mode", "Landlock is off"},
	} {
		out, err := confined{profile: c.profile, flags: []string{c.flag}, env: []string{"TRY=udp"}}.run("confine")
		if err == nil || !strings.HasPrefix(out, "sandbox: confine: ") || !strings.Contains(out, c.names) || !strings.Contains(out, c.says) || strings.Count(out, "\n") != 1 || strings.Contains(out, "in part") {
			t.Errorf("%s %s: %v %s", c.profile, c.flag, err, out)
		}
	}
}
