package supervise

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A process asleep in the kernel (state D of proc_pid_stat(5)) is not there to die:
// it waits for a server of FUSE or NFS, or for a disk, and gets its SIGKILL when that
// answers. Pid 1 can't end before it, and whoever waits for pid 1 waits as well. So
// a sandbox that was to end is looked at from time to time; where the same process
// sleeps on, the caller is told, and the rest is done when it wakes.

// AsleepError is a sandbox that could not be ended: processes of it sleep in the kernel.
// They hold what they have open, and the sandbox's cgroup stays as long as they do.
type AsleepError struct {
	Processes []string // such as "pid 123 (cat, in request_wait_answer)"
}

func (e *AsleepError) Error() string {
	return strings.Join(e.Processes, ", ") + ": asleep in the kernel, where SIGKILL does not reach; " +
		"a file system whose server does not answer (FUSE, NFS) does that: it ends when that answers or is unmounted, and the rest of the sandbox with it"
}

// betweenLooks is the time from one look at what does not end to the next.
const betweenLooks = 2 * time.Second

// reapPatiently waits for pid 1 until it has ended or can't.
func (p *Process) reapPatiently(pid int) (syscall.WaitStatus, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return p.reap(pid), nil
	}
	defer unix.Close(fd)
	var before []string
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(betweenLooks/time.Millisecond))
		switch {
		case err == unix.EINTR:
			continue
		case n != 0 || err != nil:
			return p.reap(pid), nil
		case !p.killed() && !p.spec.Policy.Init: // the command as pid 1 closes its records when it begins
			continue
		case p.quiet && p.awaitHangUp(fd):
			continue
		}
		now := asleepBelow(pid)
		still := slices.DeleteFunc(slices.Clone(now), func(s string) bool { return !slices.Contains(before, s) })
		if len(still) > 0 {
			go p.endLater(pid)
			var ws syscall.WaitStatus
			if p.killed() {
				ws = syscall.WaitStatus(syscall.SIGKILL)
			}
			return ws, &AsleepError{Processes: still}
		}
		before = now
	}
}

// killed reports whether pid 1 was killed.
func (p *Process) killed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended != ""
}

// endLater takes away what can't be taken away yet.
func (p *Process) endLater(pid int) {
	p.reap(pid)
	if p.group != nil {
		_ = p.group.Remove()
	}
}

// asleepBelow are the processes below pid of which a thread sleeps in the kernel.
func asleepBelow(pid int) (asleep []string) {
	parents := map[int]int{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		if n, err := strconv.Atoi(filepath.Base(dir)); err == nil {
			s, _ := readStatOf(dir)
			parents[n] = s.parent
		}
	}
	for child := range parents {
		up := parents[child]
		for up > 1 && up != pid {
			up = parents[up]
		}
		if up != pid {
			continue
		}
		threads, _ := filepath.Glob(procDir(child) + "/task/*")
		for _, thread := range threads {
			s, ok := readStatOf(thread)
			if !ok || s.state != 'D' {
				continue
			}
			what := strings.Trim(strconv.QuoteToASCII(s.name), `"`)
			where, _ := os.ReadFile(thread + "/wchan")
			if w := strings.TrimSpace(string(where)); w != "" && w != "0" {
				what += ", in " + w
			}
			asleep = append(asleep, fmt.Sprintf("pid %d (%s)", child, what))
			break
		}
	}
	slices.Sort(asleep)
	return asleep
}
