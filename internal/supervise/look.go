package supervise

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
)

// Used is what the processes of a sandbox have used, without a cgroup that
// counts. A number that can't be known is cgroup.Unknown.
type Used struct {
	User, System time.Duration
	MaxRSS       int64 // bytes, of the process with the most
}

// lastLook is for a sandbox that is killed as a whole. It leaves no account: the
// kernel ends the processes in a pid namespace without anybody waiting for
// them, so wait4(2) tells of pid 1 alone. What they have used is looked up in
// /proc right before.
type lastLook struct {
	mu   sync.Mutex
	used Used
	ok   bool
}

func (l *lastLook) at(pid int) {
	used, ok := look(pid)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used, l.ok = l.used.atLeast(used), true
}

// settle corrects what wait4(2) told of the sandbox's first process, if that
// is not the whole story. Maxrss is -1 then where nobody knows.
func (l *lastLook) settle(p *Process) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case p.exited: // pid 1 has waited for the command
	case l.ok:
		u := usedBy(&p.rusage).atLeast(l.used)
		p.rusage.Utime, p.rusage.Stime = syscall.NsecToTimeval(int64(u.User)), syscall.NsecToTimeval(int64(u.System))
		p.rusage.Maxrss = u.MaxRSS >> 10
	case p.spec.Policy.Init:
		p.rusage.Maxrss = -1
	}
}

func usedBy(ru *syscall.Rusage) Used {
	if ru.Maxrss < 0 {
		return Used{cgroup.Unknown, cgroup.Unknown, cgroup.Unknown}
	}
	return Used{time.Duration(ru.Utime.Nano()), time.Duration(ru.Stime.Nano()), ru.Maxrss << 10}
}

// atLeast joins two lower bounds.
func (u Used) atLeast(v Used) Used {
	return Used{max(u.User, v.User), max(u.System, v.System), max(u.MaxRSS, v.MaxRSS)}
}

// looker adds up a tree of processes.
type looker struct {
	seen   map[int]bool
	until  time.Time
	total  Used
	listed bool // the processes below the first could be listed
}

// lookTime is how long a kill may be put off for a look at a sandbox with very many processes.
const lookTime = 20 * time.Millisecond

// tick is the unit of times in /proc: sysconf(_SC_CLK_TCK), 100 on all of Cloche's architectures.
const tick = time.Second / 100

// look adds up what pid, a child of this process, and all below it have used so
// far. Each process is read before those below it: one that is waited for meanwhile is
// missed, and none is counted twice.
func look(pid int) (Used, bool) {
	l := looker{seen: make(map[int]bool), until: time.Now().Add(lookTime)}
	if s, ok := readStat(pid); !ok || s.parent != os.Getpid() {
		return Used{}, false // this /proc is not of this pid namespace, or hides it
	}
	l.visit(pid)
	return l.total, l.listed
}

func (l *looker) visit(pid int) {
	if l.seen[pid] || time.Now().After(l.until) {
		return
	}
	l.seen[pid] = true
	s, ok := readStat(pid)
	if !ok {
		return
	}
	l.total.User += s.user
	l.total.System += s.system
	l.total.MaxRSS = max(l.total.MaxRSS, peakRSS(pid))
	dir := procDir(pid) + "/task"
	threads, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, t := range threads {
		list, err := os.ReadFile(dir + "/" + t.Name() + "/children") // CONFIG_PROC_CHILDREN
		if err != nil {
			continue
		}
		l.listed = true
		for child := range strings.FieldsSeq(string(list)) {
			if pid, err := strconv.Atoi(child); err == nil {
				l.visit(pid)
			}
		}
	}
}

func procDir(pid int) string { return "/proc/" + strconv.Itoa(pid) }

// stat is of proc_pid_stat(5): with the times of the children that were waited for.
type stat struct {
	name         string // of the program
	state        byte   // 'D': asleep in the kernel
	parent       int
	user, system time.Duration
}

func readStat(pid int) (stat, bool) { return readStatOf(procDir(pid)) }

// readStatOf reads that of a process or thread by its directory.
func readStatOf(dir string) (stat, bool) {
	text, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return stat{}, false
	}
	return parseStat(text)
}

func parseStat(text []byte) (s stat, ok bool) {
	// The name of the program, in brackets, may hold anything.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	const state, ppid, utime, stime, cutime, cstime = 3, 4, 14, 15, 16, 17
	if len(fields) <= cstime-state {
		return s, false
	}
	ok = true
	number := func(field int) int64 {
		n, err := strconv.ParseInt(fields[field-state], 10, 64)
		ok = ok && err == nil && n >= 0
		return n
	}
	if name := text[bytes.IndexByte(text, '(')+1:]; len(name) > 0 {
		s.name = string(name[:max(0, bytes.LastIndexByte(name, ')'))])
	}
	s.state = fields[0][0]
	s.parent = int(number(ppid))
	s.user = time.Duration(number(utime)+number(cutime)) * tick
	s.system = time.Duration(number(stime)+number(cstime)) * tick
	return s, ok
}

// peakRSS is the largest resident set that a process has had since it executed
// its program, in bytes; 0: a zombie has none any more.
func peakRSS(pid int) int64 {
	text, err := os.ReadFile(procDir(pid) + "/status")
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(text, []byte("\nVmHWM:"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	size, _, _ := bytes.Cut(bytes.TrimSpace(line), []byte(" "))
	kib, _ := strconv.ParseInt(string(size), 10, 64)
	return kib << 10
}
