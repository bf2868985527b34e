package host

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// processes are the rows about calls that start and hold processes.
func (d *doctor) processes() {
	const group = "processes"
	call := func(name, since string, there, required bool) {
		r := ok(group, name, "")
		if !there {
			r = missing(group, name, "there is no such system call here: the kernel is older than "+since+", or a filter hides it", "use Linux "+since+" or later; in a container allow the call")
		}
		r.Required = required
		d.add(r)
	}
	call("clone3", "5.3", exists(unix.SYS_CLONE3, 0, 0, 0, 0), false)
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err == nil {
		unix.Close(fd)
	}
	call("pidfd_open", "5.3", err == nil, true)
	call("close_range", "5.9", d.facts.CloseRange, true)
	call("openat2", "5.6", d.facts.Openat2, true)
}

// memfd executes a program of a hundred bytes from a sealed memory file, as
// every sandbox starts.
func (d *doctor) memfd() {
	const group, name = "processes", "programs in memory files"
	err := runInMemory()
	if err == nil {
		d.add(ok(group, name, "").required())
		return
	}
	cause, remedy := "a sealed memory file can't be executed: "+err.Error(), "look for a denial in the kernel's log (dmesg); a security module may refuse it"
	if n, found := sysctl("vm.memfd_noexec"); found && n == 2 {
		cause, remedy = "vm.memfd_noexec is 2: no memory file may be executed", "as root: sysctl -w vm.memfd_noexec=1"
	}
	d.add(missing(group, name, cause, remedy).required())
}

func runInMemory() error {
	const mfdExec = 0x10 // Linux 6.3
	fd, err := unix.MemfdCreate("cloche-probe", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|mfdExec)
	if err == unix.EINVAL {
		fd, err = unix.MemfdCreate("cloche-probe", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return fmt.Errorf("memfd_create: %w", err)
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, StaticELF(exitCode())); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	seals := unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return fmt.Errorf("F_ADD_SEALS: %w", err)
	}
	if err := exec.Command("/proc/self/fd/" + strconv.Itoa(fd)).Run(); err != nil {
		return fmt.Errorf("execve: %w", err)
	}
	return nil
}

// idRanges tries newuidmap and newgidmap on a process in a user namespace.
func (d *doctor) idRanges() {
	const group, name = "users", "ranges of ids"
	for _, tool := range []string{"newuidmap", "newgidmap"} {
		if _, err := exec.LookPath(tool); err != nil {
			d.add(missing(group, name, tool+" is not installed; only --user ranges needs it", "install the package uidmap (Debian, Ubuntu) or shadow-utils (Fedora)"))
			return
		}
	}
	r, err := SubIDs()
	if err != nil {
		d.add(missing(group, name, err.Error()+"; only --user ranges needs them", "as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 "+who(r.User, d.facts.UID)))
		return
	}
	if !d.users {
		d.add(missing(group, name, "they need a user namespace", "see user namespaces"))
		return
	}
	if err := d.tryRanges(r); err != nil {
		remedy := "check that newuidmap and newgidmap are setuid root or have the capabilities cap_setuid and cap_setgid"
		if d.around.noNewPrivs {
			remedy = "this process has no_new_privs set, so setuid programs have no effect: start Cloche from elsewhere"
		}
		d.add(missing(group, name, err.Error(), remedy))
		return
	}
	d.add(ok(group, name, fmt.Sprintf("%d user ids, %d group ids", total(r.UID), total(r.GID))))
}

func total(ranges []IDRange) (n uint64) {
	for _, r := range ranges {
		n += uint64(r.Count)
	}
	return n
}

func (d *doctor) tryRanges(r IDRanges) error {
	cmd := exec.CommandContext(d.ctx, "/proc/self/exe", ProbeArg, "wait")
	hold, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("a process in a user namespace: %w", err)
	}
	defer func() { hold.Close(); _ = cmd.Wait() }()
	for _, t := range []struct {
		tool string
		own  int
		r    IDRange
	}{{"newuidmap", d.facts.UID, r.UID[0]}, {"newgidmap", d.facts.GID, r.GID[0]}} {
		num := func(n uint64) string { return strconv.FormatUint(n, 10) }
		out, err := exec.CommandContext(d.ctx, t.tool, strconv.Itoa(cmd.Process.Pid), "0", strconv.Itoa(t.own), "1", "1", num(uint64(t.r.First)), num(uint64(t.r.Count))).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s refuses: %s (%w)", t.tool, strings.TrimSpace(string(out)), err)
		}
	}
	return nil
}

// tun is what a network of the sandbox's own with a way out is built on.
func (d *doctor) tun() {
	const group, name = "network", "/dev/net/tun"
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case err == nil:
		unix.Close(fd)
		d.add(ok(group, name, ""))
	case errors.Is(err, unix.EPERM):
		d.add(missing(group, name, "opening it is refused, whatever its permissions are: by the container's device list, a filter or a security module; no built-in profile needs it", "start the container with --device /dev/net/tun, or Cloche further outside"))
	case errors.Is(err, unix.EACCES):
		d.add(missing(group, name, "this user may not open it; no built-in profile needs it", "as root: chmod 0666 /dev/net/tun (it gives no rights by itself)"))
	default:
		d.add(missing(group, name, "there is no such device; no built-in profile needs it", "as root: modprobe tun; for a container: --device /dev/net/tun"))
	}
}
