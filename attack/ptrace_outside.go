package attack

import (
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// Whoever traces a process makes it do anything: what it may read, call and signal
// is then the tracer's. ptrace(2)'s access check asks for the same user, a process that
// is dumpable, and capabilities over the user namespace of who has more of them.

// traceStops are the layers that refuse the check, each by itself.
var traceStops = []Stop{{PIDNamespace, "ESRCH"}, {Seccomp, "EPERM"}, {UserNamespace, "EPERM"}, {Landlock, "EPERM"}}

var ptraceAttach = Attack{
	Name: "ptrace-attach", Group: "ptrace", Reference: "ptrace(2) PTRACE_ATTACH",
	Tries:   "attach to a process outside, of the same user",
	Stops:   traceStops,
	Outside: withVictim,
	Inside:  func(in *Inside) error { return in.trace(unix.PTRACE_ATTACH) },
}

var ptraceSeize = Attack{
	Name: "ptrace-seize", Group: "ptrace", Reference: "ptrace(2) PTRACE_SEIZE",
	Tries:   "seize a process outside without stopping it, to make it call for us",
	Stops:   traceStops,
	Outside: withVictim,
	Inside:  func(in *Inside) error { return in.trace(unix.PTRACE_SEIZE) },
}

// The process that started the sandbox has the most to tell, and can make others.
var ptraceSupervisor = Attack{
	Name: "ptrace-supervisor", Group: "ptrace", Reference: "ptrace(2) PTRACE_SEIZE, CVE-2026-41163",
	Tries:   "seize the process that started the sandbox",
	Stops:   append([]Stop{{Capabilities, "EPERM"}}, traceStops...),
	Outside: func(o *Outside) error { o.TellInt("pid", os.Getpid()); return nil },
	Inside:  func(in *Inside) error { return in.trace(unix.PTRACE_SEIZE) },
}

// trace attaches, and lets go at once: the access check is what an attack needs.
func (in *Inside) trace(request uintptr) error {
	runtime.LockOSThread() // the tracer is a thread
	pid := uintptr(in.Int("pid"))
	if _, err := Call(unix.SYS_PTRACE, request, pid, 0, 0); err != nil {
		return err
	}
	if request == unix.PTRACE_ATTACH {
		_, _ = unix.Wait4(int(pid), nil, unix.WALL, nil)
		_, _ = Call(unix.SYS_PTRACE, unix.PTRACE_DETACH, pid, 0, 0)
	}
	return nil // a seized process is let go when the attacker ends
}

var memoryFileOutside = Attack{
	Name: "proc-pid-mem", Group: "ptrace", Reference: "proc_pid_mem(5)",
	Tries:   "read the memory of a process outside through /proc/PID/mem",
	Stops:   []Stop{{PIDNamespace, "ENOENT"}, {UserNamespace, "EACCES"}, {Landlock, "EACCES"}},
	Outside: withVictim,
	Inside: func(in *Inside) error {
		f, err := os.Open("/proc/" + strconv.Itoa(in.Int("pid")) + "/mem")
		if err != nil {
			return Failed(err)
		}
		defer f.Close()
		buf := make([]byte, 64)
		n, err := f.ReadAt(buf, int64(in.Int("address")))
		if n == 0 && err != nil {
			return Failed(err)
		}
		in.Take(buf[:n])
		return nil
	},
}

// pidfd_getfd(2) duplicates a descriptor out of another process. The victim holds its
// file open; the pidfd was handed in.
var pidfdGetfd = Attack{
	Name: "pidfd-getfd", Group: "ptrace", Reference: "pidfd_getfd(2)",
	Tries:   "take an open file out of a process outside",
	Stops:   []Stop{{Seccomp, "EPERM"}, {UserNamespace, "EPERM"}, {Landlock, "EPERM"}},
	Outside: withPidfd,
	Inside: func(in *Inside) error {
		var last error
		for n := uintptr(3); n < 20; n++ { // which number it has, nobody knows
			fd, err := Call(unix.SYS_PIDFD_GETFD, 3, n, 0)
			if err != nil {
				if last = err; Reached(err, "EBADF") == nil {
					continue
				}
				return err
			}
			buf := make([]byte, 64)
			if k, err := unix.Pread(int(fd), buf, 0); err == nil && k > 0 {
				in.Take(buf[:k])
				return nil
			}
		}
		return last
	},
}
