package attack

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A socket hands descriptors over, and with a directory's everything below it. Somebody
// outside who would do that is an accomplice. What keeps the two apart is that they
// find no socket; and where they share one, Landlock still asks where a file lies.

var (
	handedOverAbstract = Attack{
		Name: "scm-rights-abstract", Group: "descriptors", Reference: "unix(7) SCM_RIGHTS",
		Tries: "receive a directory from an accomplice outside through an abstract socket, and read in it",
		Stops: []Stop{{NetNamespace, "ECONNREFUSED"}, {LandlockScope, "EPERM"}},
		Outside: func(o *Outside) error {
			name := "@cloche-accomplice-" + o.Secret
			o.Tell("socket", name)
			return o.accomplice(&unix.SockaddrUnix{Name: name})
		},
		Inside: (*Inside).receiveDirectory,
	}
	handedOverPath = Attack{
		Name: "scm-rights-path", Group: "descriptors", Reference: "unix(7) SCM_RIGHTS",
		Tries: "receive a directory from an accomplice outside through a socket in a directory that is shown, and read in it",
		Door:  []string{"read $DIR/shown"},
		Stops: []Stop{{Landlock, "EACCES"}},
		Outside: func(o *Outside) error {
			shown := filepath.Join(o.Dir, "shown")
			if err := os.Mkdir(shown, 0o700); err != nil {
				return err
			}
			name := filepath.Join(shown, "socket")
			o.Tell("socket", name)
			return o.accomplice(&unix.SockaddrUnix{Name: name})
		},
		Inside: (*Inside).receiveDirectory,
	}
	handedOverInherited = Attack{
		Name: "scm-rights-inherited", Group: "descriptors", Reference: "unix(7) SCM_RIGHTS",
		Tries: "receive a directory from an accomplice outside through a socket that was handed in, and read in it",
		Stops: []Stop{{Landlock, "EACCES"}},
		Outside: func(o *Outside) error {
			socket, err := o.handInSocket()
			if err != nil {
				return err
			}
			return o.handOver(socket)
		},
		Inside: func(in *Inside) error { return in.readReceived(3) },
	}
)

// accomplice listens, and hands the directory with the secret to whoever connects.
func (o *Outside) accomplice(at unix.Sockaddr) error {
	return o.listen(unix.AF_UNIX, at, func(fd int) { _ = o.handOver(fd) })
}

// handInSocket hands one end of a pair of sockets in, and returns the other.
func (o *Outside) handInSocket() (int, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socketpair", err)
	}
	o.Files = append(o.Files, os.NewFile(uintptr(pair[0]), "socket"))
	o.Defer(func() { unix.Close(pair[1]) })
	return pair[1], nil
}

// handOver sends a directory that holds the secret.
func (o *Outside) handOver(socket int) error {
	prey := filepath.Join(o.Dir, "prey")
	if err := os.Mkdir(prey, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if _, err := o.SecretFile("prey/file"); err != nil {
		return err
	}
	dir, err := os.Open(prey)
	if err != nil {
		return err
	}
	defer dir.Close()
	return unix.Sendmsg(socket, []byte{0}, unix.UnixRights(int(dir.Fd())), nil, 0)
}

func (in *Inside) receiveDirectory() error {
	fd, err := Call(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	if err := unix.Connect(int(fd), &unix.SockaddrUnix{Name: in.Arg("socket")}); err != nil {
		return Failed(err)
	}
	return in.readReceived(int(fd))
}

func (in *Inside) readReceived(socket int) error {
	dir, err := receive(socket)
	if err != nil {
		return err
	}
	fd, err := unix.Openat(dir, "file", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return Failed(err)
	}
	buf := make([]byte, 64)
	k, err := unix.Read(fd, buf)
	if err != nil {
		return Failed(err)
	}
	in.Take(buf[:k])
	return nil
}

// receive takes one descriptor from a socket.
func receive(socket int) (int, error) {
	control := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(socket, make([]byte, 1), control, 0)
	if err != nil {
		return -1, Failed(err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) == 0 {
		return -1, NotFound("a descriptor")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return -1, Failed(err)
	}
	return fds[0], nil
}
