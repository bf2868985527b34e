package attack

import (
	"errors"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// InOwnMounts runs the program once more, with the same arguments, in a mount namespace
// of its own: what some attacks mount outside of their sandbox, nobody else then sees.
// done is false in that second program, and for a user who may make none.
func InOwnMounts() (status int, done bool) {
	const variable = "CLOCHE_ATTACK_MOUNTS" // set: this is the second
	if os.Geteuid() != 0 || !mayMount() || os.Getenv(variable) != "" {
		return 0, false
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = os.Args
	cmd.Env = append(os.Environ(), variable+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	err := cmd.Run()
	var e *exec.ExitError
	if err != nil && !errors.As(err, &e) {
		return 0, false // none may be made here after all
	}
	if status = cmd.ProcessState.ExitCode(); status < 0 {
		status = 125 // a signal ended it
	}
	return status, true
}

// mayMount reports whether this process holds CAP_SYS_ADMIN.
func mayMount() bool { return has(unix.CAP_SYS_ADMIN) }

// has reports whether a capability is in the effective set, one of the first 32.
func has(capability int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&(1<<capability) != 0
}
