package host

import (
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// landlockMissing is what an ABI of Landlock can't restrict yet, landlock(7).
func landlockMissing(abi int) []string {
	since := [...]struct {
		abi  int
		what string
	}{
		{2, "renaming between directories (5.19)"},
		{3, "truncating files (6.2)"},
		{4, "TCP ports (6.7)"},
		{5, "ioctl on devices (6.10)"},
		{6, "signals and abstract sockets to processes outside (6.12)"},
	}
	var missing []string
	for _, s := range since {
		if abi < s.abi {
			missing = append(missing, s.what)
		}
	}
	return missing
}

func (d *doctor) landlock() {
	const group, name = "confinement", "Landlock"
	detail := "ABI " + strconv.Itoa(d.facts.LandlockABI)
	_, _, e := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	switch {
	case e == unix.EOPNOTSUPP:
		d.add(missing(group, name, "this kernel has Landlock, and it was not switched on at boot", "add landlock to the lsm= list on the kernel's command line").required())
		return
	case e != 0:
		d.add(missing(group, name, "this kernel has no Landlock (Linux 5.13, CONFIG_SECURITY_LANDLOCK), or a filter hides it", "use a kernel that has it, or a policy with landlock where-available").required())
		return
	}
	if r := d.run(&syscall.SysProcAttr{}, "landlock"); r.err != nil {
		d.add(missing(group, name, "it is there and can't be used: "+r.err.op+" ("+errnoText(r.errno())+"); 16 domains at most can be nested", "start Cloche further outside").required())
		return
	}
	if lacks := landlockMissing(d.facts.LandlockABI); lacks != nil {
		d.add(limited(group, name, detail, "this kernel's Landlock can't restrict "+strings.Join(lacks, ", "), "the other layers (mounts, namespaces, seccomp) hold; a later kernel adds them").required())
		return
	}
	d.add(ok(group, name, detail).required())
}

// action reports whether the kernel knows an action of seccomp filters.
func action(a uint32) bool {
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&a)))
	return e == 0
}

// filterFlag reports whether the kernel knows a flag: with no filter to look
// at it says EFAULT, and EINVAL to a flag that it does not know.
func filterFlag(f uintptr) bool {
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, f, 0)
	return e == unix.EFAULT
}

func (d *doctor) seccomp() {
	const group, name = "confinement", "seccomp filters"
	if r := d.run(&syscall.SysProcAttr{}, "seccomp"); r.err != nil {
		d.add(missing(group, name, "no filter can be loaded: "+r.err.op+" ("+errnoText(r.errno())+")", "use a kernel with CONFIG_SECCOMP_FILTER; in a container allow the seccomp call").required())
	} else {
		d.add(ok(group, name, "").required())
	}
	actions := [...]struct {
		name string
		a    uint32
	}{
		{"kill-process", unix.SECCOMP_RET_KILL_PROCESS},
		{"kill-thread", unix.SECCOMP_RET_KILL_THREAD},
		{"trap", unix.SECCOMP_RET_TRAP},
		{"errno", unix.SECCOMP_RET_ERRNO},
		{"user-notif", unix.SECCOMP_RET_USER_NOTIF},
		{"trace", unix.SECCOMP_RET_TRACE},
		{"log", unix.SECCOMP_RET_LOG},
		{"allow", unix.SECCOMP_RET_ALLOW},
	}
	var have, lack []string
	for _, a := range actions {
		if action(a.a) {
			have = append(have, a.name)
		} else {
			lack = append(lack, a.name)
		}
	}
	d.list("seccomp actions", have, lack, "use Linux 5.0 or later")
	flags := [...]struct {
		name string
		f    uintptr
	}{
		{"tsync", unix.SECCOMP_FILTER_FLAG_TSYNC},
		{"log", unix.SECCOMP_FILTER_FLAG_LOG},
		{"spec-allow", unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW},
		{"new-listener", unix.SECCOMP_FILTER_FLAG_NEW_LISTENER},
		{"tsync-esrch", unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH},
		{"wait-killable-recv", unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV},
	}
	have, lack = nil, nil
	for _, f := range flags {
		if filterFlag(f.f) {
			have = append(have, f.name)
		} else {
			lack = append(lack, f.name)
		}
	}
	d.list("seccomp flags", have, lack, "use Linux 5.19 or later")
	var sizes [3]uint16
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_NOTIF_SIZES, 0, uintptr(unsafe.Pointer(&sizes))); e != 0 {
		d.add(missing(group, "seccomp notifications", "this kernel can't ask a supervisor about a call (Linux 5.0)", "use Linux 5.0 or later"))
		return
	}
	d.add(ok(group, "seccomp notifications", ""))
}

// list is a row about several things of which some may be missing.
func (d *doctor) list(name string, have, lack []string, remedy string) {
	if lack == nil {
		d.add(ok("confinement", name, strings.Join(have, ", ")))
		return
	}
	d.add(limited("confinement", name, strings.Join(have, ", "), "this kernel does not know "+strings.Join(lack, ", "), remedy))
}
