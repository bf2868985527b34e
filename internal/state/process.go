package state

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
)

// Process tells one process from all others, also from a later one with the same pid, and
// from one after a reboot.
type Process struct {
	Pid   int    `json:"pid"`
	Start uint64 `json:"start"`          // field 22 of proc_pid_stat(5), ticks since the boot
	Boot  string `json:"boot,omitempty"` // /proc/sys/kernel/random/boot_id
}

// ProcessOf names a process that lives, or is not waited for yet.
func ProcessOf(pid int) (Process, error) {
	start, ok := cgroup.StartTime(pid)
	if !ok {
		return Process{}, fmt.Errorf("process %d: %w", pid, ErrNotExist)
	}
	return Process{Pid: pid, Start: start, Boot: bootID()}, nil
}

// Open returns a pidfd of the process, pidfd_open(2), or ErrNotExist when it is gone. A
// zombie is there still.
func (p Process) Open() (pidfd int, err error) {
	if p.Pid <= 0 || p.Boot != "" && p.Boot != bootID() {
		return -1, fmt.Errorf("process %d: %w", p.Pid, ErrNotExist)
	}
	fd, err := unix.PidfdOpen(p.Pid, 0)
	if err == unix.ESRCH || err == unix.EINVAL { // EINVAL: the pid is a thread's now
		return -1, fmt.Errorf("process %d: %w", p.Pid, ErrNotExist)
	}
	if err != nil {
		return -1, fmt.Errorf("process %d: pidfd_open: %w", p.Pid, err)
	}
	// What the descriptor stands for had the pid when it was opened. If that has the start
	// time now, it is the one, as no pid is given again while a pidfd's process is a zombie;
	// if it is gone, the time is another's or nobody's.
	if start, ok := cgroup.StartTime(p.Pid); !ok || start != p.Start && !p.startedAt(start) {
		unix.Close(fd)
		return -1, fmt.Errorf("process %d: %w", p.Pid, ErrNotExist)
	}
	return fd, nil
}

// tick is the unit of Start: sysconf(_SC_CLK_TCK), 100 on all of Cloche's architectures.
const tick = time.Second / 100

// startedAt compares a start time that this process sees from a time namespace, which has
// another time since the boot, time_namespaces(7). The rounding is the kernel's.
func (p Process) startedAt(start uint64) bool {
	off := bootOffset()
	diff := time.Duration(start-p.Start)*tick - off
	return off != 0 && diff.Abs() <= tick
}

// Age is how long ago the process started, whatever became of it and of the clock since; false:
// it was in another boot.
func (p Process) Age() (time.Duration, bool) {
	var now unix.Timespec
	if p.Boot == "" || p.Boot != bootID() || unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) != nil {
		return 0, false
	}
	return max(0, time.Duration(now.Nano())-bootOffset()-time.Duration(p.Start)*tick), true
}

// bootOffset is what this process's time namespace adds to the time since the boot.
var bootOffset = sync.OnceValue(func() time.Duration {
	text, err := os.ReadFile("/proc/self/timens_offsets")
	if err != nil {
		return 0 // there are none in this kernel
	}
	for line := range strings.Lines(string(text)) {
		var sec, nsec int64
		if n, _ := fmt.Sscanf(line, "boottime %d %d", &sec, &nsec); n == 2 {
			return time.Duration(sec)*time.Second + time.Duration(nsec)
		}
	}
	return 0
})

// Alive reports whether the process has not ended: a zombie has.
func (p Process) Alive() bool {
	fd, err := p.Open()
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	// A pidfd is readable when its process has ended.
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		if err != unix.EINTR {
			return n == 0 && err == nil
		}
	}
}

// bootID is another one after each boot; "" where /proc does not tell. A program sees one.
var bootID = sync.OnceValue(func() string {
	text, err := readFile(unix.AT_FDCWD, "/proc/sys/kernel/random/boot_id", 0)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
})
