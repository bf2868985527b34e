package sandbox

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// oneConfine lets no two calls count each other's filters.
var oneConfine sync.Mutex

// Confine confines the calling program itself, for good and on every thread:
// no_new_privs, the capabilities that the policy grants and no other, resource
// limits, a seccomp filter and Landlock. An error that comes from a later step
// than looking at the policy says that the program may be confined in part, and
// should end.
//
// Files. The policy's Mounts are read as what may be read and written of the
// host's files. Landlock grants whole hierarchies, so a directory that holds a
// hidden name is granted entry by entry: it can't be listed, and names that are
// made in it later can't be read. In one that is writable and holds a read-only
// name, the same goes for new names: none can be made right in it. What a sandbox
// would have of its own (a tmpfs, an overlay, a file, a link) does not exist: the
// host's in its place can be neither read nor written. dev is null, zero, full,
// random, urandom and tty. proc is the program's own directory, and of the rest,
// unless subset is "pid", what programs look at (cpuinfo, meminfo, sys and the
// like, to read); a dozen O_PATH descriptors stay open for that, and a child
// can't read its own /proc/self.
//
// Landlock does not stand between a program and a file's mode, owner, times and
// attributes, nor sockets with a path, nor inotify(7). The filter does: it refuses
// chmod(2), chown(2), utimensat(2), setxattr(2) and their kin everywhere, watches,
// and connections to other programs' UNIX sockets. Not so where the policy makes
// all of / writable. What stat(2) tells of a hidden name stays visible.
//
// Network. Without one (none, private) the filter refuses every socket but UNIX
// stream and seqpacket sockets, and connect(2): private has no loopback here.
//
// What is open already stays the caller's: files, directories, sockets of any
// kind, io_uring instances, memory maps. Close what the program is not to use.
//
// Signals reach the program and its children alone, where the kernel can tell them
// apart (Linux 6.15, or 6.12 with its fixes: Landlock's ABI 6 and erratum 2). Before
// ABI 8 each thread has a Landlock domain of its own, so that a child can be
// signalled by the thread that started it alone: start and end one in a goroutine
// that has called runtime.LockOSThread.
//
// Not applied, as it needs a new process: namespaces (other processes of the same
// user have their priorities and rlimits within reach; System V IPC and message
// queues are refused by the filter instead), hostname, cwd, init, the environment,
// a terminal, show-command, limits that are where-available, and the rlimit nproc
// of a policy with a user namespace, where it would count that namespace's
// processes alone. Refused are policies that rely on more: required
// limits, time and output limits, other ids, a terminal or a keyring asked for by
// name, capabilities of a user namespace, binds to another place, the filter
// "strict", under which no Go program can live, and files that nothing could
// protect, for want of Landlock. Programs that use cgo can't be confined.
func Confine(p *policy.Policy) error {
	oneConfine.Lock()
	defer oneConfine.Unlock()
	q, _, err := resolve(p, nil, os.Environ(), "")
	if err != nil {
		return err
	}
	facts, err := host.Quick()
	if err != nil {
		return err
	}
	c := confinement{p: q, abi: facts.LandlockABI, kernel: facts.KernelVersion()}
	if err := c.prepare(); err != nil {
		return fmt.Errorf("sandbox: confine: %w", err)
	}
	defer c.close()
	if err := c.apply(); err != nil {
		return fmt.Errorf("sandbox: confine: %w; the program may be confined in part: end it", err)
	}
	return nil
}

// confinement is one call of Confine.
type confinement struct {
	p      *policy.Policy
	abi    int // of Landlock; 0: none
	kernel [2]int
	open   bool   // no file is protected
	keep   uint64 // capabilities

	files  *ruleset // nil: no Landlock
	filter []unix.SockFilter
	before threads
}

// prepare does all that can fail for the policy's sake. It changes nothing.
func (c *confinement) prepare() error {
	c.open = allFilesWritable(c.p)
	if err := c.refuse(); err != nil {
		return err
	}
	var err error
	if c.before, err = lookAtThreads(); err != nil {
		return err
	}
	if err := c.checkBefore(); err != nil {
		return err
	}
	if c.filter, err = c.compile(runtime.GOARCH); err != nil {
		return err
	}
	if c.p.Landlock != policy.LandlockOff && c.abi > 0 {
		if c.files, err = newRuleset(c.p, c.abi); err != nil {
			return err
		}
	}
	return nil
}

func (c *confinement) close() {
	if c.files != nil {
		unix.Close(c.files.fd)
	}
}

// apply confines. Landlock comes last: with it /proc/self/task may be out of
// reach, and every thread's status has to be read after all the rest. (The filters
// that prepare lets pass allow landlock_restrict_self.)
//
// A thread's Landlock domain shows nowhere in /proc. That every thread has it is
// known otherwise, see restrict.
func (c *confinement) apply() error {
	if err := c.rlimits(); err != nil {
		return err
	}
	if err := onAllThreads("no_new_privs", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0); err != nil {
		return err
	}
	if err := c.dropCapabilities(); err != nil {
		return err
	}
	want := c.wanted()
	if len(c.filter) > 0 {
		// TSYNC gives all threads the filters of the one that calls: it is the
		// one whose filters are counted before.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		own, err := readThread("/proc/thread-self/status")
		if err != nil {
			return err
		}
		want.filters = own.filters + 1
		if err := seccomp.LoadAllThreads(c.filter); err != nil {
			return err
		}
	}
	if err := want.proveAll(); err != nil {
		return err
	}
	if c.files == nil {
		return nil
	}
	return c.files.restrict(c.abi)
}

// onAllThreads makes a call on every thread, with the same result or not at all.
func onAllThreads(what string, call, a1, a2, a3 uintptr) error {
	return allThreadsError(what, errno3(syscall.AllThreadsSyscall6(call, a1, a2, a3, 0, 0, 0)))
}

func errno3(_, _ uintptr, e syscall.Errno) syscall.Errno { return e }

func allThreadsError(what string, e syscall.Errno) error {
	switch e {
	case 0:
		return nil
	case syscall.ENOTSUP:
		return errors.New("a program that uses cgo can't act on all of its threads; build it with CGO_ENABLED=0, or confine a child with sandbox.Command")
	}
	return fmt.Errorf("%s: %w", what, e)
}

// rlimits sets the policy's resource limits, which belong to the process.
func (c *confinement) rlimits() error {
	for _, name := range policy.RlimitNames() {
		l, ok := c.p.Rlimits[name]
		if !ok || name == "nproc" && c.p.Unshare.User {
			continue
		}
		// syscall's, not unix's prlimit: os/exec gives children the limit of open
		// files that the program was started with, unless it is set so.
		if err := syscall.Setrlimit(rlimitNumbers[name], &syscall.Rlimit{Cur: l.Soft, Max: l.Hard}); err != nil {
			return fmt.Errorf("%s: setrlimit %s: %w; ask for no more than the hard limit that the program has", c.setting("rlimits."+name), strings.ToUpper(name), err)
		}
	}
	return nil
}

var rlimitNumbers = map[string]int{
	"as": unix.RLIMIT_AS, "core": unix.RLIMIT_CORE, "cpu": unix.RLIMIT_CPU, "data": unix.RLIMIT_DATA,
	"fsize": unix.RLIMIT_FSIZE, "locks": unix.RLIMIT_LOCKS, "memlock": unix.RLIMIT_MEMLOCK,
	"msgqueue": unix.RLIMIT_MSGQUEUE, "nice": unix.RLIMIT_NICE, "nofile": unix.RLIMIT_NOFILE,
	"nproc": unix.RLIMIT_NPROC, "rss": unix.RLIMIT_RSS, "rtprio": unix.RLIMIT_RTPRIO,
	"rttime": unix.RLIMIT_RTTIME, "sigpending": unix.RLIMIT_SIGPENDING, "stack": unix.RLIMIT_STACK,
}
