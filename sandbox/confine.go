package sandbox

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// Confine confines the calling program itself, for good: no_new_privs, the
// policy's Landlock rules and its seccomp filter, on every thread. What needs a
// new process - namespaces, mounts, ids, cgroups - is not done; a policy's
// Mounts are read as what may be read and written of the file system as it is.
//
// The kernel keeps credentials, filters and Landlock domains by thread. Confine
// sets them on all threads (seccomp with SECCOMP_FILTER_FLAG_TSYNC, Linux 3.17;
// Landlock by syscall.AllThreadsSyscall) and then looks at each thread in
// /proc/self/task; an error means that the program may be confined in part and
// should end. Programs that use cgo can't be confined with Landlock this way.
func Confine(p *policy.Policy) error {
	q, _, err := resolve(p, nil, os.Environ(), "")
	if err != nil {
		return err
	}
	facts, err := host.Quick()
	if err != nil {
		return err
	}
	if q.Landlock == policy.LandlockRequire && facts.LandlockABI == 0 {
		return errors.New("sandbox: confine: this kernel has no Landlock and the policy requires it; switch it on in the kernel's lsm= list, or ask for it where-available")
	}
	filter, ok := seccomp.Precompiled(q.Seccomp, runtime.GOARCH)
	if !ok && q.Seccomp != "none" && q.Seccomp != "" {
		return fmt.Errorf("sandbox: confine: there is no seccomp profile %q; use one of %s", q.Seccomp, strings.Join(seccomp.Builtins(), ", "))
	}

	if _, _, e := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); e != 0 {
		if e == syscall.ENOTSUP {
			return errors.New("sandbox: confine: a program that uses cgo can't act on all of its threads; build it with CGO_ENABLED=0, or confine a child with sandbox.Command")
		}
		return fmt.Errorf("sandbox: confine: no_new_privs: %w", e)
	}
	if q.Landlock != policy.LandlockOff && facts.LandlockABI > 0 {
		if err := landlockAllThreads(q, facts.LandlockABI); err != nil {
			return err
		}
	}
	if len(filter) > 0 {
		if err := seccomp.LoadAllThreads(filter); err != nil {
			return fmt.Errorf("sandbox: confine: %w", err)
		}
	}
	return checkThreads(len(filter) > 0)
}

// landlockAllThreads makes one ruleset and has every thread enter it.
func landlockAllThreads(p *policy.Policy, abi int) error {
	attr, rules := plan.LandlockRules(p, abi)
	fd, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, addressOf(attr), uintptr(len(attr)), 0)
	runtime.KeepAlive(attr)
	if e != 0 {
		return fmt.Errorf("sandbox: confine: landlock_create_ruleset: %w", e)
	}
	defer unix.Close(int(fd))
	for _, r := range rules {
		if err := landlockPath(int(fd), r); err != nil {
			return err
		}
	}
	if _, _, e := syscall.AllThreadsSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); e != 0 {
		return fmt.Errorf("sandbox: confine: landlock_restrict_self: %w", e)
	}
	return nil
}

func landlockPath(ruleset int, r plan.LandlockRule) error {
	parent, err := unix.Open(r.Path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		if r.Optional && errors.Is(err, unix.ENOENT) {
			return nil
		}
		return fmt.Errorf("sandbox: confine: %s: %w; correct the policy's path", r.Path, err)
	}
	defer unix.Close(parent)
	access := r.Access
	var st unix.Stat_t
	if err := unix.Fstat(parent, &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		access &= plan.LandlockFileRights
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(parent)}
	if _, _, e := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH, pointerTo(&rule), 0, 0, 0); e != 0 {
		return fmt.Errorf("sandbox: confine: landlock_add_rule %s: %w", r.Path, e)
	}
	return nil
}

// checkThreads looks at every thread: the claim is about all of them.
func checkThreads(filtered bool) error {
	tids, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("sandbox: confine: the threads can't be checked: %w", err)
	}
	for _, t := range tids {
		if _, err := strconv.Atoi(t.Name()); err != nil {
			continue
		}
		status, err := os.ReadFile("/proc/self/task/" + t.Name() + "/status")
		if err != nil {
			if errors.Is(err, os.ErrNotExist) {
				continue // ended meanwhile
			}
			return fmt.Errorf("sandbox: confine: thread %s can't be checked: %w", t.Name(), err)
		}
		want := []string{"NoNewPrivs:\t1"}
		if filtered {
			want = append(want, "Seccomp:\t2")
		}
		for _, w := range want {
			if !strings.Contains(string(status), w) {
				return fmt.Errorf("sandbox: confine: thread %s is not confined (%s is missing in its status): end the program", t.Name(), w)
			}
		}
	}
	return nil
}
