package attack

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// prctl(2) changes the caller alone. What it could take back, or pretend, it refuses.

var kernelItself = &Layer{Name: "the kernel itself"}

var newPrivilegesAgain = Attack{
	Name: "no-new-privs-reset", Group: "credentials", Reference: "PR_SET_NO_NEW_PRIVS(2const)",
	Tries:   "let programs give privileges again",
	Stops:   []Stop{{kernelItself, "EINVAL"}},
	Unshown: "the kernel has no way back from no_new_privs",
	Inside: func(*Inside) error {
		_, err := Call(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0)
		return err
	},
}

// A core file of such a process is root's, in whatever directory it is in: a way to
// write a file of cron's (CVE-2006-2451).
var dumpableAsRoot = Attack{
	Name: "dumpable-as-root", Group: "credentials", Reference: "PR_SET_DUMPABLE(2const), CVE-2006-2451",
	Tries:   "have one's core file be written as root",
	Stops:   []Stop{{kernelItself, "EINVAL"}},
	Unshown: "Linux 2.6.18 and newer refuse the value 2",
	Inside: func(*Inside) error {
		_, err := Call(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 2, 0, 0, 0)
		return err
	},
}

// The places that /proc/PID/cmdline and environ are read from: a process that looks like
// another to whoever watches it.
var anotherName = Attack{
	Name: "set-mm", Group: "credentials", Reference: "PR_SET_MM(2const)",
	Tries: "move where the process's arguments are read from, to look like another program",
	Stops: []Stop{{UserNamespace, "EPERM"}, {Capabilities, "EPERM"}},
	Needs: func() string {
		if !has(unix.CAP_SYS_RESOURCE) {
			return "who has no CAP_SYS_RESOURCE may not do it in any case"
		}
		return ""
	},
	Inside: func(*Inside) error {
		b, err := os.ReadFile("/proc/self/stat")
		if err != nil {
			return Failed(err)
		}
		f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		start, err := strconv.ParseUint(f[45], 10, 64) // arg_start is the 48th
		if err != nil {
			return Failed(err)
		}
		_, err = Call(unix.SYS_PRCTL, unix.PR_SET_MM, unix.PR_SET_MM_ARG_START, uintptr(start+1), 0, 0)
		return err
	},
}

// With Yama a process names who may trace it. Without it there is nobody to name: it
// gives rights over the caller alone.
var anyTracer = Attack{
	Name: "set-ptracer", Group: "ptrace", Reference: "PR_SET_PTRACER(2const)",
	Tries: "seize a process outside after declaring that anybody may trace",
	Stops: traceStops,
	Needs: func() string {
		if b, err := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope"); err == nil && b[0] != '0' {
			return "Yama keeps a process from tracing what is no child of its own, also outside"
		}
		return ""
	},
	Outside: withVictim,
	Inside: func(in *Inside) error {
		_ = unix.Prctl(unix.PR_SET_PTRACER, ^uintptr(0), 0, 0, 0) // EINVAL where there is no Yama
		return in.trace(unix.PTRACE_SEIZE)
	},
}
