package plan

import (
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// startNetwork has a process beside pid 1 make the network namespace: that takes
// the kernel as long as half of all the rest, and costs no time at all where there
// is a second processor. The two share their descriptors. The namespace's comes
// to lie on one that pid 1 opened before, so that both know its number.
func (b *builder) startNetwork() {
	b.when(b.policy.Unshare.Net && !b.atOnce(), b.said.net, b.startMaker)
}

func (b *builder) startMaker() {
	b.netns, b.netMaker = b.newVar("netns"), b.newVar("maker")
	fd, on := b.tmp("socket"), b.label()
	b.checkProc(b.netns) // here, so that of the two pid 1 alone reports a false one
	b.begin(Step{Process: Init, Name: "start the network's maker", Kind: KindClone})
	b.op(SysClone, Flags(cCloneFiles, cSigchld), null, null, null, null).to(b.netMaker)
	b.unlessEqual(Slot(b.netMaker), ^uint64(0), Num(0), on)

	b.begin(Step{Process: Network, Name: "network namespace", Kind: KindClone, Origin: b.policy.Origins["network.mode"]})
	b.op(SysUnshare, named("CLONE_NEWNET", unix.CLONE_NEWNET))
	b.loopback(Network)
	b.op(SysOpenat, Slot(b.netns), b.str("self/ns/net"), Flags(cRdonly, cCloexec), Num(0)).to(fd)
	b.op(SysDup3, Slot(fd), Slot(b.netns), Flags(cCloexec))
	b.op(SysClose, Slot(fd))
	b.op(SysExitGroup, Num(0))
	b.mark(on)
}

// loopback brings lo up in a private network namespace, netdevice(7). IPv6's
// ::1 comes with it.
func (b *builder) loopback(by Process) {
	if b.policy.Network != policy.NetworkPrivate {
		return
	}
	b.begin(Step{Process: by, Name: "loopback", Kind: KindLoopback, Origin: b.policy.Origins["network.mode"]})
	ifreq := &Data{Bytes: make([]byte, 40), Align: 8, Text: `{ifr_name="lo", ifr_flags=IFF_UP|IFF_RUNNING}`}
	copy(ifreq.Bytes, "lo")
	ifreq.Bytes[16] = unix.IFF_UP | unix.IFF_RUNNING
	fd := b.tmp("socket")
	b.op(SysSocket, named("AF_INET", unix.AF_INET), Flags(cSockDgram, cSockCloexec), Num(0)).to(fd)
	b.op(SysIoctl, Slot(fd), named("SIOCSIFFLAGS", unix.SIOCSIFFLAGS), Ref(ifreq))
	b.op(SysClose, Slot(fd))
}

// enterNetwork waits for the namespace and enters it, setns(2).
func (b *builder) enterNetwork() { b.when(b.policy.Unshare.Net, b.said.net, b.joinNetwork) }

func (b *builder) joinNetwork() {
	if b.atOnce() {
		b.loopback(Init)
		return
	}
	b.begin(Step{Process: Init, Name: "enter the network namespace", Kind: KindClone})
	status := buffer("status", 8)
	n := b.tmp("n")
	made := b.label()
	b.op(SysWait4, Slot(b.netMaker), Ref(status), Num(0), null).retryOn(int(unix.EINTR))
	b.op(Load, Ref(status), Num(4)).to(n)
	b.ifEqual(Slot(n), ^uint64(0), Num(0), made)
	b.op(SysExitGroup, Num(125)) // its maker has said why
	b.mark(made)
	b.op(SysSetns, Slot(b.netns), named("CLONE_NEWNET", unix.CLONE_NEWNET))
	b.op(SysClose, Slot(b.netns))
}
