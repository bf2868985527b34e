package attack

import (
	"net"

	"golang.org/x/sys/unix"
)

// An abstract socket has no file that a mode or a mount could hide: only the network
// namespace, and Landlock's scope (ABI 6, Linux 6.12), lie between.
var abstractSocket = Attack{
	Name: "abstract-socket", Group: "network", Reference: "unix(7), network_namespaces(7)",
	Tries: "talk to a service outside through its abstract socket",
	Stops: []Stop{{NetNamespace, "ECONNREFUSED"}, {Landlock, "EPERM"}},
	Outside: func(o *Outside) error {
		name := "@cloche-attack-" + o.Secret
		o.Tell("socket", name)
		return o.serve("unix", name)
	},
	Inside: func(in *Inside) error { return in.ask(unix.AF_UNIX, &unix.SockaddrUnix{Name: in.Arg("socket")}) },
}

// What listens on the host's loopback often trusts whoever can reach it.
var loopbackService = Attack{
	Name: "loopback-service", Group: "network", Reference: "network_namespaces(7)",
	Tries:   "talk to a service on the host's loopback",
	Door:    []string{"landlock off"}, // it follows what the policy says of the network
	Stops:   []Stop{{NetNamespace, "ENETUNREACH"}},
	Outside: func(o *Outside) error { return o.serve("tcp", "127.0.0.1:0") },
	Inside: func(in *Inside) error {
		return in.ask(unix.AF_INET, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: in.Int("port")})
	},
}

// serve tells the secret to whoever connects, until the attempt is over.
func (o *Outside) serve(network, address string) error {
	l, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	o.Defer(func() { l.Close() })
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		o.TellInt("port", a.Port)
	}
	secret := o.Secret
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte(secret))
			c.Close()
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
