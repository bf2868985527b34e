package cgroup

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

const prefix = "cloche-"

// owner is the process that made a group, as the group's name tells it. The pid
// alone could be reused, and means nothing in another pid namespace.
type owner struct {
	pid   int
	start uint64 // field 22 of /proc/PID/stat, clock ticks since boot
	ns    uint64 // inode of the pid namespace
}

// self is the owner that this process is.
var self = sync.OnceValue(func() owner {
	o := owner{pid: os.Getpid()}
	o.start, _ = startTime("self")
	var st unix.Stat_t
	if unix.Stat("/proc/self/ns/pid", &st) == nil {
		o.ns = st.Ino
	}
	return o
})

// name is a group's name: "cloche-<pid>-<start time>-<pid namespace>-<tail>".
func (o owner) name(tail string) string {
	b := make([]byte, 0, 96)
	b = append(b, prefix...)
	b = strconv.AppendInt(b, int64(o.pid), 10)
	b = append(b, '-')
	b = strconv.AppendUint(b, o.start, 10)
	b = append(b, '-')
	b = strconv.AppendUint(b, o.ns, 36)
	b = append(b, '-')
	b = append(b, tail...)
	return string(b)
}

// groupName is a fresh name for a group of this process: random, then what a
// person called the sandbox, as far as it can stand in a file name.
func groupName(label string) string {
	tail := strconv.AppendUint(make([]byte, 0, 64), rand.Uint64(), 36)
	if label != "" {
		tail = append(tail, '-')
	}
	for i := 0; i < len(label) && i < 40; i++ {
		c := label[i]
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '.'
		if !ok {
			c = '_'
		}
		tail = append(tail, c)
	}
	return self().name(string(tail))
}

// parseName reads a group's owner; ok is false for a name of somebody else's.
// What `cloche build` makes has only a pid.
func parseName(name string) (o owner, ok bool) {
	rest, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return o, false
	}
	pid, rest, more := strings.Cut(rest, "-")
	var err error
	if o.pid, err = strconv.Atoi(pid); err != nil || o.pid <= 0 {
		return o, false
	}
	if !more {
		return o, true
	}
	start, rest, ok := strings.Cut(rest, "-")
	if !ok {
		return o, false
	}
	ns, random, ok := strings.Cut(rest, "-")
	if !ok || random == "" {
		return o, false
	}
	if o.start, err = strconv.ParseUint(start, 10, 64); err != nil {
		return o, false
	}
	if o.ns, err = strconv.ParseUint(ns, 36, 64); err != nil {
		return o, false
	}
	return o, true
}

// StartTime is when a process started, in ticks since the boot (field 22 of
// proc_pid_stat(5)): with the pid it names one process and no later one.
func StartTime(pid int) (uint64, bool) { return startTime(strconv.Itoa(pid)) }

// startTime is StartTime by a name in /proc. The command's name, in parentheses, may
// itself hold spaces and parentheses.
func startTime(pid string) (uint64, bool) {
	s, err := readFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0, false
	}
	return parseStart(s)
}

func parseStart(stat string) (uint64, bool) {
	i := strings.LastIndexByte(stat, ')')
	if i < 0 {
		return 0, false
	}
	n := 2
	for f := range strings.FieldsSeq(stat[i+1:]) {
		n++
		if n == 22 {
			v, err := strconv.ParseUint(f, 10, 64)
			return v, err == nil
		}
	}
	return 0, false
}
