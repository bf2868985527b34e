package attack

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// A program can be executed that lies in no file system. It has the filter of who
// executes it, like any other.
var executeMemfd = Attack{
	Name: "memfd-executed", Group: "seccomp", Reference: "memfd_create(2), execveat(2)",
	Tries: "make a refused call in a program that is executed from memory",
	Stops: []Stop{{Seccomp, "EPERM"}},
	Inside: func(*Inside) error {
		program, err := os.ReadFile("/proc/self/exe")
		if err != nil {
			return Failed(err)
		}
		cmd, err := fromMemory(program)
		if err != nil {
			return Failed(err)
		}
		cmd.Args = []string{"program", Arg, refusedRole}
		err = cmd.Run()
		var e *exec.ExitError
		if errors.As(err, &e) && e.ExitCode() > 0 {
			return Refused(syscall.Errno(e.ExitCode()), unix.SYS_USERFAULTFD, 1|unix.O_CLOEXEC)
		}
		if err != nil {
			return Failed(err)
		}
		return nil
	},
}

// refusedCallStatus makes a call that the filter refuses, and exits with its errno.
func refusedCallStatus() int {
	_, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, 1|unix.O_CLOEXEC, 0, 0)
	return int(errno)
}

// fromMemory is a command that executes a program which has no name.
func fromMemory(program []byte) (*exec.Cmd, error) {
	fd, err := unix.MemfdCreate("program", 0) // open across the exec: its path names it
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "program")
	if _, err := f.Write(program); err != nil {
		return nil, err
	}
	path := fmt.Sprintf("/proc/self/fd/%d", fd)
	// Nobody may execute what is open for writing.
	r, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	cmd := exec.Command("/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{r}
	return cmd, nil
}
