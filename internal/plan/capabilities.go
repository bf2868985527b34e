package plan

import (
	"encoding/binary"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// lastCap is the highest capability that is dropped from the bounding set; a
// kernel that knows fewer answers EINVAL, which is as good.
const lastCap = unix.CAP_LAST_CAP

// secureBits of a sandbox without capabilities, capabilities(7): uid 0 inside
// means nothing, and none of this can be undone. All bits but SECBIT_KEEP_CAPS.
const secureBits = 0xef

// limitCapabilities makes sure that the command can never have more than the
// policy keeps: the bounding set, and securebits where it keeps nothing.
func (b *builder) limitCapabilities() {
	if b.argv() != nil {
		b.begin(Step{Process: Command, Name: "capability bounds", Kind: KindCapabilities})
		b.boundCapabilities()
		return
	}
	if b.leavesCapabilities() && !b.ownUsers() {
		return
	}
	b.begin(Step{Process: Command, Name: "capability bounds", Kind: KindCapabilities, Origin: b.capabilityOrigin()})
	b.bound(CapabilitySet(b.policy.Capabilities))
}

// dropCapabilities sets the other sets: inheritable, permitted, effective and
// ambient hold exactly what the policy keeps.
func (b *builder) dropCapabilities() {
	if b.argv() != nil {
		kept := b.label()
		b.begin(Step{Process: Command, Name: "capabilities", Kind: KindCapabilities})
		b.ifEqual(Slot(b.said.keep), every, Num(1), kept)
		b.setCapabilities(0, 0)
		b.mark(kept)
		return
	}
	if b.leavesCapabilities() {
		return
	}
	keep := CapabilitySet(b.policy.Capabilities)
	b.begin(Step{Process: Command, Name: "capabilities", Kind: KindCapabilities, Origin: b.capabilityOrigin()})
	b.setCapabilities(keep, keep)
	for c := uint64(0); c <= lastCap; c++ {
		if keep&(1<<c) != 0 {
			b.op(SysPrctl, named("PR_CAP_AMBIENT", unix.PR_CAP_AMBIENT), named("PR_CAP_AMBIENT_RAISE", unix.PR_CAP_AMBIENT_RAISE), capArg(c), Num(0), Num(0))
		}
	}
}

func (b *builder) capabilityOrigin() string {
	for _, c := range b.policy.Capabilities {
		if o := b.policy.Origins["capabilities."+c]; o != "" {
			return o
		}
	}
	return b.policy.Origins["capabilities"]
}

// initCapabilities is what pid 1 keeps: nothing, unless it must signal a
// command that runs as somebody else.
func (b *builder) initCapabilities() uint64 {
	u := b.policy.User
	if b.join != nil && u.Mode == policy.UserSingle {
		return 1 << unix.CAP_KILL
	}
	if (u.Mode == policy.UserSingle && !b.policy.Unshare.User) || u.Mode == policy.UserRanges {
		return 1 << unix.CAP_KILL
	}
	return 0
}

// bound needs CAP_SETPCAP: of the new user namespace, or the caller's own. A
// caller without either can gain nothing anyway once no_new_privs is set. Who will
// start an executable nobody knows: it tries.
func (b *builder) bound(keep uint64) {
	certain := b.ownUsers() || b.has(unix.CAP_SETPCAP)
	if !certain && !b.builds() {
		return
	}
	b.dropBounding(capsArg(keep))
	if keep == 0 {
		call := b.op(SysPrctl, named("PR_SET_SECUREBITS", unix.PR_SET_SECUREBITS), Num(secureBits), Num(0), Num(0), Num(0))
		if !certain || b.argv() != nil {
			call.ignoring()
		}
	}
}

func (b *builder) setCapabilities(keep, inheritable uint64) {
	b.op(SysPrctl, named("PR_CAP_AMBIENT", unix.PR_CAP_AMBIENT), named("PR_CAP_AMBIENT_CLEAR_ALL", unix.PR_CAP_AMBIENT_CLEAR_ALL), Num(0), Num(0), Num(0)).ignoring()
	b.op(SysCapset, Ref(capHeader), Ref(capData(keep, inheritable)))
}

// dropBounding drops every capability but the set keep from the bounding set.
func (b *builder) dropBounding(keep Arg) {
	c := b.tmp("capability")
	next := b.label()
	b.set(c, Num(0))
	loop := b.here()
	if keep != Num(0) {
		kept := b.tmp("kept")
		b.op(Alu, keep, Slot(c), Num(1), Num(0), Num(0)).to(kept)
		b.ifEqual(Slot(kept), ^uint64(0), Num(1), next)
	}
	b.op(SysPrctl, named("PR_CAPBSET_DROP", unix.PR_CAPBSET_DROP), Slot(c), Num(0), Num(0), Num(0)).ignoring()
	b.mark(next)
	b.advance(c, 1)
	b.op(Branch, Slot(c), Num(^uint64(0)), Num(lastCap+1), Num(CondLess)).then(loop).orElse(Following)
}

var capHeader = &Data{
	Bytes: []byte{0x22, 0x05, 0x08, 0x20, 0, 0, 0, 0}, Align: 4,
	Text: "{_LINUX_CAPABILITY_VERSION_3, 0}",
}

// capData is the two struct __user_cap_data_struct of capset(2).
func capData(keep, inheritable uint64) *Data {
	d := &Data{Bytes: make([]byte, 24), Align: 4}
	le := binary.LittleEndian
	for i := 0; i < 2; i++ {
		low, inh := uint32(keep>>(32*i)), uint32(inheritable>>(32*i))
		le.PutUint32(d.Bytes[12*i:], low)
		le.PutUint32(d.Bytes[12*i+4:], low)
		le.PutUint32(d.Bytes[12*i+8:], inh)
	}
	d.Text = "{effective=permitted=" + capText(keep) + ", inheritable=" + capText(inheritable) + "}"
	return d
}

// CapabilityText is a set of capabilities by their names.
func CapabilityText(set uint64) string { return capText(set) }

func capText(set uint64) string {
	if set == 0 {
		return "0"
	}
	var s []string
	for c := uint64(0); c <= lastCap; c++ {
		if set&(1<<c) != 0 {
			s = append(s, capNames[c])
		}
	}
	return strings.Join(s, "|")
}

// CapabilityNames are the names of a set's capabilities, as a policy has them.
func CapabilityNames(set uint64) []string {
	var names []string
	for c := range capNames {
		if set&(1<<c) != 0 {
			names = append(names, capNames[c])
		}
	}
	return names
}

// capsArg is a set of them.
func capsArg(set uint64) Arg {
	if set == 0 {
		return Num(0)
	}
	return named(capText(set), set)
}

func capArg(c uint64) Arg { return named(capNames[c], c) }

// CapabilitySet is the set of the named capabilities; policy.Validate has
// refused unknown names.
func CapabilitySet(names []string) uint64 {
	var set uint64
	for _, n := range names {
		n = strings.ToUpper(n)
		if !strings.HasPrefix(n, "CAP_") {
			n = "CAP_" + n
		}
		for c := range capNames {
			if capNames[c] == n {
				set |= 1 << c
			}
		}
	}
	return set
}

var capNames = [lastCap + 1]string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
	"CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
	"CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE",
	"CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME",
	"CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP",
	"CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ",
	"CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
}
