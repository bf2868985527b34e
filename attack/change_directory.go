package attack

import (
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// A directory that is open leads out of any root, also as the working directory: ".."
// goes up from it to the host's.

var (
	fchdirHandedIn = Attack{
		Name: "fchdir-handed-in", Group: "descriptors", Reference: "fchdir(2), chroot(2)",
		Tries: "make a directory outside that was handed in the working directory, and read beside it",
		Stops: []Stop{{Landlock, "EACCES"}},
		Outside: func(o *Outside) error {
			f, err := o.besideSecret()
			o.Files = append(o.Files, f)
			o.TellInt("fd", 3)
			return err
		},
		Inside: (*Inside).readUpFrom,
	}
	fchdirLeftOpen = Attack{
		Name: "fchdir-left-open", Group: "descriptors", Reference: "fchdir(2), close_range(2)",
		Tries:   "make a directory that the caller left open the working directory, and read beside it",
		Stops:   []Stop{{Descriptors, "EBADF"}, {Landlock, "EACCES"}},
		Outside: (*Outside).leaveOpen,
		Inside:  (*Inside).readUpFrom,
	}
	workingDirectoryLeftOpen = Attack{
		Name: "cwd-left-open", Group: "descriptors", Reference: "CVE-2024-21626",
		Tries:   "start in a directory that the caller left open, by its path in /proc/self/fd, and read beside it",
		Door:    []string{"cwd /proc/self/fd/" + strconv.Itoa(leftOpen)},
		Stops:   []Stop{{Landlock, "EACCES"}},
		Outside: (*Outside).leaveOpen,
		Inside:  func(in *Inside) error { return in.TakeFile("../beside") },
	}
)

// leftOpen is a number that no other descriptor gets by itself.
const leftOpen = 777

// besideSecret opens a directory that has a secret beside it.
func (o *Outside) besideSecret() (*os.File, error) {
	sub := filepath.Join(o.Dir, "sub")
	if err := os.Mkdir(sub, 0o700); err != nil {
		return nil, err
	}
	if _, err := o.SecretFile("beside"); err != nil {
		return nil, err
	}
	return os.Open(sub)
}

// leaveOpen leaves such a directory open for every program that is executed, as a
// careless caller does.
func (o *Outside) leaveOpen() error {
	f, err := o.besideSecret()
	if err != nil {
		return err
	}
	defer f.Close()
	o.TellInt("fd", leftOpen)
	o.Defer(func() { unix.Close(leftOpen) })
	return os.NewSyscallError("dup3", unix.Dup3(int(f.Fd()), leftOpen, 0))
}

func (in *Inside) readUpFrom() error {
	if err := unix.Fchdir(in.Int("fd")); err != nil {
		return Failed(err)
	}
	return in.TakeFile("../beside")
}
