package host

import (
	"context"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Doctor finds out, by trying, which of what Cloche uses works for this user
// here. It starts /proc/self/exe with ProbeArg some twenty times, so the
// program has to call ProbeMain for that argument; it takes some 100 ms. Packages that
// know more (cgroups, the whole sandbox) append rows of their own.
func Doctor(ctx context.Context) []Row {
	d := &doctor{facts: quick(), around: lookAround()}
	d.prober = prober{ctx: ctx, flags: unix.CLONE_NEWUSER}
	d.rows = append(d.rows, ok("host", "kernel", d.facts.Kernel+" "+runtime.GOARCH))
	d.procfs()
	d.userNamespaces()
	d.namespaces()
	d.mounts()
	d.landlock()
	d.seccomp()
	d.processes()
	d.memfd()
	d.idRanges()
	d.tun()
	d.modules()
	return d.rows
}

func quick() Facts {
	f, _ := Quick()
	return f
}

// doctor collects the rows.
type doctor struct {
	prober
	facts  Facts
	around surroundings
	rows   []Row
	users  bool // user namespaces work
	mount  bool // mounts work in a namespace
}

func (d *doctor) add(r Row) { d.rows = append(d.rows, r) }

// procfs is what everything else is started through.
func (d *doctor) procfs() {
	if fileExists("/proc/self/exe") {
		d.add(ok("host", "procfs on /proc", "").required())
		return
	}
	d.add(missing("host", "procfs on /proc", "no proc file system is mounted at /proc, so nothing below could be tried", "mount -t proc proc /proc").required())
}

func (d *doctor) userNamespaces() {
	const group, name = "namespaces", "user namespaces"
	r := d.in(0, "nothing")
	made := r.err == nil
	if made {
		r = d.in(unix.CLONE_NEWUTS, "privileges")
	}
	if d.users = r.err == nil; d.users {
		d.add(ok(group, name, "").required())
		return
	}
	cause, remedy := d.around.whyNoUserNamespace(r.errno(), r.err.op, made)
	if d.facts.CapEff&(1<<unix.CAP_SYS_ADMIN) != 0 {
		remedy += "; as root a policy can do without: --share user"
		d.flags = 0 // the rest is tried without
	}
	d.add(missing(group, name, cause, remedy).required())
}

// namespaces tries each other kind.
func (d *doctor) namespaces() {
	const group = "namespaces"
	for _, k := range [...]struct {
		name, sysctl, config string
		flag                 uintptr
	}{
		{"mount", "user.max_mnt_namespaces", "", unix.CLONE_NEWNS},
		{"pid", "user.max_pid_namespaces", "CONFIG_PID_NS", unix.CLONE_NEWPID},
		{"network", "user.max_net_namespaces", "CONFIG_NET_NS", unix.CLONE_NEWNET},
		{"ipc", "user.max_ipc_namespaces", "CONFIG_IPC_NS", unix.CLONE_NEWIPC},
		{"uts", "user.max_uts_namespaces", "CONFIG_UTS_NS", unix.CLONE_NEWUTS},
		{"cgroup", "user.max_cgroup_namespaces", "CONFIG_CGROUPS", unix.CLONE_NEWCGROUP},
		{"time", "user.max_time_namespaces", "CONFIG_TIME_NS", unix.CLONE_NEWTIME},
	} {
		var r result
		switch k.flag {
		case unix.CLONE_NEWTIME: // clone(2) has no room for it
			r = d.in(0, "time")
		case unix.CLONE_NEWNET:
			r = d.in(k.flag, "loopback")
		default:
			r = d.in(k.flag, "nothing")
		}
		row := ok(group, k.name+" namespaces", "")
		if r.err != nil {
			cause, remedy := d.whyNoNamespace(r, k.sysctl, k.config)
			row = missing(group, k.name+" namespaces", cause, remedy)
		}
		row.Required = k.flag != unix.CLONE_NEWTIME
		d.add(row)
	}
}

func (d *doctor) whyNoNamespace(r result, limit, config string) (cause, remedy string) {
	switch e := r.errno(); {
	case sysctlIs(limit, 0):
		return limit + " allows no more of them", "as root: raise it with sysctl -w " + limit + "=15000"
	case !d.users && d.flags != 0: // whatever the errno is: it is that one's
		return "they need a user namespace, or root", "see user namespaces"
	case e == unix.ENOSPC:
		return limit + " allows no more of them", "as root: raise it with sysctl -w " + limit + "=15000"
	case e == unix.EINVAL:
		return "this kernel is built without them (" + config + ")", "use a kernel that has them"
	default:
		return d.around.whyNoUserNamespace(e, r.err.op, true)
	}
}

func (d *doctor) mounts() {
	const group, name = "mounts", "mounts by file descriptor"
	api := d.facts.MountAPI
	r := d.in(unix.CLONE_NEWNS, "mount")
	d.mount = r.err == nil
	switch {
	case r.err == nil && !api.MountSetattr:
		d.add(limited(group, name, "open_tree, move_mount; without mount_setattr", "there is no system call mount_setattr here: the kernel is older than 5.12, or a filter hides it. Instead every mount below a bind is restricted on its own, by mount(2)", "nothing has to be done; from Linux 5.12 on it is one call for a whole tree").required())
	case r.err == nil:
		d.add(ok(group, name, "open_tree, mount_setattr, move_mount").required())
	case !api.usable():
		d.add(missing(group, name, "there is no system call "+strings.Join(api.Missing(), " nor ")+" here: the kernel is older than 5.2, or a filter hides it", "use Linux 5.9 or later, better 5.12; in a container allow the calls").required())
	case !d.users && d.flags != 0:
		d.add(missing(group, name, "they need a user namespace, or root", "see user namespaces").required())
	default:
		cause, remedy := d.around.whyNoMount(r, d.facts.LandlockABI)
		d.add(missing(group, name, cause, remedy).required())
	}
	d.mountProc()
	d.dependent(group, "overlay file systems", "overlay", unix.EPERM, "this kernel lets no user namespace mount an overlay (Linux 5.11)", "use Linux 5.11 or later, or run as root")
	d.dependent(group, "mounts with mapped ids", "idmap", unix.EINVAL, "this kernel can't map the ids of a tmpfs in a user namespace (Linux 6.3)", "only policies that show files under other owners need it; use Linux 6.3 or later, or run as root")
}

// mountProc tells a masked /proc from the other causes.
func (d *doctor) mountProc() {
	const group, name = "mounts", "a fresh /proc"
	r := d.in(unix.CLONE_NEWNS|unix.CLONE_NEWPID, "proc")
	switch {
	case r.err == nil && r.detail == "":
		d.add(limited(group, name, "", "this kernel can't show the processes alone (subset=pid, Linux 5.8)", "only policies that ask for it need it; use Linux 5.8 or later").required())
	case r.err == nil:
		d.add(ok(group, name, r.detail).required())
	default:
		cause, remedy := d.whyNoProc(r)
		d.add(missing(group, name, cause, remedy).required())
	}
}

func (d *doctor) whyNoProc(r result) (cause, remedy string) {
	if cause, remedy, ok := d.earlier(r, "see pid namespaces"); ok {
		return cause, remedy
	}
	switch e := r.errno(); {
	case e == unix.EPERM && coveredProc():
		return "this host's own /proc has parts masked or read-only (as in most containers), and the kernel lets nobody make a fuller one than they see",
			"start the surrounding container with an unmasked /proc (docker run --security-opt systempaths=unconfined, podman run --security-opt unmask=ALL), or show its own: --share pid --read /proc"
	case e == unix.EPERM && d.around.filtered:
		return d.around.whyNoMount(r, 0)
	case e == unix.EPERM:
		return "the kernel lets nobody make a fuller /proc than they see, and no mount of it is seen whole here (" + r.err.op + ")",
			"mount one outside (mount -t proc proc /proc), or show its own: --share pid --read /proc"
	}
	return r.err.op + ": " + errnoText(r.errno()), "look for a denial in the kernel's log (dmesg)"
}

// coveredProc reports whether something is mounted over a part of /proc.
func coveredProc() bool {
	b, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], "/proc/") {
			return true
		}
	}
	return false
}

// earlier explains a row by one that it builds on: where that does not work, its
// own probe never came to what the row is about.
func (d *doctor) earlier(r result, namespaces string) (cause, remedy string, ok bool) {
	switch {
	case !d.users && d.flags != 0:
		return "they need a user namespace, or root", "see user namespaces", true
	case strings.HasPrefix(r.err.op, "starting a process"):
		return "the namespaces for it can't be made (" + r.err.op + ")", namespaces, true
	case !d.mount:
		return "nothing can be mounted here (" + r.err.op + ")", "see mounts by file descriptor", true
	}
	return "", "", false
}

// secondUserNamespace begins what the probe of mapped ids says when it can't make
// the namespace whose ids it maps.
const secondUserNamespace = "a second user namespace"

// dependent is a row about something that mounts have to work for. old is what
// a kernel that is too old answers.
func (d *doctor) dependent(group, name, probe string, old unix.Errno, cause, remedy string) {
	r := d.in(unix.CLONE_NEWNS, probe)
	if r.err == nil {
		d.add(ok(group, name, ""))
		return
	}
	own := cause + " (" + r.err.op + ")"
	if c, m, found := d.earlier(r, "see mount namespaces"); found {
		d.add(missing(group, name, c, m))
		return
	}
	e := r.errno()
	switch {
	case e == unix.ENODEV:
		cause, remedy = "this kernel does not have the file system, or its module is not loaded", "as root: modprobe "+probe
	case e == unix.ENOSYS:
		cause, remedy = "there is no such system call here ("+r.err.op+"): the kernel is older, or a filter hides it", "use Linux 5.12 or later; in a container allow the calls"
	case strings.HasPrefix(r.err.op, secondUserNamespace):
		cause, remedy = d.around.whyNoUserNamespace(e, r.err.op, false)
	case e == unix.EPERM && d.around.filtered || (e == unix.EPERM || e == unix.EACCES) && d.around.apparmor != "":
		cause, remedy = d.around.whyNoMount(r, 0)
	case e == old:
		cause = own
	default:
		cause, remedy = r.err.op+": "+errnoText(e), "look for a denial in the kernel's log (dmesg)"
	}
	d.add(missing(group, name, cause, remedy))
}

func (d *doctor) modules() {
	const group, name = "host", "security modules"
	b, err := os.ReadFile("/sys/kernel/security/lsm")
	if err != nil {
		d.add(limited(group, name, "", "the list can't be read: securityfs is not mounted here, or hidden", "as root: mount -t securityfs securityfs /sys/kernel/security"))
		return
	}
	detail := strings.TrimSpace(string(b))
	if d.around.apparmor != "" {
		detail += "; this process: AppArmor profile " + d.around.apparmor
	}
	d.add(ok(group, name, detail))
}
