package attack

import (
	"os"

	"golang.org/x/sys/unix"
)

// What the kernel tells of the whole machine, and of everybody on it.

var (
	procKeys      = hiddenFile("proc-keys", "/proc/keys", "proc_keys(5)", "read the list of keys")
	procTimerList = hiddenFile("proc-timer-list", "/proc/timer_list", "proc_timer_list(5)", "read which timers of which processes are pending")
)

var maskedProc = &Layer{Name: "masked parts of /proc", Step: "hide what /proc tells of the machine"}

func hiddenFile(name, path, reference, tries string) Attack {
	return Attack{
		Name: name, Group: "knowledge", Reference: reference, Tries: tries,
		Stops: []Stop{{maskedProc, "EACCES"}},
		Needs: func() string {
			if b, err := os.ReadFile(path); err != nil || len(b) == 0 {
				return "this machine has no " + path + ", or tells this user nothing there"
			}
			return ""
		},
		Inside: func(*Inside) error {
			b, err := os.ReadFile(path)
			if err != nil {
				return Failed(err)
			}
			if len(b) == 0 {
				return NotFound("anything in " + path)
			}
			return nil
		},
	}
}

// The kernel's log names addresses, devices and other users' programs.
var kernelLog = Attack{
	Name: "kernel-log", Group: "knowledge", Reference: "syslog(2), dmesg(1)",
	Tries: "read the kernel's log",
	Stops: []Stop{{Seccomp, "EPERM"}},
	Needs: func() string {
		if b, err := os.ReadFile("/proc/sys/kernel/dmesg_restrict"); err != nil || len(b) == 0 || b[0] != '0' {
			return "kernel.dmesg_restrict keeps it from everybody without CAP_SYSLOG"
		}
		return ""
	},
	Inside: func(*Inside) error {
		buf := make([]byte, 4096)
		_, err := Call(unix.SYS_SYSLOG, 3, addressOf(&buf[0]), uintptr(len(buf))) // SYSLOG_ACTION_READ_ALL
		return err
	},
}
