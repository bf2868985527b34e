package inspect

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
)

// target is a process that is looked at.
type target struct {
	pid    int
	pidfd  int // -1: the kernel has none (before Linux 5.3)
	dir    int // /proc/PID
	start  uint64
	leader status
	unread []Unread
}

// open opens a process. The pidfd comes first: as long as it tells of no end, the
// number has not been used again, so what /proc showed meanwhile is the same process.
func open(pid int, start uint64) (*target, error) {
	t := &target{pid: pid, pidfd: -1, dir: -1}
	tgid, err := groupOf(pid)
	if err != nil {
		return nil, err
	}
	t.pid = tgid
	if err := t.open(); err != nil {
		t.close()
		return nil, err
	}
	if start != 0 && t.start != start {
		t.close()
		return nil, fmt.Errorf("pid %d is not the process that was meant: that one has ended, and its number was used again", pid)
	}
	return t, nil
}

// groupOf is the process that a tid belongs to.
func groupOf(pid int) (int, error) {
	if pid <= 0 {
		return 0, fmt.Errorf("%d is no pid: pids begin with 1", pid)
	}
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	switch {
	case err == nil:
		return parseStatus(string(text)).tgid, nil
	case !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ESRCH):
		return 0, fmt.Errorf("pid %d can't be looked at: %w", pid, err)
	}
	var fs unix.Statfs_t
	if unix.Statfs("/proc", &fs) != nil || fs.Type != unix.PROC_SUPER_MAGIC {
		return 0, errors.New("there is no proc file system at /proc; mount one: mount -t proc proc /proc")
	}
	if unix.Kill(pid, 0) != unix.ESRCH {
		return 0, fmt.Errorf("pid %d exists and /proc does not show it to user %d (hidepid, proc(5)); run this as root or as the user of that process", pid, os.Geteuid())
	}
	return 0, fmt.Errorf("there is no process %d; `ps -e` lists those that there are", pid)
}

func (t *target) open() (err error) {
	if t.pidfd, err = unix.PidfdOpen(t.pid, 0); err != nil && err != unix.ENOSYS && err != unix.EPERM {
		return t.gone()
	}
	if err != nil {
		t.pidfd = -1 // a seccomp filter, or Linux before 5.3: the descriptor of the directory holds alone
	}
	name := "/proc/" + strconv.Itoa(t.pid)
	if t.dir, err = unix.Open(name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return t.gone()
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(t.dir, &fs); err != nil || fs.Type != unix.PROC_SUPER_MAGIC {
		return fmt.Errorf("%s is not on a proc file system; mount one: mount -t proc proc /proc", name)
	}
	stat, err := t.read("stat")
	if err != nil {
		return t.gone()
	}
	t.start = statField(stat, 22)
	return t.alive()
}

func (t *target) close() {
	for _, fd := range [...]int{t.pidfd, t.dir} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

func (t *target) gone() error { return fmt.Errorf("process %d has ended", t.pid) }

// alive is an error when the process has ended: what was read may be of a part of it.
func (t *target) alive() error {
	if t.pidfd >= 0 {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(t.pidfd), Events: unix.POLLIN}}, 0)
		if err == nil && n > 0 {
			if s, err := t.status("status"); err == nil && s.state == "zombie" {
				return fmt.Errorf("process %d has ended; its parent, %d, has not waited for it", t.pid, s.parent)
			}
			return t.gone()
		}
		return nil
	}
	if _, err := t.read("stat"); err != nil {
		return t.gone()
	}
	return nil
}

// read reads a file below /proc/PID.
func (t *target) read(name string) (string, error) {
	fd, err := unix.Openat(t.dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	text, err := host.ReadFD(fd, host.Whole)
	return string(text), err
}

// readlink reads a symbolic link below /proc/PID.
func (t *target) readlink(name string) (string, error) {
	buf := make([]byte, 4096)
	n, err := unix.Readlinkat(t.dir, name, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// link is readlink for something that has a name for people.
func (t *target) link(name, what string) string {
	s, err := t.readlink(name)
	if err != nil && err != unix.ENOENT { // a kernel thread has no exe
		t.missed(what, err)
	}
	return s
}

// word is a file that holds one word.
func (t *target) word(name, what string) string {
	s, err := t.read(name)
	if err != nil && err != unix.ENOENT {
		t.missed(what, err)
	}
	return strings.TrimSpace(s)
}

// entries are the names in a directory below /proc/PID.
func (t *target) entries(name string) ([]string, error) {
	fd, err := unix.Openat(t.dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	d := os.NewFile(uintptr(fd), name)
	defer d.Close()
	return d.Readdirnames(-1)
}

// numbers are those names in a directory below /proc/PID that are numbers, in order.
func (t *target) numbers(name string) ([]int, error) {
	names, err := t.entries(name)
	var all []int
	for _, s := range names {
		if n, err := strconv.Atoi(s); err == nil {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all, err
}

// missed notes what could not be read.
func (t *target) missed(what string, err error) {
	cause, remedy := t.why(err)
	for i := range t.unread {
		if u := &t.unread[i]; u.Cause == cause {
			if !slices.Contains(u.What, what) {
				u.What = append(u.What, what)
			}
			return
		}
	}
	t.unread = append(t.unread, Unread{What: []string{what}, Cause: cause, Remedy: remedy})
}

// why is the cause of an error of /proc, and what to do. Most of what it refuses
// takes the right to trace the process, ptrace(2), PTRACE_MODE_READ_FSCREDS.
func (t *target) why(err error) (cause, remedy string) {
	if !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EPERM) {
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
			return "it is not there: the process or thread has just ended, or this kernel does not tell it", "ask again"
		}
		return err.Error(), "see proc(5)"
	}
	me := uint32(os.Geteuid())
	const asRoot = "run this as root, outside of any container: sudo cloche inspect …"
	l := &t.leader
	switch {
	case me == 0:
		return "the kernel refuses it to root as well (" + err.Error() + "): this shell has less capabilities than the process, is in another user namespace, or is confined itself (Landlock, a security module)",
			"run this outside of the container or sandbox that it runs in"
	case l.ids.UIDs[0] != me || l.ids.UIDs[1] != me || l.ids.UIDs[2] != me:
		return fmt.Sprintf("it takes the right to trace the process (ptrace(2)), which belongs to user %d, and this is user %d", l.ids.UIDs[0], me), asRoot
	case l.dumpable == No || l.dumpable == RootOnly:
		return "the process is not dumpable (prctl(2), PR_SET_DUMPABLE), so its files in /proc belong to root", asRoot
	}
	return "it takes the right to trace the process (ptrace(2)): that has more capabilities than this shell, lives in a user namespace that another user made, or is not dumpable, or this shell is confined (Landlock, a security module)", asRoot
}

// tick is the unit of times in /proc: sysconf(_SC_CLK_TCK), 100 on all of Cloche's architectures.
const tick = time.Second / 100

// started is when the process started, by the clock of today.
func (t *target) started() time.Time {
	var boot unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil {
		return time.Time{}
	}
	return time.Now().Add(time.Duration(t.start)*tick - time.Duration(boot.Nano())).Truncate(tick)
}

// command are the process's arguments, which it may have written over.
func (t *target) command() []string {
	s, err := t.read("cmdline")
	if err != nil {
		t.missed("its arguments", err)
		return nil
	}
	if strings.Trim(s, "\x00") == "" { // a kernel thread, or pid 1 of a sandbox, which gives its stack back
		return nil
	}
	return strings.Split(strings.TrimSuffix(s, "\x00"), "\x00")
}

// statField is a field of proc_pid_stat(5) by its number there, from 3 on. The
// command's name, in parentheses, may itself hold spaces and parentheses.
func statField(stat string, number int) uint64 {
	i := strings.LastIndexByte(stat, ')')
	n := 2
	for f := range strings.FieldsSeq(stat[i+1:]) {
		if n++; n == number {
			v, _ := strconv.ParseUint(f, 10, 64)
			return v
		}
	}
	return 0
}
