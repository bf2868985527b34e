package inspect

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// socket judges a socket. A copy of the descriptor, pidfd_getfd(2), tells its family, its
// peer and its network namespace; it takes the right to attach to the process. Without
// it, the tables of the process's network namespace tell whether the socket is in there.
func (l *look) socket(f *File) {
	f.Out, f.Why = Unknown, "where it leads can't be told without the right to attach to the process (ptrace(2))"
	if l.t.pidfd >= 0 {
		if fd, err := unix.PidfdGetfd(l.t.pidfd, f.FD, 0); err == nil {
			defer unix.Close(fd)
			// The number may have been closed and used again since its name was read.
			if link, err := l.t.readlink("fd/" + strconv.Itoa(f.FD)); err == nil && link == f.Target {
				l.copied(f, fd)
				return
			}
		}
	}
	if l.sockets == nil {
		l.sockets = l.t.socketTables()
	}
	if l.sockets[strings.TrimSuffix(strings.TrimPrefix(f.Target, "socket:["), "]")] {
		f.Why = "a socket of its own network namespace; its peer can't be told without the right to attach to the process (ptrace(2))"
	}
}

// copied judges a socket by a descriptor of it.
func (l *look) copied(f *File, fd int) {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return
	}
	own := inode(l.namespaces, "net")
	its := uint64(0)
	if ns, err := unix.IoctlRetInt(fd, unix.SIOCGSKNS); err == nil { // CAP_NET_ADMIN there
		var st unix.Stat_t
		if unix.Fstat(ns, &st) == nil {
			its = st.Ino
		}
		unix.Close(ns)
	}
	name := family(domain)
	foreign := its != 0 && own != 0 && its != own
	switch domain {
	case unix.AF_UNIX:
		l.unixPeer(f, fd)
		if foreign {
			f.Out = Yes
			f.Why += ", of another network namespace"
		}
		return
	case unix.AF_VSOCK, unix.AF_ALG:
		f.Out, f.Why = Yes, name+", which knows no network namespaces"
		return
	}
	if foreign {
		f.Out, f.Why = Yes, name+" of another network namespace"+peer(fd)
		return
	}
	f.Out, f.Why = Unknown, name+" in a network namespace of its own"+peer(fd)
	for i := range l.namespaces {
		if n := &l.namespaces[i]; n.Type == "net" && (n.Init == Yes || n.Caller == Yes) {
			f.Out, f.Why = Yes, name+" in a network that it shares"+peer(fd)
		}
	}
}

// unixPeer finds the other end of a Unix socket: who made or connected it.
func (l *look) unixPeer(f *File, fd int) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || cred.Pid <= 0 {
		f.Out, f.Why = Unknown, "AF_UNIX, not connected"
		if sa, err := unix.Getsockname(fd); err == nil {
			if u, ok := sa.(*unix.SockaddrUnix); ok && u.Name != "" {
				f.Why = "AF_UNIX, bound to " + u.Name
			}
		}
		return
	}
	pid := strconv.Itoa(int(cred.Pid))
	f.Out, f.Why = l.outside(pid), "AF_UNIX, "+l.whoIs(pid, "connected to or made by")
	if f.Out == Yes {
		f.Why += ", in another pid namespace"
	}
}

// peer is ", to ADDRESS" for a connected socket of an internet family.
func peer(fd int) string {
	sa, err := unix.Getpeername(fd)
	if err != nil {
		return ""
	}
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return fmt.Sprintf(", to %d.%d.%d.%d:%d", a.Addr[0], a.Addr[1], a.Addr[2], a.Addr[3], a.Port)
	case *unix.SockaddrInet6:
		var groups []string
		for i := 0; i < len(a.Addr); i += 2 {
			groups = append(groups, strconv.FormatUint(uint64(a.Addr[i])<<8|uint64(a.Addr[i+1]), 16))
		}
		return fmt.Sprintf(", to [%s]:%d", strings.Join(groups, ":"), a.Port)
	}
	return ""
}

func family(domain int) string {
	switch domain {
	case unix.AF_UNIX:
		return "AF_UNIX"
	case unix.AF_INET:
		return "AF_INET"
	case unix.AF_INET6:
		return "AF_INET6"
	case unix.AF_NETLINK:
		return "AF_NETLINK"
	case unix.AF_PACKET:
		return "AF_PACKET"
	case unix.AF_VSOCK:
		return "AF_VSOCK"
	case unix.AF_ALG:
		return "AF_ALG"
	}
	return "socket of family " + strconv.Itoa(domain)
}

// socketTables are the inodes of the sockets in the process's network namespace, as far as
// /proc/PID/net lists them: one that is not bound or connected is in no table of its family.
func (t *target) socketTables() map[string]bool {
	all := map[string]bool{}
	for _, table := range [...]struct {
		name  string
		field int
	}{{"unix", 6}, {"tcp", 9}, {"tcp6", 9}, {"udp", 9}, {"udp6", 9}, {"raw", 9}, {"raw6", 9}, {"netlink", 9}, {"packet", 8}} {
		text, err := t.read("net/" + table.name)
		if err != nil {
			continue // a family that the kernel lacks; or it is refused, and nothing is known
		}
		for line := range strings.Lines(text) {
			if f := strings.Fields(line); len(f) > table.field {
				all[f[table.field]] = true
			}
		}
	}
	return all
}
