package launcher

import (
	"encoding/binary"
	"path"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

// FakeKernel is a Kernel that lets everything succeed, plausibly, and notes
// what was asked of it. A forked process runs to its end before its parent goes
// on, so that a whole sandbox lives and dies within one Simulate. The zero value
// is ready to use; the functions may be nil.
type FakeKernel struct {
	// Trace is every system call in the order of their beginnings.
	Trace []Event

	// Answer comes before everything else: ok false leaves the call to the fake.
	Answer func(p *Process, c plan.Call, args [6]uint64) (result int64, ok bool)
	// Stat is what statx(2) says of a path; nil: a directory. The error is an
	// errno below zero.
	Stat func(path string) (FakeStat, int64)
	// Content is what reading a file gives; nil: nothing.
	Content func(path string) []byte
	// Executable tells whether a path can be executed; nil: every path can.
	Executable func(path string) bool
	// ExitStatus is the exit status of the programs that are executed.
	ExitStatus int

	procs   map[*Process]*fakeProc
	lastPid int
}

// Event is one system call.
type Event struct {
	Process *Process
	Op      int // index in the image
	Call    plan.Call
	Args    [6]uint64
	Strings [6]string // paths and names that arguments pointed at, as they were then
	Data    []byte    // what write(2) wrote
	Result  int64     // 0 as long as the call lasts, and for ever when it does not return
}

// FakeStat is a part of a struct statx.
type FakeStat struct {
	Mode                                   uint16
	Uid, Gid                               uint32
	Ino, Size, MntID                       uint64
	RdevMajor, RdevMinor, DevMajor, DevMin uint32
}

// fakeProc is what the fake knows of one process.
type fakeProc struct {
	files    map[int32]fakeFile
	next     int32
	children []*Process // ended, and nobody waited for them
	nsPid    int
}

type fakeFile struct {
	path   string
	signal bool    // a signalfd
	pipe   *[]byte // what was written to a pipe and not yet read
	off    int
}

func (k *FakeKernel) proc(p *Process) *fakeProc {
	if k.procs == nil {
		k.procs = make(map[*Process]*fakeProc)
		k.lastPid = p.Pid
	}
	s := k.procs[p]
	if s == nil {
		s = &fakeProc{files: make(map[int32]fakeFile), next: 3, nsPid: p.Pid}
		k.procs[p] = s
	}
	return s
}

func (s *fakeProc) open(f fakeFile) int64 {
	for _, taken := s.files[s.next]; taken; _, taken = s.files[s.next] {
		s.next++
	}
	fd := s.next
	s.next++
	s.files[fd] = f
	return int64(fd)
}

// in is the path of name as seen from a directory's descriptor.
func (s *fakeProc) in(dirfd uint64, name string) string {
	if path.IsAbs(name) {
		return name
	}
	return path.Join(s.files[int32(dirfd)].path, name)
}

// Syscall implements Kernel.
func (k *FakeKernel) Syscall(p *Process, c plan.Call, args [6]uint64) int64 {
	at := len(k.Trace)
	k.Trace = append(k.Trace, Event{Process: p, Op: p.Op(), Call: c, Args: args})
	for i, a := range args {
		if stringArgs(c)&(1<<i) != 0 && a != 0 {
			s, err := p.Mem.String(a)
			if err != nil {
				k.Trace[at].Result = -int64(unix.EFAULT)
				return -int64(unix.EFAULT)
			}
			k.Trace[at].Strings[i] = s
		}
	}
	if c == plan.SysWrite {
		b, err := p.Mem.Read(args[1], int(min(args[2], maxImage)))
		if err != nil {
			k.Trace[at].Result = -int64(unix.EFAULT)
			return -int64(unix.EFAULT)
		}
		k.Trace[at].Data = b
		p.sim.steps -= len(b) / pageSize
	}
	ev := k.Trace[at]
	result, ok := int64(0), false
	if k.Answer != nil {
		result, ok = k.Answer(p, c, args)
	}
	if !ok {
		result = k.answer(p, k.proc(p), &ev)
	}
	k.Trace[at].Result = result
	return result
}

// Written is what all processes wrote to fd.
func (k *FakeKernel) Written(fd int) []byte {
	var all []byte
	for _, e := range k.Trace {
		if e.Call == plan.SysWrite && int32(e.Args[0]) == int32(fd) && e.Result > 0 {
			all = append(all, e.Data[:min(int(e.Result), len(e.Data))]...)
		}
	}
	return all
}

// Before is the calls that p made or inherited up to, not including, Trace[i]:
// its own and those that its ancestors made before they forked it.
func (k *FakeKernel) Before(i int) []Event {
	p := k.Trace[i].Process
	var rev []Event
	for i--; i >= 0; i-- {
		e := k.Trace[i]
		if e.Process == p.Parent && (e.Call == plan.SysClone || e.Call == plan.SysClone3) && !k.has(p, i) {
			p = p.Parent
		}
		if e.Process == p {
			rev = append(rev, e)
		}
	}
	for l, r := 0, len(rev)-1; l < r; l, r = l+1, r-1 {
		rev[l], rev[r] = rev[r], rev[l]
	}
	return rev
}

// has reports whether p made a call before Trace[i].
func (k *FakeKernel) has(p *Process, i int) bool {
	for _, e := range k.Trace[:i] {
		if e.Process == p {
			return true
		}
	}
	return false
}

// stringArgs is the arguments of c that point at strings, one bit for each.
func stringArgs(c plan.Call) uint {
	switch c {
	case plan.SysOpenat, plan.SysOpenat2, plan.SysStatx, plan.SysMkdirat, plan.SysMknodat, plan.SysUnlinkat,
		plan.SysFchmodat, plan.SysOpenTree, plan.SysMountSetattr, plan.SysExecveat:
		return 1 << 1
	case plan.SysMoveMount:
		return 1<<1 | 1<<3
	case plan.SysSymlinkat:
		return 1<<0 | 1<<2
	case plan.SysMount:
		return 1<<0 | 1<<1 | 1<<2
	case plan.SysPivotRoot:
		return 1<<0 | 1<<1
	case plan.SysChdir, plan.SysChroot, plan.SysUmount2, plan.SysFsopen, plan.SysExecve, plan.SysSethostname:
		return 1 << 0
	case plan.SysFsconfig:
		return 1 << 2
	}
	return 0
}

// answer lets the calls succeed that need no more than a number; the others
// are in fakeanswer.go.
func (k *FakeKernel) answer(p *Process, s *fakeProc, e *Event) int64 {
	args := e.Args
	switch e.Call {
	case plan.SysOpenat, plan.SysOpenat2, plan.SysOpenTree:
		return s.open(fakeFile{path: s.in(args[0], e.Strings[1])})
	case plan.SysFsopen:
		return s.open(fakeFile{path: e.Strings[0]})
	case plan.SysFsmount:
		return s.open(fakeFile{path: s.files[int32(args[0])].path})
	case plan.SysSignalfd4:
		if int32(args[0]) >= 0 {
			return int64(int32(args[0]))
		}
		return s.open(fakeFile{signal: true})
	case plan.SysSocket, plan.SysPidfdOpen, plan.SysTimerfdCreate:
		return s.open(fakeFile{})
	case plan.SysLandlockCreateRuleset:
		if args[2]&1 != 0 { // LANDLOCK_CREATE_RULESET_VERSION
			return 6
		}
		return s.open(fakeFile{})
	case plan.SysSeccomp:
		if args[0] == unix.SECCOMP_SET_MODE_FILTER && args[1]&unix.SECCOMP_FILTER_FLAG_NEW_LISTENER != 0 {
			return s.open(fakeFile{})
		}
		return 0
	case plan.SysMemfdCreate:
		return s.open(fakeFile{path: "/memfd:cloche"})
	case plan.SysDup3:
		s.files[int32(args[1])] = s.files[int32(args[0])]
		return int64(args[1])
	case plan.SysFcntl:
		if args[1] == unix.F_DUPFD || args[1] == unix.F_DUPFD_CLOEXEC {
			s.next = max(s.next, int32(min(args[2], 1<<20)))
			return s.open(s.files[int32(args[0])])
		}
		return 0
	case plan.SysClose:
		delete(s.files, int32(args[0]))
		return 0
	case plan.SysGetpid, plan.SysGettid:
		return int64(s.nsPid)
	case plan.SysGetppid:
		if s.nsPid == 1 || p.Parent == nil {
			return 0
		}
		return int64(k.proc(p.Parent).nsPid)
	case plan.SysSetsid:
		return int64(s.nsPid)
	case plan.SysUmask:
		return 0o22
	case plan.SysKeyctl:
		return 1
	case plan.SysExitGroup:
		k.end(p, int(args[0]&0xff))
		return 0
	case plan.SysExecve, plan.SysExecveat:
		file := e.Strings[0]
		if e.Call == plan.SysExecveat {
			file = s.in(args[0], e.Strings[1])
		}
		if k.Executable != nil && !k.Executable(file) {
			return -int64(unix.ENOENT)
		}
		p.Exec = file
		k.end(p, k.ExitStatus)
		return 0
	}
	return k.answerWithMemory(p, s, e)
}

// end makes p a zombie of its parent.
func (k *FakeKernel) end(p *Process, status int) {
	p.End(status)
	waiter := p.Parent
	if p.sibling && waiter != nil {
		waiter = waiter.Parent
	}
	if waiter != nil {
		parent := k.proc(waiter)
		parent.children = append(parent.children, p)
	}
}

func le32(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n) }
