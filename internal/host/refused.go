package host

import (
	"os"

	"golang.org/x/sys/unix"
)

// WhyNoNamespaces looks for what of this host made clone(2) of namespaces, a user namespace
// among them, fail with e, as Doctor does. cause is "" where nothing is recognised.
func WhyNoNamespaces(e unix.Errno) (cause, remedy string) {
	s := lookAround()
	switch {
	case sysctlIs("user.max_user_namespaces", 0),
		e == unix.EPERM && (s.chrooted || s.filtered || os.Geteuid() != 0 && sysctlIs("kernel.unprivileged_userns_clone", 0)),
		e == unix.EACCES && s.apparmor != "",
		s.restricted():
		return s.whyNoUserNamespace(e, "clone", false)
	}
	return "", ""
}

// WhyNoRights is the same for what the root of a user namespace that could be made was
// refused with e.
func WhyNoRights(e unix.Errno) (cause, remedy string) {
	s := lookAround()
	switch {
	case (e == unix.EPERM || e == unix.EACCES) && s.restricted():
		return s.whyNoUserNamespace(e, "clone", true)
	case e == unix.EPERM && s.noSetfcap():
		return s.whyNoUserNamespace(e, "clone", false)
	}
	return "", ""
}

// WhyNoMount is the same for a mount.
func WhyNoMount(e unix.Errno) (cause, remedy string) {
	if cause, remedy = WhyNoRights(e); cause != "" {
		return cause, remedy
	}
	s := lookAround()
	if e == unix.EPERM && s.filtered || (e == unix.EPERM || e == unix.EACCES) && s.apparmor != "" {
		return s.whyNoMount(result{err: &failure{"mount", e}}, 0)
	}
	return "", ""
}

// noSetfcap reports whether this is a root who may not map itself into a user namespace.
func (surroundings) noSetfcap() bool {
	caps, err := effective()
	return err == nil && os.Geteuid() == 0 && caps&(1<<unix.CAP_SETFCAP) == 0
}

// restricted reports whether AppArmor takes the rights from user namespaces of programs
// without a profile, and this is one.
func (s surroundings) restricted() bool {
	return sysctlIs("kernel.apparmor_restrict_unprivileged_userns", 1) && os.Geteuid() != 0 && s.apparmor == ""
}
