package attack

import (
	"os"

	"golang.org/x/sys/unix"
)

// The layers.
var (
	PIDNamespace    = &Layer{Name: "pid namespace", Off: []string{"share pid", "write /proc"}}
	IPCNamespace    = &Layer{Name: "ipc namespace", Off: []string{"share ipc"}}
	UTSNamespace    = &Layer{Name: "uts namespace", Off: []string{"share uts"}}
	NetNamespace    = &Layer{Name: "network namespace", Off: []string{"net host"}}
	UserNamespace   = &Layer{Name: "user namespace", Off: []string{"share user"}, Root: true}
	CgroupNamespace = &Layer{Name: "cgroup namespace", Off: []string{"share cgroup"}}
	Root            = &Layer{Name: "root of its own", Off: []string{"read $DIR"}}
	Seccomp         = &Layer{Name: "seccomp", Off: []string{"seccomp none"}}
	Landlock        = &Layer{Name: "Landlock", Off: []string{"landlock off"}}
	LandlockScope   = &Layer{Name: "Landlock's scope", Off: []string{"landlock off"}, Missing: noScope}
	Capabilities    = &Layer{Name: "no capabilities", Off: []string{"cap-add ALL"}, Refused: true}
	NoNewPrivs      = &Layer{Name: "no_new_privs", Step: "no new privileges"}
	NoSuid          = &Layer{Name: "nosuid", Step: "write $DIR", Call: "mount_setattr"}
	NoDev           = &Layer{Name: "nodev", Step: "write $DIR", Call: "mount_setattr"}
	ReadOnlyProc    = &Layer{Name: "read-only parts of /proc", Step: "keep /proc from changing the machine"}
	NoSys           = &Layer{Name: "no /sys", Off: []string{"write /sys"}}
	Descriptors     = &Layer{Name: "descriptors closed", Step: "close descriptors", Call: "close_range"}
	Undumpable      = &Layer{Name: "pid 1 is undumpable", Step: "protect pid 1"}
)

// noScope is a Missing: signals and abstract sockets are in Landlock's scope since ABI 6,
// Linux 6.12.
func noScope() string {
	const createRulesetVersion = 1
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, createRulesetVersion)
	if errno != 0 || abi < 6 {
		return "this kernel's Landlock has no scope of signals and sockets (ABI 6, Linux 6.12)"
	}
	return ""
}

// onlyRoot is a Needs: what an ordinary user can't do in any case.
func onlyRoot(what string) func() string {
	return func() string {
		if os.Geteuid() != 0 {
			return what
		}
		return ""
	}
}

// onlyRootMounts is a Needs: what takes CAP_SYS_ADMIN over the host's mounts.
func onlyRootMounts(what string) func() string {
	return func() string {
		if os.Geteuid() != 0 || !mayMount() {
			return what
		}
		return ""
	}
}

// withFuse is a Needs: the device, and what other says.
func withFuse(other func() string) func() string {
	return func() string {
		if _, err := os.Stat("/dev/fuse"); err != nil {
			return "this machine has no /dev/fuse"
		}
		return other()
	}
}
