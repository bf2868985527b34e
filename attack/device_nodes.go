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

// A directory that the policy shares may hold such a node already.
var openDeviceNode = Attack{
	Name: "open-device-node", Group: "mounts", Reference: "mount(2) MS_NODEV",
	Tries: "open a device node that lies in a shared directory",
	Door:  []string{"write $DIR"},
	Stops: []Stop{{NoDev, "EACCES"}},
	Needs: onlyRoot("only root can make the node that is to be opened"),
	Outside: func(o *Outside) error {
		path := filepath.Join(o.Dir, "zero")
		o.Tell("path", path)
		return unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5)))
	},
	Inside: func(in *Inside) error {
		f, err := os.Open(in.Arg("path"))
		if err != nil {
			return Failed(err)
		}
		return f.Close()
	},
}
