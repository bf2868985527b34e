package attack

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/seccomp"
)

// Interfaces of the kernel that every user may reach and hardly any program needs. Each
// has been the way into it, or undoes a protection; the filter alone keeps them away.

var (
	userfaultFD = refusedCall("userfaultfd", "userfaultfd(2)", "stop the kernel in the middle of a copy, to win a race against it",
		unix.SYS_USERFAULTFD, 1|unix.O_CLOEXEC) // UFFD_USER_MODE_ONLY: without privilege
	sessionKeyring = refusedCall("keyctl", "keyctl(2), CVE-2016-0728", "find the caller's session keyring, which no namespace holds apart",
		unix.SYS_KEYCTL, unix.KEYCTL_GET_KEYRING_ID, keySpecSession, 0)
	readImpliesExec = refusedCall("personality-read-implies-exec", "personality(2) READ_IMPLIES_EXEC", "make all readable memory executable",
		unix.SYS_PERSONALITY, 0x0400000)
	noRandomization = func() Attack {
		a := refusedCall("personality-no-randomize", "personality(2) ADDR_NO_RANDOMIZE", "have the programs that one executes at the same addresses every time",
			unix.SYS_PERSONALITY, 0x0040000)
		a.Granted = "@addresses" // for debuggers
		return a
	}()
	bpfMap = needsItWorks(refusedCall("bpf", "bpf(2), CVE-2021-3490, CVE-2022-23222", "make a map for programs that run in the kernel",
		unix.SYS_BPF, unix.BPF_MAP_CREATE, addressOf(&bpfAttr[0]), uintptr(len(bpfAttr))), Stop{Capabilities, "EPERM"}, Stop{UserNamespace, "EPERM"})
	perfEvent = withoutParanoia(refusedCall("perf-event", "perf_event_open(2), CVE-2013-2094", "count what the processor does",
		unix.SYS_PERF_EVENT_OPEN, addressOf(&perfAttr[0]), 0, ^uintptr(0), ^uintptr(0), 0))
	fanotify = refusedCall("fanotify", "fanotify_init(2), FAN_REPORT_FID", "watch a whole file system",
		unix.SYS_FANOTIFY_INIT, unix.FAN_REPORT_FID|unix.FAN_CLOEXEC, unix.O_RDONLY)
	ueventSocket = Attack{
		Name: "netlink-uevent", Group: "seccomp", Reference: "netlink(7) NETLINK_KOBJECT_UEVENT",
		Tries: "listen to what the kernel tells of the machine's devices",
		Stops: []Stop{{Seccomp, "EAFNOSUPPORT"}},
		Inside: func(*Inside) error {
			_, err := Call(unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_DGRAM, unix.NETLINK_KOBJECT_UEVENT)
			return err
		},
	}
	netfilterSocket = netlinkSocket("netfilter", unix.NETLINK_NETFILTER, "CVE-2022-32250", "reach the rules of the packet filter")
	xfrmSocket      = netlinkSocket("xfrm", unix.NETLINK_XFRM, "CVE-2017-16939", "reach the tables of IPsec")
	cryptoSocket    = netlinkSocket("crypto", unix.NETLINK_CRYPTO, "CVE-2026-31431", "reach the kernel's ciphers")
	packetSocket    = Attack{
		Name: "af-packet", Group: "network", Reference: "packet(7), CVE-2020-14386",
		Tries: "open a socket that sees and makes whole frames",
		Stops: []Stop{{Seccomp, "EAFNOSUPPORT"}, {Capabilities, "EPERM"}},
		Inside: func(*Inside) error {
			_, err := Call(unix.SYS_SOCKET, unix.AF_PACKET, unix.SOCK_RAW, 0)
			return err
		},
	}
	rawSocket = Attack{
		Name: "raw-socket", Group: "network", Reference: "raw(7)",
		Tries: "open a socket that forges IP packets",
		Stops: []Stop{{Capabilities, "EPERM"}},
		Inside: func(*Inside) error {
			_, err := Call(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
			return err
		},
	}
)

// netlinkSocket is an attack by a family of netlink(7) that ordinary programs have no
// use for. In a user namespace of one's own its code answers anybody.
func netlinkSocket(name string, family uintptr, reference, tries string) Attack {
	return Attack{
		Name: "netlink-" + name, Group: "seccomp", Reference: "netlink(7), " + reference, Tries: tries,
		Stops: []Stop{{Seccomp, "EAFNOSUPPORT"}},
		Needs: func() string {
			fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(family))
			if err != nil {
				return "this kernel has no netlink " + name
			}
			unix.Close(fd)
			return ""
		},
		Inside: func(*Inside) error {
			_, err := Call(unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW, family)
			return err
		},
	}
}

// bpfAttr is the beginning of union bpf_attr for an array of one number.
var bpfAttr = []byte{unix.BPF_MAP_TYPE_ARRAY, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0}

// perfAttr is a struct perf_event_attr: a software event, without the kernel's part.
var perfAttr = func() []byte {
	b := make([]byte, 112)
	b[0], b[4] = unix.PERF_TYPE_SOFTWARE, byte(len(b))
	b[40] = byte(unix.PerfBitDisabled | unix.PerfBitExcludeKernel | unix.PerfBitExcludeHv)
	return b
}()

// needsItWorks is an attack that this kernel may refuse to everybody like the caller.
func needsItWorks(a Attack, more ...Stop) Attack {
	a.Stops = append(a.Stops, more...)
	inside := a.Inside
	a.Needs = func() string {
		if err := inside(nil); err != nil {
			return "the kernel does not grant it to this user: " + err.Error()
		}
		return ""
	}
	return a
}

// withoutParanoia is an attack on perf, which distributions refuse to whoever has no capability.
func withoutParanoia(a Attack) Attack {
	a = needsItWorks(a)
	works := a.Needs
	a.Needs = func() string {
		b, _ := os.ReadFile("/proc/sys/kernel/perf_event_paranoid")
		if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && n > 2 {
			return "kernel.perf_event_paranoid keeps it from everybody without CAP_PERFMON"
		}
		return works()
	}
	return a
}

// keySpecSession is KEY_SPEC_SESSION_KEYRING, -3.
const keySpecSession = ^uintptr(2)

// refusedCall is an attack by one system call that the filter alone refuses.
func refusedCall(name, reference, tries string, nr uintptr, args ...uintptr) Attack {
	return Attack{
		Name: name, Group: "seccomp", Reference: reference, Tries: tries, Stops: []Stop{{Seccomp, "EPERM"}},
		Inside: func(*Inside) error {
			_, err := Call(nr, args...)
			return err
		},
	}
}

// Filters add up, and the strictest answer holds: one that allows everything, loaded on
// top, allows nothing more.
var filterOnTop = Attack{
	Name: "filter-on-top", Group: "seccomp", Reference: "seccomp(2)",
	Tries: "load a filter that allows everything, and make a call that was refused",
	Stops: []Stop{{Seccomp, "EPERM"}},
	Inside: func(*Inside) error {
		runtime.LockOSThread()
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return Failed(err)
		}
		all := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}}
		if err := seccomp.Load(all, 0); err != nil {
			return Failed(err)
		}
		_, err := Call(unix.SYS_USERFAULTFD, 1|unix.O_CLOEXEC)
		return err
	},
}

// A thread that was there before the filter would be free of it: the filter comes
// before the command's first instruction, so every thread has it.
var filterlessThread = Attack{
	Name: "another-thread", Group: "seccomp", Reference: "seccomp(2), pthreads(7)",
	Tries: "make a refused call on one of several threads",
	Stops: []Stop{{Seccomp, "EPERM"}},
	Inside: func(*Inside) error {
		errs := make(chan error)
		for range 8 {
			go func() {
				runtime.LockOSThread() // each its own thread, which ends with it
				_, err := Call(unix.SYS_USERFAULTFD, 1|unix.O_CLOEXEC)
				errs <- err
			}()
		}
		var err error
		for range 8 {
			if e := <-errs; e == nil {
				return nil
			} else if err = e; err == nil {
				return nil
			}
		}
		return err
	},
}

// Capabilities that are in no set can't come back: not into the ambient set
// (CVE-2022-24769 left inheritable ones), nor by securebits that let uid 0 have them.

var ambientAgain = Attack{
	Name: "ambient-capability", Group: "credentials", Reference: "capabilities(7), CVE-2022-24769",
	Tries: "raise a capability into the ambient set, so that programs executed next have it",
	Stops: []Stop{{Capabilities, "EPERM"}},
	Inside: func(*Inside) error {
		_, err := Call(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, unix.CAP_SYS_ADMIN, 0, 0)
		return err
	},
}

var permittedAgain = Attack{
	Name: "permitted-capability", Group: "credentials", Reference: "capset(2)",
	Tries: "take a capability back into the permitted and effective sets",
	Stops: []Stop{{Capabilities, "EPERM"}},
	Inside: func(*Inside) error {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		data := [2]unix.CapUserData{{Effective: 1 << unix.CAP_SYS_ADMIN, Permitted: 1 << unix.CAP_SYS_ADMIN}}
		_, err := Call(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data)))
		return err
	},
}

var secureBitsAgain = Attack{
	Name: "securebits", Group: "credentials", Reference: "PR_SET_SECUREBITS(2const)",
	Tries: "have uid 0 mean all capabilities again",
	Stops: []Stop{{Capabilities, "EPERM"}},
	Inside: func(*Inside) error {
		_, err := Call(unix.SYS_PRCTL, unix.PR_SET_SECUREBITS, 0, 0, 0, 0)
		return err
	},
}

var anotherUser = Attack{
	Name: "another-uid", Group: "credentials", Reference: "setresuid(2), user_namespaces(7)",
	Tries: "become another user, by the system call, which binds one thread",
	Stops: []Stop{{UserNamespace, "EINVAL"}, {Capabilities, "EPERM"}},
	Needs: onlyRoot("an ordinary user may not become another in any case"),
	Inside: func(*Inside) error {
		runtime.LockOSThread()
		_, err := Call(unix.SYS_SETRESUID, 12345, 12345, 12345)
		return err
	},
}
