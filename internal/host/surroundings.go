package host

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// surroundings is what confines this process already: it tells one cause of an
// EPERM from another.
type surroundings struct {
	chrooted   bool
	filtered   bool // a seccomp filter is on this process
	noNewPrivs bool
	apparmor   string // the profile; "": unconfined or no AppArmor
	container  string // "docker", "podman", …; "": none that is recognised
}

func lookAround() surroundings {
	var s surroundings
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		switch value = strings.TrimSpace(value); key {
		case "Seccomp":
			s.filtered = value == "2"
		case "NoNewPrivs":
			s.noNewPrivs = value == "1"
		}
	}
	// The root directory of a chroot is no mount's root (Linux 5.8 tells).
	var st unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, "/", 0, 0, &st) == nil && st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		s.chrooted = st.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0
	}
	for _, file := range []string{"/proc/self/attr/apparmor/current", "/proc/self/attr/current"} {
		if b, err := os.ReadFile(file); err == nil {
			if label := strings.TrimRight(string(b), "\n\x00"); !strings.HasPrefix(label, "unconfined") {
				s.apparmor = label
			}
			break
		}
	}
	switch {
	case fileExists("/.dockerenv"):
		s.container = "docker"
	case fileExists("/run/.containerenv"):
		s.container = "podman"
	case os.Getenv("KUBERNETES_SERVICE_HOST") != "":
		s.container = "kubernetes"
	case os.Getenv("container") != "":
		s.container = os.Getenv("container")
	}
	return s
}

func fileExists(name string) bool { return unix.Access(name, unix.F_OK) == nil }

// sysctl reads a number below /proc/sys; ok is false where there is none.
func sysctl(name string) (n int, ok bool) {
	b, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
	if err != nil {
		return 0, false
	}
	n, err = strconv.Atoi(strings.TrimSpace(string(b)))
	return n, err == nil
}

func sysctlIs(name string, want int) bool {
	n, ok := sysctl(name)
	return ok && n == want
}

// whyNoUserNamespace is the cause and the remedy for one that can't be made
// (or, with made, is without rights).
func (s surroundings) whyNoUserNamespace(e unix.Errno, op string, made bool) (cause, remedy string) {
	switch {
	case sysctlIs("user.max_user_namespaces", 0):
		return "user.max_user_namespaces is 0: an administrator has switched user namespaces off",
			"as root: sysctl -w user.max_user_namespaces=15000 (and a file in /etc/sysctl.d to keep it)"
	case sysctlIs("kernel.unprivileged_userns_clone", 0) && os.Geteuid() != 0:
		return "kernel.unprivileged_userns_clone is 0: only root may make user namespaces",
			"as root: sysctl -w kernel.unprivileged_userns_clone=1 (and a file in /etc/sysctl.d to keep it)"
	case s.restricted() && (made || e == unix.EACCES || e == unix.EPERM):
		return "AppArmor takes all rights from the user namespaces of programs without a profile (kernel.apparmor_restrict_unprivileged_userns is 1, the default of Ubuntu since 23.10)",
			"as root: put packaging/apparmor/cloche of Cloche's source into /etc/apparmor.d and load it (apparmor_parser --replace /etc/apparmor.d/cloche), or: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
	case e == unix.EACCES && s.apparmor != "":
		return "the AppArmor profile " + s.apparmor + " refuses it (" + op + ")",
			"give it the rule \"userns,\", or as root: load the profile packaging/apparmor/cloche of Cloche's source for the cloche program"
	case e == unix.ENOSPC:
		return "there are as many user namespaces as user.max_user_namespaces allows, or they are nested 32 deep",
			"as root: raise user.max_user_namespaces, or start Cloche further outside"
	case e == unix.EUSERS:
		return "user namespaces are nested 32 deep, the most the kernel allows", "start Cloche further outside"
	case e == unix.EINVAL || e == unix.ENOSYS && !s.filtered:
		return "this kernel is built without user namespaces (CONFIG_USER_NS)", "use a kernel that has them"
	case e == unix.EPERM && s.chrooted:
		return "this process is in a chroot(2), where the kernel allows no user namespaces",
			"start Cloche outside of the chroot, or enter the directory with pivot_root (systemd-nspawn, bwrap) instead"
	case e == unix.EPERM && s.noSetfcap():
		return "uid 0 has no CAP_SETFCAP here, without which it is mapped into no user namespace (Linux 5.12)",
			"start Cloche as another user than root, or what is around it with that capability (cloche run --cap-add CAP_SETFCAP), or start it outside"
	case s.filtered && s.container != "":
		return "the seccomp filter of the " + s.container + " container that this runs in refuses it (" + op + ")", s.looser()
	case s.filtered:
		return "a seccomp filter that this process was started under refuses it (" + op + ")", s.looser()
	case made:
		return "the namespace is made, and its root has no rights in it (" + op + "): a security module takes them away",
			"look for a denial in the kernel's log (dmesg, /var/log/audit), and allow user namespaces for the cloche program"
	}
	return op + ": " + errnoText(e), "look for a denial in the kernel's log (dmesg)"
}

// whyNoMount is the same for mounts inside of a namespace that otherwise works.
func (s surroundings) whyNoMount(r result, landlock int) (cause, remedy string) {
	e := r.errno()
	switch {
	case e == unix.EPERM && s.filtered:
		return "a seccomp filter that this process was started under refuses mounts (" + r.err.op + ")", s.looser()
	case (e == unix.EPERM || e == unix.EACCES) && s.apparmor != "":
		return "the AppArmor profile " + s.apparmor + " refuses mounts (" + r.err.op + ")", s.looser()
	case e == unix.EPERM && landlock > 0:
		return "a mount is refused (" + r.err.op + "), and no filter or profile says why: most likely this process is confined by Landlock, which refuses every change of mounts (landlock(7))",
			"start Cloche outside of the sandbox that this runs in"
	}
	return r.err.op, "look for a denial in the kernel's log (dmesg)"
}

// looser is how to start what is around this process so that Cloche works in it, with all
// that it needs: who is told of one hurdle at a time has to come back for each.
func (s surroundings) looser() string {
	engine, unmasked := "docker", "systempaths=unconfined"
	if s.container == "podman" {
		engine, unmasked = "podman", "unmask=ALL"
	}
	var options []string
	if s.filtered {
		options = append(options, "seccomp=unconfined")
	}
	if s.apparmor != "" {
		options = append(options, "apparmor=unconfined")
	}
	if coveredProc() {
		options = append(options, unmasked)
	}
	run := engine + " run --security-opt " + strings.Join(options, " --security-opt ")
	if s.container == "" {
		return "start Cloche outside of the sandbox that this runs in, or have that one allow clone and unshare of namespaces and the mount calls (a container: " + run + ")"
	}
	return "start the container with a filter and a profile that allow clone and unshare of namespaces and the mount calls: " + run
}

func errnoText(e unix.Errno) string {
	if e == 0 {
		return "failed"
	}
	return unix.ErrnoName(e) + ", " + e.Error()
}
