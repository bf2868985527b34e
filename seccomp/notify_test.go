package seccomp_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// onThread runs f on a thread of its own that has a filter which notifies of the
// named calls; the thread ends with f. It returns the filter's listener.
func onThread(t *testing.T, calls []string, f func()) *seccomp.Listener {
	t.Helper()
	return onThreadWith(t, 0, calls, f)
}

// onThreadWith is onThread with flags for loading the filter.
func onThreadWith(t *testing.T, flags uint, calls []string, f func()) *seccomp.Listener {
	t.Helper()
	needs.Arch(t, "there are tables of these alone", "amd64", "arm64")
	arch, _ := seccomp.ArchByName(runtime.GOARCH)
	prog, err := seccomp.Compile(seccomp.Profile{
		Name: "test", Default: seccomp.Allow, Unknown: seccomp.Allow, BadArch: seccomp.KillProcess,
		Groups: []seccomp.Group{{Rules: []seccomp.Rule{{Syscalls: calls, Action: seccomp.UserNotify}}}},
	}, arch)
	if err != nil {
		t.Fatal(err)
	}
	type loaded struct {
		l   *seccomp.Listener
		err error
	}
	made, done := make(chan loaded, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		defer close(done)
		err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		var l *seccomp.Listener
		if err == nil {
			l, err = seccomp.LoadListener(prog, flags)
		}
		made <- loaded{l, err}
		if err == nil {
			f()
		}
	}()
	m := <-made
	if errors.Is(m.err, unix.EBUSY) {
		needs.Skip(t, "something around this test has a listener already")
	}
	if m.err != nil {
		t.Fatal(m.err)
	}
	t.Cleanup(func() {
		m.l.Close() // whatever still waits fails now
		<-done
	})
	return m.l
}

func receive(t *testing.T, l *seccomp.Listener) *seccomp.Notification {
	t.Helper()
	n, err := l.Receive()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func getppid(a, b, c uintptr) (int, unix.Errno) {
	r, _, e := unix.Syscall(unix.SYS_GETPPID, a, b, c)
	return int(r), e
}

func TestNotifyAnswers(t *testing.T) {
	type result struct {
		value int
		errno unix.Errno
	}
	results := make(chan result)
	tid := make(chan int, 1)
	l := onThread(t, []string{"getppid"}, func() {
		tid <- unix.Gettid()
		for range 4 {
			v, e := getppid(11, 22, 33)
			results <- result{v, e}
		}
	})
	thread := <-tid
	for _, c := range []struct {
		answer seccomp.Response
		want   result
	}{
		{seccomp.Response{Value: 1 << 40}, result{value: 1 << 40}},
		{seccomp.Response{Errno: unix.EXDEV}, result{value: -1, errno: unix.EXDEV}},
		{seccomp.Response{Value: 7, Errno: unix.EPERM}, result{value: -1, errno: unix.EPERM}},
		{seccomp.Response{Continue: true}, result{value: os.Getppid()}},
	} {
		n := receive(t, l)
		if n.PID != thread || n.Data.NR != unix.SYS_GETPPID || n.Data.Args[0] != 11 || n.Data.Args[2] != 33 || n.Data.IP == 0 {
			t.Errorf("notification %+v of thread %d", n, thread)
		}
		if !l.Valid(n.ID) || l.Valid(n.ID+1000) {
			t.Error("Valid: the id that waits is not, or one that was never given is")
		}
		if err := l.Respond(n.ID, c.answer); err != nil {
			t.Fatal(err)
		}
		if got := <-results; got != c.want {
			t.Errorf("%+v: the call gave %+v, want %+v", c.answer, got, c.want)
		}
		if l.Valid(n.ID) {
			t.Error("Valid after the answer")
		}
		if err := l.Respond(n.ID, c.answer); !errors.Is(err, seccomp.ErrGone) {
			t.Errorf("a second answer: %v, want ErrGone", err)
		}
	}
}

// TestNotifyServesFile: a path that does not exist is opened, and never looked up
// by the kernel; the descriptor comes from the supervisor.
func TestNotifyServesFile(t *testing.T) {
	content := make(chan string, 3)
	path := []byte("/no/such/file\x00")
	l := onThread(t, []string{"openat"}, func() {
		for range 3 {
			fd, _, e := unix.Syscall6(unix.SYS_OPENAT, ^uintptr(99), uintptr(unsafe.Pointer(&path[0])), unix.O_RDONLY, 0, 0, 0)
			if e != 0 {
				content <- e.Error()
				continue
			}
			buf := make([]byte, 64)
			n, _ := unix.Pread(int(fd), buf, 0)
			flags, _ := unix.FcntlInt(fd, unix.F_GETFD, 0)
			unix.Close(int(fd))
			content <- string(buf[:n]) + map[int]string{0: "", unix.FD_CLOEXEC: " (close-on-exec)"}[flags]
		}
	})
	memfd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(memfd)
	if _, err := unix.Write(memfd, []byte("made up")); err != nil {
		t.Fatal(err)
	}
	free, err := unix.Dup(memfd)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(free) // the number is free, and nobody in this test takes it
	for _, c := range []struct {
		d    seccomp.Descriptor
		want string
	}{
		{seccomp.Descriptor{FD: memfd, Answer: true}, "made up"},
		{seccomp.Descriptor{FD: memfd, CloseOnExec: true}, "made up (close-on-exec)"},
		{seccomp.Descriptor{FD: memfd, Replace: true, Number: free + 100}, "made up"},
	} {
		n := receive(t, l)
		m, err := l.Memory(n)
		if err != nil {
			t.Fatal(err)
		}
		s, err := m.ReadString(n.Data.Args[1], unix.PathMax)
		if err != nil || s != "/no/such/file" {
			t.Errorf("the path is %q, %v", s, err)
		}
		if _, err := m.ReadString(n.Data.Args[1], 4); err == nil || errors.Is(err, seccomp.ErrGone) {
			t.Errorf("a string longer than asked for: %v", err)
		}
		if _, err := m.ReadString(8, 100); err == nil {
			t.Error("a string at address 8 was read")
		}
		fd, err := l.AddFD(n.ID, c.d)
		if err != nil {
			t.Fatal(err)
		}
		if c.d.Replace && fd != c.d.Number {
			t.Errorf("descriptor %d, want %d", fd, c.d.Number)
		}
		if !c.d.Answer {
			if err := l.Respond(n.ID, seccomp.Response{Value: int64(fd)}); err != nil {
				t.Error(err)
			}
		}
		if got := <-content; got != c.want {
			t.Errorf("%+v: %q, want %q", c.d, got, c.want)
		}
		if _, err := m.ReadString(n.Data.Args[1], 64); !errors.Is(err, seccomp.ErrGone) {
			t.Errorf("reading after the answer: %v, want ErrGone", err)
		}
		m.Close()
	}
}

// TestNotifyGone: the id of a killed process is stale, also when its pid belongs
// to somebody else by now.
func TestNotifyGone(t *testing.T) {
	needs.Programs(t, "sleep")
	pid := make(chan int, 1)
	started := make(chan error, 1)
	l := onThread(t, []string{"nanosleep", "clock_nanosleep"}, func() {
		runtime.LockOSThread()
		// The filter is the child's, as this thread forks it.
		p, err := os.StartProcess(pathOf(t, "sleep"), []string{"sleep", "1000"}, &os.ProcAttr{})
		if err == nil {
			pid <- p.Pid
			_, err = p.Wait()
		}
		started <- err
	})
	n := receive(t, l)
	if n.PID != <-pid {
		t.Errorf("the notification is of %d", n.PID)
	}
	m, err := l.Memory(n)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := unix.Kill(n.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	if l.Valid(n.ID) {
		t.Error("the notification of a dead process is valid")
	}
	if err := l.Respond(n.ID, seccomp.Response{Continue: true}); !errors.Is(err, seccomp.ErrGone) {
		t.Errorf("Respond: %v", err)
	}
	if _, err := l.AddFD(n.ID, seccomp.Descriptor{FD: 0}); !errors.Is(err, seccomp.ErrGone) {
		t.Errorf("AddFD: %v", err)
	}
	if _, err := m.ReadAt(make([]byte, 1), 1<<20); !errors.Is(err, seccomp.ErrGone) {
		t.Errorf("ReadAt: %v", err)
	}
	n.PID = os.Getpid() // somebody else has it now
	if m, err := l.Memory(n); !errors.Is(err, seccomp.ErrGone) {
		t.Errorf("the memory of the pid's new owner was opened: %v", err)
		m.Close()
	}
	// The thread of the test, and with it the last one with the filter, ended.
	if n, err := l.Receive(); err != io.EOF {
		t.Errorf("Receive: %+v, %v, want io.EOF", n, err)
	}
}

func pathOf(t *testing.T, name string) string {
	path, err := exec.LookPath(name)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		t.Error(err)
	}
	return path
}

// TestNotifyClose: a Receive that waits ends, and the calls that wait fail.
func TestNotifyClose(t *testing.T) {
	errno := make(chan unix.Errno, 2)
	l := onThread(t, []string{"getppid"}, func() {
		for range 2 {
			_, e := getppid(0, 0, 0)
			errno <- e
		}
	})
	n := receive(t, l)
	ended := make(chan error)
	go func() {
		_, err := l.Receive()
		ended <- err
	}()
	time.Sleep(10 * time.Millisecond) // so that it waits, most of the time
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, os.ErrClosed) {
		t.Errorf("Receive: %v", err)
	}
	for range 2 {
		if e := <-errno; e != unix.ENOSYS {
			t.Errorf("a call without a listener: %v, want ENOSYS", e)
		}
	}
	if _, err := l.Receive(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Receive after Close: %v", err)
	}
	if err := l.Respond(n.ID, seccomp.Response{}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Respond after Close: %v", err)
	}
	if err := l.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Close after Close: %v", err)
	}
}

// TestNotifySupervisorKilled: the calls fail, and none hangs.
func TestNotifySupervisorKilled(t *testing.T) {
	needs.Programs(t, "sleep")
	errno := make(chan unix.Errno, 1)
	l := onThread(t, []string{"getppid"}, func() {
		_, e := getppid(0, 0, 0)
		errno <- e
	})
	holder := exec.Command("sleep", "1000")
	holder.ExtraFiles = []*os.File{seccomp.ListenerFile(l)}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	receive(t, l)
	l.Close()
	select {
	case e := <-errno:
		t.Errorf("the call ended with %v while somebody has the listener", e)
	case <-time.After(50 * time.Millisecond):
	}
	_ = holder.Process.Kill()
	_ = holder.Wait()
	select {
	case e := <-errno:
		if e != unix.ENOSYS {
			t.Errorf("%v, want ENOSYS", e)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the call hangs")
	}
}

func TestNotAListener(t *testing.T) {
	if _, err := seccomp.NewListener(-1); err == nil {
		t.Error("-1 is taken for a descriptor")
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	fd, err := unix.Dup(int(r.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := seccomp.NewListener(fd); err == nil || !strings.Contains(err.Error(), "is no listener") {
		t.Errorf("a pipe: %v", err)
	}
}
