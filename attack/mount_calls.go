package attack

import (
	"os"

	"golang.org/x/sys/unix"
)

// What the mounts inside keep from the command, mount(2) and umount(2) could undo. The
// attacker is given every capability over its mount namespace here.

// mountStops are the layers that refuse these calls, each for a reason of its own.
var mountStops = []Stop{{Seccomp, "EPERM"}, {Capabilities, "EPERM"}, {Landlock, "EPERM"}}

var mountOver = Attack{
	Name: "mount-over", Group: "mounts", Reference: "mount(2)",
	Tries: "mount a tmpfs over a directory of the sandbox",
	Stops: mountStops,
	Inside: func(*Inside) error {
		_, err := Call(unix.SYS_MOUNT, pathOf("tmpfs"), pathOf("/usr"), pathOf("tmpfs"), 0, 0)
		return err
	},
}

var bindOver = Attack{
	Name: "bind-over", Group: "mounts", Reference: "mount(2) MS_BIND",
	Tries: "put a directory of one's own in the place of /etc",
	Stops: mountStops,
	Inside: func(*Inside) error {
		_, err := Call(unix.SYS_MOUNT, pathOf("/tmp"), pathOf("/etc"), 0, unix.MS_BIND, 0)
		return err
	},
}

var unmountMask = Attack{
	Name: "unmount-mask", Group: "mounts", Reference: "umount(2)",
	Tries:   "take away what covers a hidden file, and read it",
	Door:    []string{"read $DIR", "hide $DIR/file"},
	Stops:   mountStops,
	Outside: secretFile,
	Inside: func(in *Inside) error {
		if _, err := Call(unix.SYS_UMOUNT2, pathOf(in.Arg("path")), unix.MNT_DETACH); err != nil {
			return err
		}
		return in.TakeFile(in.Arg("path"))
	},
}

var remountWritable = Attack{
	Name: "remount-writable", Group: "mounts", Reference: "mount(2) MS_REMOUNT",
	Tries:   "make a read-only directory writable, and change a file there",
	Door:    []string{"read $DIR"},
	Stops:   mountStops,
	Outside: secretFile,
	Inside: func(in *Inside) error {
		if _, err := Call(unix.SYS_MOUNT, 0, pathOf(in.Arg("dir")), 0, unix.MS_REMOUNT|unix.MS_BIND, 0); err != nil {
			return err
		}
		return in.overwrite()
	},
	Escaped: func(o *Outside) bool { return o.Changed("file") },
}

var pivotRootAgain = Attack{
	Name: "pivot-root-again", Group: "mounts", Reference: "pivot_root(2)",
	Tries: "change the root of the mount namespace once more",
	Stops: mountStops,
	Inside: func(*Inside) error {
		old, err := os.MkdirTemp("/tmp", "old")
		if err != nil {
			return Failed(err)
		}
		_, err = Call(unix.SYS_PIVOT_ROOT, pathOf("/tmp"), pathOf(old))
		return err
	},
}

// secretFile is an Outside: it makes the file "file" and tells its path.
func secretFile(o *Outside) error {
	path, err := o.SecretFile("file")
	o.Tell("path", path)
	o.Tell("dir", o.Dir)
	return err
}

// overwrite changes the file that secretFile made.
func (in *Inside) overwrite() error {
	f, err := os.OpenFile(in.Arg("path"), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return Failed(err)
	}
	return f.Close()
}
