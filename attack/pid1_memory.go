package attack

import (
	"os"
	"time"
)

// Pid 1 of the sandbox is outside of the filter and of Landlock. Whoever can write to
// its memory is, too.
var pidOneMemory = Attack{
	Name: "pid1-memory", Group: "ptrace", Reference: "proc_pid_mem(5), PR_SET_DUMPABLE(2const)",
	Tries: "write to the memory of the sandbox's own pid 1",
	Stops: []Stop{{Undumpable, "EACCES"}, {Landlock, "EACCES"}},
	Inside: func(*Inside) error {
		// While it still holds the capabilities of the set-up, ptrace(2)'s rule
		// protects it in any case: it lays them down right after the exec.
		var err error
		for range 50 {
			var mem *os.File
			if mem, err = os.OpenFile("/proc/1/mem", os.O_RDWR, 0); err == nil {
				return mem.Close()
			}
			time.Sleep(2 * time.Millisecond)
		}
		return Failed(err)
	},
}
