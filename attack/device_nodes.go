package attack

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Whoever can make the node of a disk can read the disk. This one is /dev/zero's,
// which hurts nobody.
var makeDeviceNode = Attack{
	Name: "make-device-node", Group: "mounts", Reference: "mknod(2), user_namespaces(7)",
	Tries: "make a device node",
	Stops: []Stop{{UserNamespace, "EPERM"}, {Capabilities, "EPERM"}},
	Needs: onlyRoot("an ordinary user may make no device in any case"),
	Inside: func(*Inside) error {
		dir, err := os.MkdirTemp("/tmp", "node")
		if err != nil {
			return Failed(err)
		}
		defer os.RemoveAll(dir)
		_, err = Call(unix.SYS_MKNODAT, atCWD, pathOf(filepath.Join(dir, "zero")), unix.S_IFCHR|0o600, uintptr(unix.Mkdev(1, 5)))
		return err
	},
}

// A directory that the policy shares may hold such a node already. This one is FUSE's: no
// list of devices that everybody may have holds it, and to open it harms nobody.
var openDeviceNode = Attack{
	Name: "open-device-node", Group: "mounts", Reference: "mount(2) MS_NODEV",
	Tries: "open a device node that lies in a shared directory",
	Door:  []string{"write $DIR"},
	Stops: []Stop{{NoDev, "EACCES"}},
	Needs: withFuse(onlyRoot("only root can make the node that is to be opened")),
	Outside: func(o *Outside) error {
		path := filepath.Join(o.Dir, "fuse")
		o.Tell("path", path)
		const major, minor = 10, 229
		return unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(major, minor)))
	},
	Inside: func(in *Inside) error {
		f, err := os.OpenFile(in.Arg("path"), os.O_RDWR, 0)
		if err != nil {
			return Failed(err)
		}
		return f.Close()
	},
}
