package sandbox_test

import (
	"errors"
	"fmt"
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
			err := p.LoadSeccomp(func(name string) (string, []byte, error) {
				data, err := os.ReadFile(name)
				return name, data, err
			})
			if err == nil {
				err = sandbox.Confine(p)
			}
			if err != nil {
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
		return word(listenTCP())
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
	case "kill":
		// A child of this very thread; runtime.LockOSThread was called.
		cmd := exec.Command("/bin/sleep", "60")
		err := cmd.Start()
		if err == nil {
			err = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		return word(err)
	case "raise":
		return word(unix.Kill(os.Getpid(), unix.SIGURG))
	case "signal":
		return word(unix.Kill(os.Getppid(), 0))
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

// listenTCP is net.Listen, which tries MPTCP first. Package net itself would make a
// test that is built with a C compiler at hand use cgo, and such a program can't act
// on all of its threads.
func listenTCP() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_MPTCP)
	if err != nil {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err
	}
	return unix.Listen(fd, 1)
}
