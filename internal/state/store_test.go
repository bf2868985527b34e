package state

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/needs"
)

func open(t *testing.T) *Store {
	t.Helper()
	s, err := OpenStore(filepath.Join(t.TempDir(), "a", "store"), true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestEntries(t *testing.T) {
	s := open(t)
	if _, err := OpenStore(s.Path()+"x", false); !errors.Is(err, ErrNotExist) {
		t.Errorf("a store that is not there: %v", err)
	}
	if _, err := s.Open("web"); !errors.Is(err, ErrNotExist) {
		t.Errorf("an entry that is not there: %v", err)
	}
	e, err := s.Create("web")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create("web"); !errors.Is(err, ErrExists) {
		t.Errorf("made twice: %v", err)
	}
	if held, err := s.TryLock("web"); held != nil || err != nil {
		t.Errorf("locked twice: %v, %v", held, err)
	}
	if _, err := e.Read("state"); !errors.Is(err, ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	for _, text := range []string{"one", "two, longer"} {
		if err := e.Write("state", []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := e.Read("state"); string(got) != text || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	if err := os.Mkdir(e.Path("more"), 0o700); err != nil {
		t.Fatal(err)
	}
	if names, err := s.Names(); !slices.Equal(names, []string{"web"}) || err != nil {
		t.Errorf("%v, %v", names, err)
	}
	reader, err := s.Open("web")
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if err := e.Remove(); err != nil {
		t.Fatal(err)
	}
	e.Close()
	if _, err := reader.Read("state"); !errors.Is(err, ErrNotExist) {
		t.Errorf("read of a removed entry: %v", err)
	}
	if _, err := s.Lock("web"); !errors.Is(err, ErrNotExist) {
		t.Errorf("lock of a removed entry: %v", err)
	}
}

func TestNames(t *testing.T) {
	s := open(t)
	for _, name := range []string{"", ".", "..", "a/b", "../x", "/", "a\x00b", "a\nb", strings.Repeat("a", 256)} {
		if _, err := s.Create(name); err == nil {
			t.Errorf("%q was made", name)
		}
		if _, err := s.Open(name); err == nil || errors.Is(err, ErrNotExist) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if names, _ := s.Names(); len(names) != 0 {
		t.Errorf("left: %q", names)
	}
}

// TestForeign: what others could have put there is refused and not followed.
func TestForeign(t *testing.T) {
	s := open(t)
	elsewhere := t.TempDir()
	if err := os.WriteFile(filepath.Join(elsewhere, "state"), []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(s.Path(), name) }
	e, err := s.Create("own")
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for _, err := range []error{
		os.Symlink(elsewhere, at("link")), os.WriteFile(at("file"), nil, 0o600), os.Mkdir(at("open"), 0o700), os.Chmod(at("open"), 0o777),
		os.Symlink(filepath.Join(elsewhere, "state"), e.Path("state")), unix.Mkfifo(e.Path("fifo"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"link": "not followed", "file": "not followed", "open": "written to by others"} {
		if _, err := s.Lock(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := e.Read("state"); err == nil {
		t.Errorf("read through a link: %q", got)
	}
	if _, err := e.Read("fifo"); err != nil {
		t.Errorf("a fifo without a writer: %v", err) // and did not wait
	}
	if err := e.Write("state", []byte("mine")); err != nil {
		t.Error(err)
	}
	if got, _ := os.ReadFile(filepath.Join(elsewhere, "state")); string(got) != "theirs" {
		t.Errorf("written through a link: %q", got)
	}
	if err := os.Symlink(elsewhere, s.Path()+"-link"); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenStore(s.Path()+"-link", true); err == nil || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("a store that is a link: %v", err)
	}
	if err := os.Chmod(s.Path(), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenStore(s.Path(), true); err == nil || !strings.Contains(err.Error(), "written to by others") {
		t.Errorf("a store that all may write to: %v", err)
	}
	if os.Geteuid() == 0 {
		if err := errors.Join(os.Chmod(s.Path(), 0o700), os.Chown(s.Path(), 1, 1)); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenStore(s.Path(), true); err == nil || !strings.Contains(err.Error(), "belongs to user 1") {
			t.Errorf("somebody else's: %v", err)
		}
	}
}

// TestAtOnce: many make, write, read and remove the same few names; a reader never
// sees half of a file, and nobody holds what another holds.
func TestAtOnce(t *testing.T) {
	s := open(t)
	var holders [3]atomic.Int32
	var done sync.WaitGroup
	for w := range 8 {
		done.Go(func() {
			for i := range 200 {
				n := (w + i) % len(holders)
				name := fmt.Sprint("n", n)
				e, err := s.Create(name)
				if errors.Is(err, ErrExists) {
					e, err = s.Lock(name)
				}
				if errors.Is(err, ErrNotExist) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if holders[n].Add(1) != 1 {
					t.Error("held twice")
				}
				if err := e.Write("state", bytes.Repeat([]byte{byte('a' + w)}, 5000)); err != nil {
					t.Error(err)
				}
				if r, err := s.Open(name); err != nil {
					t.Error(err)
				} else {
					if b, err := r.Read("state"); err != nil || len(b) != 5000 || b[0] != b[4999] {
						t.Errorf("%d bytes, %v", len(b), err)
					}
					r.Close()
				}
				holders[n].Add(-1)
				if i%3 == 0 {
					if err := e.Remove(); err != nil {
						t.Error(err)
					}
				}
				e.Close()
			}
		})
	}
	done.Wait()
}

const fullVariable = "CLOCHE_TEST_STATE_FULL"

// TestFullDisk: what was there stays as it was.
func TestFullDisk(t *testing.T) {
	dir := os.Getenv(fullVariable)
	if dir == "" {
		cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run", "^TestFullDisk$")
		cmd.Env = append(os.Environ(), fullVariable+"="+t.TempDir())
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
		out, err := cmd.CombinedOutput()
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) {
			needs.Skip(t, "needs user namespaces: "+err.Error())
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=64k,mode=0700"); err != nil {
		t.Fatal(err)
	}
	s, err := OpenStore(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	e, err := s.Create("web")
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Write("state", []byte("before")); err != nil {
		t.Fatal(err)
	}
	err = e.Write("state", make([]byte, 1<<20))
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "make room") {
		t.Errorf("a full disk: %v", err)
	}
	if got, err := e.Read("state"); string(got) != "before" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if names, _ := filepath.Glob(e.Path(".*")); len(names) != 0 {
		t.Errorf("left: %q", names)
	}
}

func TestProcess(t *testing.T) {
	cmd := exec.Command("sleep", "100")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := ProcessOf(cmd.Process.Pid)
	if err != nil || p.Boot == "" || !p.Alive() {
		t.Errorf("%+v, %v", p, err)
	}
	for _, other := range []Process{{Pid: p.Pid, Start: p.Start + 1, Boot: p.Boot}, {Pid: p.Pid, Start: p.Start, Boot: "another"}, {}} {
		if _, err := other.Open(); !errors.Is(err, ErrNotExist) || other.Alive() {
			t.Errorf("%+v is taken for %+v: %v", p, other, err)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PID, p.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	if p.Alive() {
		t.Error("a zombie lives")
	}
	if fd, err := p.Open(); err != nil {
		t.Errorf("a zombie: %v", err)
	} else {
		unix.Close(fd)
	}
	_ = cmd.Wait()
	if _, err := p.Open(); !errors.Is(err, ErrNotExist) {
		t.Errorf("gone: %v", err)
	}
}
