package attack

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// A namespace can be entered by any descriptor that stands for it or for a process in
// it (Linux 5.8), however it came in.
var (
	setnsPidfd = Attack{
		Name: "setns-pidfd", Group: "namespaces", Reference: "setns(2), pidfd_open(2)",
		Tries:   "enter the network of a process outside by its pidfd, which was handed in",
		Stops:   []Stop{{Seccomp, "EPERM"}, {UserNamespace, "EPERM"}, {Capabilities, "EPERM"}, {Landlock, "EPERM"}}, // a process's are read by ptrace(2)'s rule
		Needs:   setnsNet.Needs,
		Outside: withPidfd,
		Inside: func(*Inside) error {
			runtime.LockOSThread()
			_, err := Call(unix.SYS_SETNS, 3, unix.CLONE_NEWNET)
			return err
		},
	}
	setnsReceived = Attack{
		Name: "setns-received", Group: "namespaces", Reference: "setns(2), unix(7) SCM_RIGHTS",
		Tries: "receive the host's network namespace from an accomplice outside, and enter it",
		Stops: []Stop{{Seccomp, "EPERM"}, {UserNamespace, "EPERM"}, {Capabilities, "EPERM"}},
		Needs: setnsNet.Needs,
		Outside: func(o *Outside) error {
			socket, err := o.handInSocket()
			if err != nil {
				return err
			}
			ns, err := os.Open("/proc/self/ns/net")
			if err != nil {
				return err
			}
			defer ns.Close()
			return unix.Sendmsg(socket, []byte{0}, unix.UnixRights(int(ns.Fd())), nil, 0)
		},
		Inside: func(*Inside) error {
			runtime.LockOSThread()
			fd, err := receive(3)
			if err != nil {
				return err
			}
			_, err = Call(unix.SYS_SETNS, uintptr(fd), unix.CLONE_NEWNET)
			return err
		},
	}
)
