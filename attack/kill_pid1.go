package attack

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Pid 1 of a pid namespace gets from its own namespace only the signals that it has a
// handler for. With it everything would end, and nobody would tell how.
var killPidOne = Attack{
	Name: "kill-pid1", Group: "signals", Reference: "pid_namespaces(7), kill(2)",
	Tries:   "end the sandbox by SIGKILL and SIGSTOP to its pid 1",
	Stops:   []Stop{{PIDNamespace, Unharmed}},
	Unshown: "outside of a pid namespace, pid 1 is the machine's own",
	Outside: func(o *Outside) error {
		ns, err := os.Readlink("/proc/self/ns/pid")
		o.Tell("host", ns)
		return err
	},
	Inside: func(in *Inside) error {
		if ns, err := os.Readlink("/proc/self/ns/pid"); err != nil || ns == in.Arg("host") {
			return NotFound("a pid 1 of the sandbox's own")
		}
		for _, s := range []unix.Signal{unix.SIGKILL, unix.SIGSTOP} {
			_ = unix.Kill(1, s) // EPERM where Landlock's scope has a word in it
		}
		time.Sleep(20 * time.Millisecond)
		return nil // that it can say so is what shows that it failed
	},
	Escaped: func(*Outside) bool { return false },
}
