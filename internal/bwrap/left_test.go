package bwrap_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// left is what command lines may leave behind.
type left struct {
	t    *testing.T
	mu   sync.Mutex
	pids []int
	dirs []string
}

// watchForLeft looks, when the test and all of its parts have ended, whether processes are left, mounts,
// cgroups or files. Processes that lose their parent are handed to this one until then.
func watchForLeft(t *testing.T) *left {
	l := &left{t: t}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	mounts := mountinfo(t)
	t.Cleanup(func() {
		l.processes()
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0); err != nil {
			t.Error(err)
		}
		if now := mountinfo(t); now != mounts {
			t.Errorf("mounts before:\n%s\nand after:\n%s", mounts, now)
		}
		l.cgroups()
		for _, dir := range append(l.dirs, "/x", "/nope") {
			if names, err := filepath.Glob(dir + "/*"); err != nil || len(names) > 0 {
				t.Errorf("left in %s: %v, %v", dir, names, err)
			}
		}
	})
	return l
}

// directory is one for command lines to start in, which has to stay empty.
func (l *left) directory(who *syscall.Credential) string {
	dir, err := os.MkdirTemp("", "cloche-left-")
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { os.RemoveAll(dir) })
	if who != nil {
		err = os.Chown(dir, int(who.Uid), int(who.Gid))
	}
	if err != nil {
		l.t.Fatal(err)
	}
	l.dirs = append([]string{dir}, l.dirs...)
	return dir
}

// add notes a process that was started.
func (l *left) add(pid int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pids = append(l.pids, pid)
}

// mountinfo is what is mounted where the command lines mount something. Elsewhere other tests may do so.
func mountinfo(t *testing.T) string {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var ours strings.Builder
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); slices.Contains([]string{"/", "/proc", "/dev", "/tmp", "/usr", "/x", "/nope"}, f[4]) {
			ours.WriteString(line)
		}
	}
	return ours.String()
}

// processes waits for what ends, and is not content with less than all.
func (l *left) processes() {
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		_, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if err == unix.ECHILD {
			return
		}
		if time.Now().Before(end) {
			continue
		}
		children, _ := filepath.Glob("/proc/self/task/*/children")
		for _, name := range children {
			pids, _ := os.ReadFile(name)
			for pid := range strings.FieldsSeq(string(pids)) {
				stat, _ := os.ReadFile("/proc/" + pid + "/stat")
				l.t.Errorf("left: process %s", stat)
				if n, err := strconv.Atoi(pid); err == nil {
					_ = unix.Kill(n, unix.SIGKILL)
				}
			}
		}
		return
	}
}

// cgroups looks for those of the processes: their names begin with cloche and the pid.
func (l *left) cgroups() {
	_ = filepath.WalkDir("/sys/fs/cgroup", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil // it is somebody else's, and gone meanwhile
		}
		word := strings.Split(d.Name(), "-")
		if len(word) < 2 || word[0] != "cloche" {
			return nil
		}
		if pid, err := strconv.Atoi(word[1]); err == nil && slices.Contains(l.pids, pid) {
			l.t.Errorf("left: %s", name)
		}
		return nil
	})
}
