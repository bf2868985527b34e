package oci

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// rtnetlink is a socket for rtnetlink(7). What it needs are five messages; attributes of addresses
// are passed on as the kernel gave them, so that none gets lost for not being known here.
type rtnetlink struct {
	fd  int
	seq uint32
}

// networkLink is a network interface.
type networkLink struct {
	index     int32
	name      string
	up        bool
	addresses []networkAddress
}

// networkAddress is an address of one: struct ifaddrmsg, and its attributes.
type networkAddress struct {
	header     [unix.SizeofIfAddrmsg]byte
	attributes []syscall.NetlinkRouteAttr
}

func openRtnetlink() (*rtnetlink, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket (AF_NETLINK)", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("connect (AF_NETLINK)", err)
	}
	return &rtnetlink{fd: fd}, nil
}

func (r *rtnetlink) close() {
	if r != nil {
		unix.Close(r.fd)
	}
}

// attribute appends one, struct rtattr.
func attribute(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	return append(b, make([]byte, -len(value)&3)...)
}

func terminated(s string) []byte { return append([]byte(s), 0) }

// ask sends a message and returns the kernel's answers to it; its refusal is an errno.
func (r *rtnetlink) ask(kind, flags uint16, body []byte) ([]syscall.NetlinkMessage, error) {
	r.seq++
	ne := binary.NativeEndian
	b := ne.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	b = ne.AppendUint16(b, kind)
	b = ne.AppendUint16(b, flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	b = ne.AppendUint32(b, r.seq)
	b = ne.AppendUint32(b, 0)
	if _, err := unix.Write(r.fd, append(b, body...)); err != nil {
		return nil, os.NewSyscallError("write (AF_NETLINK)", err)
	}
	var answers []syscall.NetlinkMessage
	buf := make([]byte, 64<<10) // more than the kernel puts into one
	for {
		n, err := unix.Read(r.fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, os.NewSyscallError("read (AF_NETLINK)", err)
		}
		messages, err := syscall.ParseNetlinkMessage(append([]byte(nil), buf[:n]...))
		if err != nil {
			return nil, fmt.Errorf("an answer of rtnetlink: %w", err)
		}
		for _, m := range messages {
			switch {
			case m.Header.Seq != r.seq:
			case m.Header.Type == unix.NLMSG_ERROR || m.Header.Type == unix.NLMSG_DONE:
				if len(m.Data) >= 4 {
					if e := int32(ne.Uint32(m.Data)); e < 0 {
						return nil, unix.Errno(-e)
					}
				}
				return answers, nil
			default:
				answers = append(answers, m)
			}
		}
	}
}

// ifinfo is a struct ifinfomsg.
func ifinfo(index int32, flags, change uint32) []byte {
	b := make([]byte, 4, 64)
	b = binary.NativeEndian.AppendUint32(b, uint32(index))
	b = binary.NativeEndian.AppendUint32(b, flags)
	return binary.NativeEndian.AppendUint32(b, change)
}

func (r *rtnetlink) link(name string) (networkLink, error) {
	return r.askLink(attribute(ifinfo(0, 0, 0), unix.IFLA_IFNAME, terminated(name)))
}

func (r *rtnetlink) linkAt(index int32) (networkLink, error) {
	return r.askLink(ifinfo(index, 0, 0))
}

func (r *rtnetlink) askLink(body []byte) (networkLink, error) {
	answers, err := r.ask(unix.RTM_GETLINK, 0, body)
	if err != nil {
		return networkLink{}, err
	}
	for i := range answers {
		m := &answers[i]
		if m.Header.Type != unix.RTM_NEWLINK || len(m.Data) < unix.SizeofIfInfomsg {
			continue
		}
		attributes, err := syscall.ParseNetlinkRouteAttr(m)
		if err != nil {
			return networkLink{}, err
		}
		l := networkLink{index: int32(binary.NativeEndian.Uint32(m.Data[4:])), up: binary.NativeEndian.Uint32(m.Data[8:])&unix.IFF_UP != 0}
		for _, a := range attributes {
			if a.Attr.Type == unix.IFLA_IFNAME {
				l.name = strings.TrimRight(string(a.Value), "\x00")
			}
		}
		return l, nil
	}
	return networkLink{}, unix.ENODEV
}

// addresses are those of an interface that stay: permanent, and of global scope.
func (r *rtnetlink) addresses(index int32) (all []networkAddress, err error) {
	answers, err := r.ask(unix.RTM_GETADDR, unix.NLM_F_DUMP, make([]byte, unix.SizeofIfAddrmsg))
	if err != nil {
		return nil, err
	}
	for i := range answers {
		m := &answers[i]
		if m.Header.Type != unix.RTM_NEWADDR || len(m.Data) < unix.SizeofIfAddrmsg {
			continue
		}
		a := networkAddress{header: [unix.SizeofIfAddrmsg]byte(m.Data)}
		if a.attributes, err = syscall.ParseNetlinkRouteAttr(m); err != nil {
			return nil, err
		}
		scope := a.header[3]
		if int32(binary.NativeEndian.Uint32(a.header[4:])) == index && scope == unix.RT_SCOPE_UNIVERSE && a.flags()&unix.IFA_F_PERMANENT != 0 {
			all = append(all, a)
		}
	}
	return all, nil
}

// flags are the address's IFA_F_*: the attribute has those that the header has no room for.
func (a *networkAddress) flags() uint32 {
	for _, t := range a.attributes {
		if t.Attr.Type == unix.IFA_FLAGS && len(t.Value) == 4 {
			return binary.NativeEndian.Uint32(t.Value)
		}
	}
	return uint32(a.header[2])
}

// addressChoice are the flags of an address that its owner chooses; the kernel finds the others out.
const addressChoice = unix.IFA_F_NODAD | unix.IFA_F_OPTIMISTIC | unix.IFA_F_HOMEADDRESS | unix.IFA_F_MANAGETEMPADDR | unix.IFA_F_NOPREFIXROUTE | unix.IFA_F_MCAUTOJOIN

// message is the address as it is given to an interface that has another number, and
// perhaps another name: labels of IPv4 begin with it.
func (a *networkAddress) message(index int32, was, is string) []byte {
	h := a.header
	h[2] = 0
	binary.NativeEndian.PutUint32(h[4:], uint32(index))
	b := h[:]
	for _, t := range a.attributes {
		v := t.Value
		switch t.Attr.Type {
		case unix.IFA_CACHEINFO:
			continue // it is permanent
		case unix.IFA_FLAGS:
			v = binary.NativeEndian.AppendUint32(nil, a.flags()&addressChoice)
		case unix.IFA_LABEL:
			label := strings.TrimRight(string(v), "\x00")
			if rest, ok := strings.CutPrefix(label, was); ok && (rest == "" || rest[0] == ':') {
				label = is + rest
			}
			if len(label) >= unix.IFNAMSIZ {
				continue // the name alone, which the kernel takes by itself
			}
			v = terminated(label)
		}
		b = attribute(b, t.Attr.Type, v)
	}
	return b
}

// moveTo moves an interface to another network namespace, where it has another name.
func (r *rtnetlink) moveTo(index int32, fd int, name string) error {
	b := attribute(ifinfo(index, 0, 0), unix.IFLA_NET_NS_FD, binary.NativeEndian.AppendUint32(nil, uint32(fd)))
	_, err := r.ask(unix.RTM_SETLINK, 0, attribute(b, unix.IFLA_IFNAME, terminated(name)))
	return err
}

// rename gives an interface that is down a name; of one with %d the kernel makes a number.
func (r *rtnetlink) rename(index int32, name string) error {
	_, err := r.ask(unix.RTM_SETLINK, 0, attribute(ifinfo(index, 0, 0), unix.IFLA_IFNAME, terminated(name)))
	return err
}

// configure gives an interface its addresses, and has it up where it is to be.
func (r *rtnetlink) configure(index int32, was, is string, addresses []networkAddress, up bool) error {
	for i := range addresses {
		if _, err := r.ask(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, addresses[i].message(index, was, is)); err != nil {
			return fmt.Errorf("give it its address: %w", err)
		}
	}
	if !up {
		return nil
	}
	if _, err := r.ask(unix.RTM_SETLINK, 0, ifinfo(index, unix.IFF_UP, unix.IFF_UP)); err != nil {
		return fmt.Errorf("have it up: %w", err)
	}
	return nil
}
