package attack

import (
	"bytes"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// The kernel counts threads and the dead that nobody waits for like processes.

var threadBomb = Attack{
	Name: "thread-bomb", Group: "limits", Reference: "clone(2) CLONE_THREAD, cgroups(7) pids",
	Tries:  "start more threads than the limit of processes",
	Limits: []string{"pids 40"},
	Stops:  []Stop{{pidsLimit, "EAGAIN"}},
	Needs:  withCgroup,
	Inside: func(*Inside) error {
		// In another process: the runtime ends a program that it can't give a thread.
		cmd := exec.Command("/proc/self/exe", Arg, threadsRole)
		words, err := cmd.CombinedOutput()
		if bytes.Contains(words, []byte("errno=11")) {
			return Failed(syscall.EAGAIN)
		}
		if err != nil {
			return Failed(err)
		}
		return nil
	},
}

// manyThreads has twice as many threads at once as the limit above.
func manyThreads() int {
	started := make(chan struct{})
	for range 80 {
		go func() {
			runtime.LockOSThread()
			started <- struct{}{}
			time.Sleep(time.Minute)
			runtime.UnlockOSThread()
		}()
	}
	for range 80 {
		<-started
	}
	return 0
}

var zombieFlood = Attack{
	Name: "zombie-flood", Group: "limits", Reference: "wait(2), cgroups(7) pids",
	Tries:  "start more processes than the limit, which end at once and are not waited for",
	Limits: []string{"pids 40"},
	Stops:  []Stop{{pidsLimit, "EAGAIN"}},
	Needs:  withCgroup,
	Inside: func(*Inside) error {
		for range 80 {
			if err := exec.Command("/bin/true").Start(); err != nil {
				return Failed(err)
			}
		}
		return nil
	},
}
