package attack

import "os"

// Pid 1 of the sandbox is outside of the filter and of Landlock. Whoever can write to
// its memory is, too.
var pidOneMemory = Attack{
	Name: "pid1-memory", Group: "ptrace", Reference: "proc_pid_mem(5), PR_SET_DUMPABLE(2const)",
	Tries: "write to the memory of the sandbox's own pid 1",
	Stops: []Stop{{Undumpable, "EACCES"}, {Landlock, "EACCES"}},
	Inside: func(in *Inside) error {
		mem, err := os.OpenFile("/proc/1/mem", os.O_RDWR, 0)
		if err != nil {
			return Failed(err)
		}
		defer mem.Close()
		return nil
	},
}
