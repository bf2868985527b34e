package supervise

import (
	"runtime"
	"sync"
)

// A process's death signal (PR_SET_PDEATHSIG) comes when the *thread* that
// made it ends, and Go ends threads as it likes. So all sandboxes of a program
// are started by one thread that is parked for good.
var (
	starterOnce sync.Once
	starterWork chan func()
)

// onStarter runs f on that thread and waits for it.
func onStarter(f func()) {
	starterOnce.Do(func() {
		starterWork = make(chan func())
		go func() {
			runtime.LockOSThread() // never unlocked: the thread lives as long as the program
			for f := range starterWork {
				f()
			}
		}()
	})
	done := make(chan struct{})
	starterWork <- func() { f(); close(done) }
	<-done
}
