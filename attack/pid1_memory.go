package attack

import (
	"os"
	"time"
)

// Pid 1 of the sandbox is outside of the filter and of Landlock. Whoever can write to
// its memory is, too.
var pidOneMemory = Attack{
	Name: "pid1-memory", Group: "ptrace", Reference: "proc_pid_mem(5), PR_SET_DUMPABLE(2const)",
	Tries:  "write to the memory of the sandbox's own pid 1",
	Stops:  []Stop{{Undumpable, "EACCES"}, {Landlock, "EACCES"}},
	Inside: func(*Inside) error { return openOfPidOne("/proc/1/mem", os.O_RDWR) },
}

// Whoever can open what pid 1 executes may write to it when it is over: the next
// sandbox would run that.
var pidOneExecutable = Attack{
	Name: "pid1-exe", Group: "descriptors", Reference: "CVE-2019-5736",
	Tries:  "open the file that the sandbox's own pid 1 executes",
	Stops:  []Stop{{Undumpable, "EACCES"}, {Landlock, "EACCES"}},
	Inside: func(*Inside) error { return openOfPidOne("/proc/1/exe", os.O_RDONLY) },
}

var pidOneEnvironment = Attack{
	Name: "pid1-environ", Group: "knowledge", Reference: "proc_pid_environ(5)",
	Tries:  "read the environment that the sandbox was started with",
	Stops:  []Stop{{Undumpable, "EACCES"}, {Landlock, "EACCES"}},
	Inside: func(*Inside) error { return openOfPidOne("/proc/1/environ", os.O_RDONLY) },
}

// openOfPidOne opens a file of pid 1's.
func openOfPidOne(name string, flags int) error {
	return ofPidOne(func() error {
		f, err := os.OpenFile(name, flags, 0)
		if err != nil {
			return Failed(err)
		}
		return f.Close()
	})
}

// ofPidOne tries something of pid 1's. While that still holds the capabilities of the
// set-up, ptrace(2)'s rule protects it in any case: it lays them down right after the exec.
func ofPidOne(try func() error) error {
	if os.Getpid() == 1 {
		return NotFound("a pid 1 beside this process")
	}
	var err error
	for range 50 {
		if err = try(); err == nil {
			return nil
		}
		time.Sleep(2 * time.Millisecond)
	}
	return err
}
