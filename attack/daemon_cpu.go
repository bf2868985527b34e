package attack

import (
	"os/exec"
	"time"
)

// The limit counts the processor time of all processes, also of those that left their
// parent and its session.
var daemonBurnsCPU = Attack{
	Name: "cpu-time-daemon", Group: "limits", Reference: "daemon(7), setsid(2), cgroups(7) cpuacct",
	Tries:  "have a daemon compute for longer than the limit",
	Limits: []string{"cpu-time 500ms"},
	Stops:  []Stop{{cpuLimit, "SIGKILL"}},
	Needs:  withCgroup,
	Inside: func(*Inside) error {
		// Where nothing ends it, the hard limit of its own does, after some seconds.
		const daemon = "(setsid sh -c 'ulimit -t 6; trap \"\" TERM XCPU; while :; do :; done' >/dev/null 2>&1 &) &"
		if err := exec.Command("/bin/sh", "-c", daemon).Run(); err != nil {
			return Failed(err)
		}
		time.Sleep(4 * time.Second)
		return nil
	},
}
