package attack

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// setns(2) by a descriptor that was handed in: of the kinds that only a process with one
// thread may enter, and which can be bound to no file in their own mounts.

var (
	setnsMount = setnsHandedIn("mnt", unix.CLONE_NEWNS, setnsNet.Needs)
	setnsTime  = setnsHandedIn("time", unix.CLONE_NEWTIME, setnsNet.Needs)
	setnsUser  = func() Attack {
		a := setnsHandedIn("user", unix.CLONE_NEWUSER, nil)
		a.Stops = a.Stops[:2] // it takes capabilities over that one, which none inside are
		a.Unshown = "a process that is not in a namespace below it is in it, and can't enter it (EINVAL)"
		return a
	}()
)

func setnsHandedIn(kind string, flag uintptr, needs func() string) Attack {
	return Attack{
		Name: "setns-" + kind, Group: "namespaces", Reference: "setns(2)",
		Tries: "enter the host's " + kind + " namespace by a descriptor that was handed in",
		Stops: []Stop{{Seccomp, "EPERM"}, {UserNamespace, "EPERM"}, {Capabilities, "EPERM"}},
		Needs: needs,
		Outside: func(o *Outside) error {
			f, err := os.Open("/proc/self/ns/" + kind)
			o.Files = append(o.Files, f)
			return err
		},
		Inside: func(*Inside) error { return oneThread(unix.SYS_SETNS, 3, flag) },
	}
}

// Every process's namespaces are links in /proc, for whoever may trace it.
var setnsOfProcess = Attack{
	Name: "setns-of-a-process", Group: "namespaces", Reference: "proc_pid_ns(5), setns(2)",
	Tries:   "enter the network of a process outside by /proc/PID/ns",
	Stops:   []Stop{{PIDNamespace, "ENOENT"}, {Seccomp, "EPERM"}, {UserNamespace, "EACCES"}, {Capabilities, "EPERM"}, {Landlock, "EACCES"}},
	Needs:   setnsNet.Needs,
	Outside: withVictim,
	Inside: func(in *Inside) error {
		runtime.LockOSThread()
		fd, err := unix.Open("/proc/"+in.Arg("pid")+"/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return Failed(err)
		}
		_, err = Call(unix.SYS_SETNS, uintptr(fd), unix.CLONE_NEWNET)
		return err
	},
}

// ioctl_ns(2) goes from a namespace to the user namespace that owns it, or to its parent,
// and gives a descriptor of that.
var (
	namespaceOwner = Attack{
		Name: "namespace-owner", Group: "namespaces", Reference: "ioctl_ns(2) NS_GET_USERNS",
		Tries: "get at the host's user namespace as the owner of a network namespace that was handed in",
		Stops: []Stop{{UserNamespace, "EPERM"}},
		Outside: func(o *Outside) error {
			f, err := os.Open("/proc/self/ns/net")
			o.Files = append(o.Files, f)
			return err
		},
		Inside: func(*Inside) error {
			_, err := Call(unix.SYS_IOCTL, 3, unix.NS_GET_USERNS)
			return err
		},
	}
	namespaceParent = Attack{
		Name: "namespace-parent", Group: "namespaces", Reference: "ioctl_ns(2) NS_GET_PARENT",
		Tries:   "get at the pid namespace above the sandbox's own",
		Stops:   []Stop{{kernelItself, "EPERM"}},
		Unshown: "the kernel shows nobody what is above their own",
		Inside: func(*Inside) error {
			fd, err := unix.Open("/proc/self/ns/pid", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return Failed(err)
			}
			_, err = Call(unix.SYS_IOCTL, uintptr(fd), unix.NS_GET_PARENT)
			return err
		},
	}
)
