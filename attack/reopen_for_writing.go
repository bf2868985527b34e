package attack

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// The links in /proc/PID/fd open a file anew, with other rights than the descriptor's:
// what was handed in to be read can be written where its mode and its mount allow that.
var reopenForWriting = Attack{
	Name: "reopen-for-writing", Group: "descriptors", Reference: "proc_pid_fd(5)",
	Tries: "open a file that was handed in to be read once more, for writing",
	Stops: []Stop{{Landlock, "EACCES"}},
	Outside: func(o *Outside) error {
		path, err := o.SecretFile("file")
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		o.Files = append(o.Files, f)
		return err
	},
	Inside:  func(*Inside) error { return writeThrough("/proc/self/fd/3") },
	Escaped: func(o *Outside) bool { return o.Changed("file") },
}

func writeThrough(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return Failed(err)
	}
	return f.Close()
}

// A descriptor that only names the file (O_PATH) outlives the process that executes it,
// and opens it for writing when nothing does any more.
var pidOneOverwritten = Attack{
	Name: "pid1-exe-overwritten", Group: "descriptors", Reference: "CVE-2019-5736",
	Tries:   "keep hold of what the sandbox's own pid 1 executes, and overwrite it",
	Stops:   []Stop{{Undumpable, "EACCES"}, {Landlock, "EACCES"}},
	Unshown: "the kernel lets nobody write to a file while it is executed (ETXTBSY), and this one is a sealed memfd",
	Inside: func(*Inside) error {
		fd := -1
		err := ofPidOne(func() (err error) {
			fd, err = unix.Open("/proc/1/exe", unix.O_PATH|unix.O_CLOEXEC, 0)
			return err
		})
		if err != nil {
			return Failed(err)
		}
		return writeThrough("/proc/self/fd/" + strconv.Itoa(fd))
	},
}
