package attack

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// A file handle names a file of a file system, wherever it lies in it: the attacker is
// shown one directory and opens a file beside it.
var openByHandle = Attack{
	Name: "open-by-handle", Group: "mounts", Reference: "open_by_handle_at(2), shocker.c",
	Tries: "open a file beside a directory that is shown by its number in the file system",
	Door:  []string{"read $DIR/sub"},
	Stops: []Stop{{Seccomp, "EPERM"}, {Capabilities, "EPERM"}, {UserNamespace, "EPERM"}},
	Needs: onlyRoot("an ordinary user may open nothing by handle in any case"),
	Outside: func(o *Outside) error {
		path, err := o.SecretFile("file")
		if err != nil {
			return err
		}
		sub := filepath.Join(o.Dir, "sub")
		if err := os.Mkdir(sub, 0o700); err != nil {
			return err
		}
		h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, path, 0)
		if err != nil {
			return err
		}
		o.Tell("sub", sub)
		o.Tell("handle", hex.EncodeToString(h.Bytes()))
		o.TellInt("type", int(h.Type()))
		return nil
	},
	Inside: func(in *Inside) error {
		id, err := hex.DecodeString(in.Arg("handle"))
		if err != nil {
			return Failed(err)
		}
		sub, err := unix.Open(in.Arg("sub"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil { // it is not shown: whether the call is refused can be seen all the same
			sub, _ = unix.Open("/", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
		h := unix.NewFileHandle(int32(in.Int("type")), id)
		fd, err := unix.OpenByHandleAt(sub, h, unix.O_RDONLY|unix.O_CLOEXEC)
		if errno, ok := err.(syscall.Errno); ok {
			return Refused(errno, unix.SYS_OPEN_BY_HANDLE_AT)
		}
		buf := make([]byte, 64)
		n, err := unix.Read(fd, buf)
		if err != nil {
			return Failed(err)
		}
		in.Take(buf[:n])
		return nil
	},
}
