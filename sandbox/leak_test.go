package sandbox_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cloche-sandbox/cloche/sandbox"
)

// census counts what a sandbox could leave behind.
type census struct{ processes, mounts, cgroups, fds, temp int }

func takeCensus(t testing.TB) census {
	t.Helper()
	count := func(pattern string) int {
		m, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		return len(m)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return census{
		processes: len(children(t, os.Getpid())),
		mounts:    ownMounts(string(mounts)),
		cgroups:   len(groupsOf(t, os.Getpid())),
		fds:       ownFDs(),
		temp:      count(filepath.Join(os.TempDir(), "*")),
	}
}

// ownFDs counts what is open, but for what is kept for the next sandbox, of which there
// are never more than a few: images, and the two files that tell of cgroups.
func ownFDs() (n int) {
	fds, _ := filepath.Glob("/proc/self/fd/*")
	for _, fd := range fds {
		to, _ := os.Readlink(fd)
		if !strings.HasPrefix(to, "/memfd:cloche") && to != fmt.Sprintf("/proc/%d/mountinfo", os.Getpid()) && to != fmt.Sprintf("/proc/%d/cgroup", os.Getpid()) {
			n++
		}
	}
	return n
}

// TestKeptImages: a program that uses one policy after another keeps the last few images.
func TestKeptImages(t *testing.T) {
	images := func() (n int) {
		fds, _ := filepath.Glob("/proc/self/fd/*")
		for _, fd := range fds {
			if to, _ := os.Readlink(fd); strings.HasPrefix(to, "/memfd:cloche") {
				n++
			}
		}
		return n
	}
	for i := range 12 {
		p := defaults(t)
		p.Hostname = fmt.Sprintf("kept%d", i)
		for range 2 {
			if out, err := command(t, p, "uname", "-n").Output(); err != nil || string(out) != p.Hostname+"\n" {
				t.Fatalf("%q, %v", out, err)
			}
		}
		if n := images(); n > 8 {
			t.Fatalf("%d images are kept open", n)
		}
	}
}

// ownMounts counts the mounts in a mountinfo but for those in other programs'
// temporary directories: other tests run beside these.
func ownMounts(mountinfo string) (n int) {
	for line := range strings.Lines(mountinfo) {
		at := strings.Fields(line)[4]
		if !strings.HasPrefix(at, "/tmp/") || strings.HasPrefix(at, os.TempDir()) {
			n++
		}
	}
	return n
}

// groupsOf lists the cgroups that a process has made: other tests run beside
// these and make their own.
func groupsOf(t testing.TB, pid int) []string {
	t.Helper()
	var list []string
	for _, depth := range []string{"", "*/", "*/*/", "*/*/*/"} {
		m, err := filepath.Glob(fmt.Sprintf("/sys/fs/cgroup/%scloche-%d-*", depth, pid))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, m...)
	}
	return list
}

// children lists the descendants' pids of a process.
func children(t testing.TB, pid int) []int {
	t.Helper()
	var list []int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range stats {
		data, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		s := string(data)
		fields := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
		if ppid, _ := strconv.Atoi(fields[1]); ppid == pid {
			child, _ := strconv.Atoi(strings.Split(f, "/")[2])
			list = append(list, child)
		}
	}
	return list
}

// settled waits until a census is as before: the kernel takes namespaces and
// processes away a moment after wait(2) has returned.
func settled(t testing.TB, before census) {
	t.Helper()
	var now census
	for range 100 {
		if now = takeCensus(t); now == before {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("left behind: before %+v, after %+v", before, now)
}

// TestManySandboxes: one after another, and many at once, nothing stays.
func TestManySandboxes(t *testing.T) {
	serial, parallel := 2000, 200
	if testing.Short() {
		serial, parallel = 100, 20
	}
	p := defaults(t)
	run := func() error {
		out, err := sandbox.Command(context.Background(), p, "echo", "x").Output()
		if err != nil || string(out) != "x\n" {
			return fmt.Errorf("%q, %w", out, err)
		}
		return nil
	}
	if err := run(); err != nil { // opens what the runtime keeps open
		t.Fatal(err)
	}
	before := takeCensus(t)
	for range serial {
		if err := run(); err != nil {
			t.Fatal(err)
		}
	}
	settled(t, before)

	var wg sync.WaitGroup
	for range parallel {
		wg.Go(func() {
			if err := run(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	settled(t, before)
}

// TestFailedStarts: a sandbox that can't be made leaves nothing either.
func TestFailedStarts(t *testing.T) {
	if err := command(t, defaults(t), "true").Run(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	before := takeCensus(t)
	for range 50 {
		c := sandbox.Command(context.Background(), defaults(t), "no-such-command")
		c.Dir = dir
		c.Run()
		c = sandbox.Command(context.Background(), with(t, defaults(t), "read", "/no/such/place"), "true")
		c.Dir = dir
		c.Run()
	}
	settled(t, before)
}

func init() {
	helpers["supervisor"] = func() {
		p := defaultsForHelper()
		c := sandbox.Command(context.Background(), p, "sh", "-c", "echo started; sleep 1000 & (sleep 1000 &); sleep 1000; : "+marker(os.Getpid()))
		c.Stdout = os.Stdout
		if err := c.Start(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("init", c.PID())
		c.Wait()
	}
}

func init() {
	helpers["once"] = func() {
		if err := sandbox.Command(context.Background(), defaultsForHelper(), "true").Run(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
}

// TestSupervisorKilled: whenever the supervisor is killed, nothing of its
// sandbox lives on, and the next run removes the cgroups that it left.
func TestSupervisorKilled(t *testing.T) {
	rounds := 40
	if testing.Short() {
		rounds = 8
	}
	var killed []int
	for i := range rounds {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), role+"=supervisor")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		pid := 0
		if i%2 == 0 { // when it runs
			lines := bufio.NewScanner(out)
			for n := 0; n < 2 && lines.Scan(); n++ {
				fmt.Sscanf(lines.Text(), "init %d", &pid)
			}
			if pid == 0 {
				t.Fatal("the helper started nothing")
			}
		} else { // at some moment of the set-up
			time.Sleep(time.Duration(i) * 250 * time.Microsecond)
		}
		mine := marker(cmd.Process.Pid)
		cmd.Process.Kill()
		cmd.Wait()
		killed = append(killed, cmd.Process.Pid)
		deadline := time.Now().Add(30 * time.Second)
		for alive(pid) || marked(mine) {
			if time.Now().After(deadline) {
				t.Fatalf("round %d: a process of the sandbox (pid 1 is %d) outlived its supervisor", i, pid)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}

	next := exec.Command("/proc/self/exe")
	next.Env = append(os.Environ(), role+"=once")
	if out, err := next.CombinedOutput(); err != nil {
		t.Fatalf("the next run: %v\n%s", err, out)
	}
	for _, pid := range killed {
		if left := groupsOf(t, pid); len(left) != 0 {
			t.Errorf("the next run has left %q", left)
		}
	}
}

// alive reports whether a process runs; a zombie, which some container's pid 1
// never reaps, does not.
func alive(pid int) bool {
	if pid == 0 {
		return false
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return syscall.Kill(pid, 0) == nil && !os.IsNotExist(err)
	}
	s := string(data)
	return !strings.HasPrefix(s[strings.LastIndexByte(s, ')')+1:], " Z")
}

// marker is what the helper's sandbox has in its arguments, the launcher and pid 1
// during set-up included.
func marker(pid int) string { return fmt.Sprintf("cloche-marker-%d.", pid) }

// marked reports whether a process with the marker in its arguments is alive.
func marked(marker string) bool {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		if data, err := os.ReadFile(f); err == nil && strings.Contains(string(data), marker) {
			return true
		}
	}
	return false
}
