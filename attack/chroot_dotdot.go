package attack

import (
	"os"

	"golang.org/x/sys/unix"
)

// A chroot(2) keeps in only those whose working directory lies in it: whoever may call
// it again leaves by "..". A root that was switched by pivot_root(2) has nothing above.
var chrootDotDot = Attack{
	Name: "chroot-dotdot", Group: "mounts", Reference: "chroot(2)",
	Tries:   "chroot into a directory, climb out of it by .., and read a file outside",
	Stops:   []Stop{{Seccomp, "EPERM"}, {Capabilities, "EPERM"}, {Root, "ENOENT"}},
	Outside: secretFile,
	Inside: func(in *Inside) error {
		sub, err := os.MkdirTemp("/tmp", "root")
		if err != nil {
			return Failed(err)
		}
		defer os.Remove(sub)
		top, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return Failed(err)
		}
		if _, err := Call(unix.SYS_CHROOT, pathOf(sub)); err != nil {
			return err
		}
		if err := unix.Fchdir(top); err != nil {
			return Failed(err)
		}
		for range 30 {
			if err := unix.Chdir(".."); err != nil {
				return Failed(err)
			}
		}
		if _, err := Call(unix.SYS_CHROOT, pathOf(".")); err != nil {
			return err
		}
		return in.TakeFile(in.Arg("path"))
	},
}
