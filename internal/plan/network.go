package plan

import (
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// loopback brings lo up in a private network namespace, netdevice(7). IPv6's
// ::1 comes with it.
func (b *builder) loopback() {
	if !b.policy.Unshare.Net || b.policy.Network != policy.NetworkPrivate {
		return
	}
	b.begin(Step{Process: Init, Name: "loopback", Kind: KindLoopback, Origin: b.policy.Origins["network.mode"]})
	ifreq := &Data{Bytes: make([]byte, 40), Align: 8, Text: `{ifr_name="lo", ifr_flags=IFF_UP|IFF_RUNNING}`}
	copy(ifreq.Bytes, "lo")
	ifreq.Bytes[16] = unix.IFF_UP | unix.IFF_RUNNING
	fd := b.tmp("socket")
	b.op(SysSocket, named("AF_INET", unix.AF_INET), Flags(Const{"SOCK_DGRAM", unix.SOCK_DGRAM}, Const{"SOCK_CLOEXEC", unix.SOCK_CLOEXEC}), Num(0)).to(fd)
	b.op(SysIoctl, Slot(fd), named("SIOCSIFFLAGS", unix.SIOCSIFFLAGS), Ref(ifreq))
	b.op(SysClose, Slot(fd))
}
