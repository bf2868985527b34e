package attack

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// An abstract socket has no file that a mode or a mount could hide: only the network
// namespace, and Landlock's scope (ABI 6, Linux 6.12), lie between.
var abstractSocket = Attack{
	Name: "abstract-socket", Group: "network", Reference: "unix(7), network_namespaces(7)",
	Tries: "talk to a service outside through its abstract socket",
	Stops: []Stop{{NetNamespace, "ECONNREFUSED"}, {LandlockScope, "EPERM"}},
	Outside: func(o *Outside) error {
		name := "@cloche-attack-" + o.Secret
		o.Tell("socket", name)
		return o.serve(unix.AF_UNIX, &unix.SockaddrUnix{Name: name})
	},
	Inside: func(in *Inside) error { return in.ask(unix.AF_UNIX, &unix.SockaddrUnix{Name: in.Arg("socket")}) },
}

// What listens on the host's loopback often trusts whoever can reach it.
var loopbackService = Attack{
	Name: "loopback-service", Group: "network", Reference: "network_namespaces(7)",
	Tries:   "talk to a service on the host's loopback",
	Door:    []string{"landlock off"}, // it follows what the policy says of the network
	Stops:   []Stop{{NetNamespace, "ENETUNREACH"}},
	Outside: func(o *Outside) error { return o.serve(unix.AF_INET, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}) },
	Inside: func(in *Inside) error {
		return in.ask(unix.AF_INET, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: in.Int("port")})
	},
}

// serve tells the secret to whoever connects.
func (o *Outside) serve(domain int, at unix.Sockaddr) error {
	secret := []byte(o.Secret)
	return o.listen(domain, at, func(fd int) { _, _ = unix.Write(fd, secret) })
}

// listen answers whoever connects, until the attempt is over. (Package net
// would bring a C library in where there is a compiler, and with it threads whose
// capabilities the victim can't drop.)
func (o *Outside) listen(domain int, at unix.Sockaddr, answer func(fd int)) error {
	l, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	done := make(chan struct{})
	o.Defer(func() {
		_ = unix.Shutdown(l, unix.SHUT_RDWR) // ends accept(2)
		<-done
		unix.Close(l)
	})
	if err := errors.Join(unix.Bind(l, at), unix.Listen(l, 8)); err != nil {
		close(done)
		return err
	}
	if name, err := unix.Getsockname(l); err == nil {
		if in, ok := name.(*unix.SockaddrInet4); ok {
			o.TellInt("port", in.Port)
		}
	}
	go func() {
		defer close(done)
		for {
			c, _, err := unix.Accept4(l, unix.SOCK_CLOEXEC)
			switch {
			case err == unix.EINTR:
			case err != nil:
				return
			default:
				answer(c)
				unix.Close(c)
			}
		}
	}()
	return nil
}

// ask connects, and takes what the service says.
func (in *Inside) ask(domain int, to unix.Sockaddr) error {
	fd, err := Call(unix.SYS_SOCKET, uintptr(domain), unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	if err := unix.Connect(int(fd), to); err != nil {
		return Failed(err)
	}
	buf := make([]byte, 64)
	n, err := unix.Read(int(fd), buf)
	if err != nil {
		return Failed(err)
	}
	in.Take(buf[:n])
	return nil
}
