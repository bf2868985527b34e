package attack

import "golang.org/x/sys/unix"

// A user namespace gives every capability over what is made in it, and so reaches
// kernel code that was root's alone: the beginning of most recent escalations.
var nestedUserNamespace = Attack{
	Name: "nested-user-namespace", Group: "namespaces", Reference: "user_namespaces(7), CVE-2022-0185, CVE-2022-0492",
	Tries: "make a user namespace of one's own",
	Stops: []Stop{{Seccomp, "EPERM"}},
	Inside: func(*Inside) error {
		_, err := Call(unix.SYS_UNSHARE, unix.CLONE_NEWUSER)
		return Reached(err, "EINVAL") // allowed, but not for a program with threads, as this one is
	},
}
