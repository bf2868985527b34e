package attack

import (
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// setns(2) enters a namespace by a descriptor of it, wherever that came from: here
// somebody bound it to a file (as ip-netns(8) does) in a directory that is shown. It takes
// CAP_SYS_ADMIN over the user namespace that owns it, which is the host's:
// capabilities over the sandbox's own are worth nothing there.

var (
	setnsNet    = setnsOutside("net", unix.CLONE_NEWNET)
	setnsIPC    = setnsOutside("ipc", unix.CLONE_NEWIPC)
	setnsUTS    = setnsOutside("uts", unix.CLONE_NEWUTS)
	setnsCgroup = setnsOutside("cgroup", unix.CLONE_NEWCGROUP)
	setnsPID    = setnsAbove("pid", unix.CLONE_NEWPID)
)

// setnsAbove is of a kind that has levels: a process enters what lies below its own alone.
func setnsAbove(kind string, flag uintptr) Attack {
	a := setnsOutside(kind, flag)
	a.Unshown = "the kernel lets nobody enter a " + kind + " namespace above its own (EINVAL)"
	return a
}

func setnsOutside(kind string, flag uintptr) Attack {
	return Attack{
		Name: "setns-" + kind, Group: "namespaces", Reference: "setns(2), ioctl_ns(2)",
		Tries: "enter the host's " + kind + " namespace by a file that it is bound to",
		Door:  []string{"read $DIR"},
		Stops: []Stop{{Seccomp, "EPERM"}, {UserNamespace, "EPERM"}, {Capabilities, "EPERM"}},
		Needs: onlyRootMounts("only root may bind a namespace to a file, and enter one of root's"),
		Outside: func(o *Outside) error {
			at := filepath.Join(o.Dir, kind)
			if err := os.WriteFile(at, nil, 0o600); err != nil {
				return err
			}
			o.Tell("path", at)
			if err := unix.Mount("/proc/self/ns/"+kind, at, "", unix.MS_BIND, ""); err != nil {
				return os.NewSyscallError("mount", err)
			}
			o.Defer(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
			return nil
		},
		Inside: func(in *Inside) error {
			runtime.LockOSThread()
			fd, err := unix.Open(in.Arg("path"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return Failed(err)
			}
			_, err = Call(unix.SYS_SETNS, uintptr(fd), flag)
			return err
		},
	}
}
