package attack

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The mount calls that work on descriptors. Landlock refuses only the last step of
// them, move_mount(2), and none of these takes it; what it says of files counts.

var mountSetattr = Attack{
	Name: "mount-setattr", Group: "mounts", Reference: "mount_setattr(2)",
	Tries:   "take the read-only flag off a mount, and change a file there",
	Door:    []string{"read $DIR"},
	Stops:   []Stop{{Seccomp, "EPERM"}, {Capabilities, "EPERM"}},
	Outside: secretFile,
	Inside: func(in *Inside) error {
		attr := unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}
		_, err := Call(unix.SYS_MOUNT_SETATTR, atCWD, pathOf(in.Arg("dir")), 0, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
		runtime.KeepAlive(&attr)
		if err != nil {
			return err
		}
		return in.overwrite()
	},
	Escaped: func(o *Outside) bool { return o.Changed("file") },
}

// A clone that is not recursive shows a directory without what is mounted in it.
var openTreeClone = Attack{
	Name: "open-tree-clone", Group: "mounts", Reference: "open_tree(2) OPEN_TREE_CLONE",
	Tries:   "clone a directory without the mounts that hide a file in it, and read the file",
	Door:    []string{"read $DIR", "hide $DIR/file"},
	Stops:   []Stop{{Seccomp, "EPERM"}, {Capabilities, "EPERM"}, {Landlock, "EACCES"}},
	Outside: secretFile,
	Inside: func(in *Inside) error {
		fd, err := Call(unix.SYS_OPEN_TREE, atCWD, pathOf(in.Arg("dir")), unix.OPEN_TREE_CLONE)
		if err != nil {
			return err
		}
		return in.TakeFile(fmt.Sprintf("/proc/self/fd/%d/file", fd))
	},
}

var newFileSystem = Attack{
	Name: "fsopen", Group: "mounts", Reference: "fsopen(2), CVE-2022-0185",
	Tries: "make a new file system, which has the kernel read parameters of one's own",
	Stops: []Stop{{Seccomp, "EPERM"}, {Capabilities, "EPERM"}},
	Inside: func(*Inside) error {
		_, err := Call(unix.SYS_FSOPEN, pathOf("tmpfs"), 0)
		return err
	},
}

// atCWD is AT_FDCWD for Call.
const atCWD = ^uintptr(-unix.AT_FDCWD - 1)
