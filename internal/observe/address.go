package observe

import (
	"encoding/binary"
	"net/netip"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/learn"
	"github.com/cloche-sandbox/cloche/policy"
)

// maxAddresses is how many are kept.
const maxAddresses = 256

// Addresses are those that a command connected to, sent to or bound.
type Addresses struct {
	list  []Address
	bound map[uint16]bool // ports that it served itself, on any address; 0: one that the kernel chose
}

// Address is one of them.
type Address struct {
	Text    string // "192.0.2.1:443", or "@name" of an abstract socket
	Program string // that used it first
	Bound   bool   // it was a server's

	abstract bool
	at       netip.AddrPort
}

// All are the addresses, in the order in which they were used.
func (a *Addresses) All() []Address { return slices.Clone(a.list) }

// Network is the least network that has all addresses, and the one of them that
// asks for it; none is policy.NetworkNone.
func (a *Addresses) Network() (n policy.Network, because Address) {
	n = policy.NetworkNone
	for _, x := range a.list {
		local := x.at.Addr().IsLoopback() || x.at.Addr().IsUnspecified()
		switch {
		case x.abstract && (x.Bound || a.has(x.Text)):
			// Of the network namespace, and made by the command itself.
		case !x.abstract && local && (x.Bound || a.bound[x.at.Port()] || a.bound[0] || x.at.Port() == 0):
			if n == policy.NetworkNone {
				n, because = policy.NetworkPrivate, x
			}
		default:
			return policy.NetworkHost, x
		}
	}
	return n, because
}

func (a *Addresses) has(bound string) bool {
	return slices.ContainsFunc(a.list, func(x Address) bool { return x.Bound && x.Text == bound })
}

func (a *Addresses) add(x Address) {
	if x.Bound && !x.abstract {
		if a.bound == nil {
			a.bound = map[uint16]bool{}
		}
		a.bound[x.at.Port()] = true
	}
	same := func(y Address) bool { return y.Text == x.Text && y.Bound == x.Bound }
	if len(a.list) < maxAddresses && !slices.ContainsFunc(a.list, same) {
		a.list = append(a.list, x)
	}
}

// lookAtAddress notes the address of a call that has one.
func (t *target) lookAtAddress(o *Observer, name string) {
	args := t.n.Data.Args
	addr, length := args[1], args[2]
	switch name {
	case "connect", "bind":
	case "sendto":
		addr, length = args[4], args[5]
	case "sendmsg", "sendmmsg":
		// struct msghdr begins with msg_name and msg_namelen.
		var header [16]byte
		m, ok := t.mem()
		if !ok {
			return
		}
		if _, err := m.ReadAt(header[:], int64(addr)); err != nil {
			return // EFAULT
		}
		addr, length = binary.NativeEndian.Uint64(header[:]), uint64(binary.NativeEndian.Uint32(header[8:]))
	default:
		return
	}
	length = uint64(uint32(length))
	if addr == 0 || length < 2 || length > unix.SizeofSockaddrAny+16 {
		return
	}
	m, ok := t.mem()
	if !ok {
		return
	}
	sa := make([]byte, length)
	if _, err := m.ReadAt(sa, int64(addr)); err != nil {
		return
	}
	x := Address{Program: t.program, Bound: name == "bind"}
	switch family := binary.NativeEndian.Uint16(sa); {
	case family == unix.AF_INET && length >= 8:
		x.at = netip.AddrPortFrom(netip.AddrFrom4([4]byte(sa[4:8])), binary.BigEndian.Uint16(sa[2:]))
	case family == unix.AF_INET6 && length >= 24:
		x.at = netip.AddrPortFrom(netip.AddrFrom16([16]byte(sa[8:24])).Unmap(), binary.BigEndian.Uint16(sa[2:]))
	case family == unix.AF_UNIX && length > 2 && sa[2] == 0:
		x.abstract, x.Text = true, "@"+string(sa[3:])
	case family == unix.AF_UNIX && length > 2:
		text, _, _ := strings.Cut(string(sa[2:]), "\x00")
		t.socket(o, text, x.Bound)
		return
	default:
		return
	}
	if !x.abstract {
		x.Text = x.at.String()
	}
	o.Addresses.add(x)
}

// socket notes a UNIX socket that has a path.
func (t *target) socket(o *Observer, text string, bound bool) {
	name, ok := t.absolute(unix.AT_FDCWD, text)
	if !ok {
		return
	}
	if bound {
		if parent, ok := t.find(path.Dir(path.Clean(name)), false); ok && t.valid() {
			o.Files.Add(path.Join(parent.real, path.Base(name)), learn.Make, t.program)
		}
		return
	}
	found, exists := t.find(name, false)
	switch {
	case !t.valid():
	case exists:
		o.Files.Add(found.real, learn.Read, t.program)
		o.Files.Add(name, learn.Read, t.program)
	default:
		o.Files.Add(name, learn.Looked, t.program)
	}
}
