// Command guest is the init of the machines that package vmtest boots. It makes of its
// initramfs a root that pivot_root(2) takes, mounts what a host has, runs the test programs of
// /job.json, and switches the machine off.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// job is what vmtest wrote; see its type Job.
type job struct {
	Modules []string
	Setup   []string
	Systemd bool
	Tests   []struct {
		Dir  string
		Args []string
		User bool
	}
}

const runnerArg = "run-the-tests"

func main() {
	if len(os.Args) > 1 && os.Args[1] == runnerArg {
		run()
		return
	}
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "guest: this is the init of a virtual machine")
		os.Exit(1)
	}
	said := "done"
	if err := boot(); err != nil {
		said = err.Error()
	}
	end, ended := port(2)
	fmt.Fprintln(end, said)
	ended()
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// boot sets the machine up and waits for the tests. As pid 1 it reaps whatever ends.
func boot() error {
	if err := os.Setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"); err != nil {
		return err
	}
	b, err := os.ReadFile("/job.json")
	if err != nil {
		return err
	}
	var j job
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	for _, m := range j.Modules {
		if err := insert(m); err != nil {
			fmt.Println("guest: module", m, err)
		}
	}
	if err := os.WriteFile("/guest/job.json", b, 0o644); err != nil {
		return err
	}
	self, err := os.ReadFile("/init")
	if err != nil {
		return err
	}
	if err := os.WriteFile("/guest/init", self, 0o755); err != nil {
		return err
	}
	if err := switchRoot(); err != nil {
		return err
	}
	if err := os.Chown("/home/tester", 1000, 1000); err != nil {
		return err
	}
	if !j.Systemd { // it does that
		if err := mountAll(); err != nil {
			return err
		}
		if err := mountDisk(); err != nil {
			return err
		}
	}
	for _, s := range j.Setup {
		if err := setUp(s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	if j.Systemd {
		return syscall.Exec("/lib/systemd/systemd", []string{"/lib/systemd/systemd"}, []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"})
	}
	pid, err := syscall.ForkExec("/init", []string{"/init", runnerArg}, &syscall.ProcAttr{
		Dir: "/", Env: []string{"PATH=" + os.Getenv("PATH"), "HOME=/root", "LANG=C.UTF-8", "TERM=dumb"},
		Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return err
	}
	for {
		var ws syscall.WaitStatus
		got, err := syscall.Wait4(-1, &ws, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return err
		case got == pid && ws.ExitStatus() != 0:
			return fmt.Errorf("the runner of the tests ended with status %d", ws.ExitStatus())
		case got == pid:
			return nil
		}
	}
}

// insert loads a module, which may be compressed.
func insert(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	flags := 0
	if !strings.HasSuffix(name, ".ko") {
		flags = 4 // MODULE_INIT_COMPRESSED_FILE, Linux 5.17
	}
	return unix.FinitModule(int(f.Fd()), "", flags)
}

// switchRoot makes /guest the root: a mount of its own, as pivot_root(2) wants, which the
// initramfs itself is not.
func switchRoot() error {
	if err := unix.Mount("/guest", "/guest", "", unix.MS_BIND, ""); err != nil {
		return os.NewSyscallError("mount /guest", err)
	}
	if err := os.Chdir("/guest"); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return os.NewSyscallError("mount --move", err)
	}
	if err := unix.Chroot("."); err != nil {
		return os.NewSyscallError("chroot", err)
	}
	return os.Chdir("/")
}

// mountAll mounts what a host has.
func mountAll() error {
	for _, m := range []struct {
		kind, at, data string
		flags          uintptr
		optional       bool
	}{
		{"proc", "/proc", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, false},
		{"sysfs", "/sys", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, false},
		{"devtmpfs", "/dev", "mode=0755", unix.MS_NOSUID, false},
		{"devpts", "/dev/pts", "mode=0620,gid=5,ptmxmode=0666", unix.MS_NOSUID | unix.MS_NOEXEC, false},
		{"tmpfs", "/dev/shm", "mode=1777", unix.MS_NOSUID | unix.MS_NODEV, false},
		{"mqueue", "/dev/mqueue", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, true},
		{"tmpfs", "/tmp", "mode=1777,size=70%", 0, false},
		{"tmpfs", "/run", "mode=0755", unix.MS_NOSUID | unix.MS_NODEV, false},
		{"cgroup2", "/sys/fs/cgroup", "nsdelegate", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, false},
		{"securityfs", "/sys/kernel/security", "", unix.MS_NOSUID, true},
	} {
		if err := os.MkdirAll(m.at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.at, m.kind, m.flags, m.data); err != nil && !m.optional {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	// A host's mounts are shared (systemd makes them so).
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return err
	}
	for name, to := range map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"} {
		_ = os.Symlink(to, filepath.Join("/dev", name))
	}
	if err := os.Chmod("/dev/fuse", 0o666); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	_ = unix.Sethostname([]byte("guest"))
	return loopback()
}

// loopback sets lo up, as every host has it.
func loopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}

// setUp carries out one line of a guest's setup: "sysctl NAME=VALUE", or "sh COMMANDS".
func setUp(line string) error {
	kind, rest, _ := strings.Cut(line, " ")
	switch kind {
	case "sysctl":
		name, value, _ := strings.Cut(rest, "=")
		return os.WriteFile("/proc/sys/"+strings.ReplaceAll(name, ".", "/"), []byte(value), 0o644)
	case "sh":
		out, err := exec.Command("/bin/sh", "-c", rest).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	return errors.New("unknown setup")
}

// port is a serial port: 0 is the kernel's console, 1 the tests' output, 2 the end.
func port(n int) (f *os.File, end func()) {
	name := fmt.Sprintf("/dev/ttyS%d", n)
	if runtime.GOARCH == "arm64" {
		name = fmt.Sprintf("/dev/ttyS%d", n-1) // the console is /dev/ttyAMA0
	}
	f, err := os.OpenFile(name, os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return os.Stdout, func() {}
	}
	fd := int(f.Fd())
	if t, err := unix.IoctlGetTermios(fd, unix.TCGETS); err == nil {
		t.Oflag &^= unix.OPOST // no carriage returns
		_ = unix.IoctlSetTermios(fd, unix.TCSETS, t)
	}
	return f, func() {
		_ = unix.IoctlSetInt(fd, unix.TCSBRK, 1) // tcdrain(3)
		f.Close()
	}
}

// run runs the test programs, one after the other.
func run() {
	b, err := os.ReadFile("/job.json")
	if err != nil {
		os.Exit(1)
	}
	var j job
	if err := json.Unmarshal(b, &j); err != nil {
		os.Exit(1)
	}
	out, end := port(1)
	defer end()
	if j.Systemd {
		if err := mountDisk(); err != nil {
			fmt.Fprintf(out, "\n=== PROGRAM disk\n\n=== ENDED %v\n", err)
		}
	}
	for _, t := range j.Tests {
		fmt.Fprintf(out, "\n=== PROGRAM %s\n", t.Dir)
		began := time.Now()
		argv := t.Args
		if t.User { // runuser(1) opens a session by PAM, as a login does
			argv = []string{"runuser", "-l", "tester", "-c", "cd " + t.Dir + " && exec '" + strings.Join(t.Args, "' '") + "'"}
		}
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Dir = t.Dir
		cmd.Stdout, cmd.Stderr = out, out
		still := time.AfterFunc(slow, func() { tellProcesses(t.Dir) })
		if err := cmd.Run(); err != nil {
			fmt.Fprintf(out, "\n=== ENDED %v\n", err)
		}
		still.Stop()
		fmt.Printf("guest: %s took %.1f s\n", t.Dir, time.Since(began).Seconds())
	}
	if j.Systemd { // this init has become that one, which switches the machine off
		last, ended := port(2)
		fmt.Fprintln(last, "done")
		ended()
	}
}

// mountDisk puts a file system on the disk, and that where programs have large files.
func mountDisk() error {
	const disk, at = "/dev/vda", "/var/tmp"
	out, err := exec.Command("mke2fs", "-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=1,nodiscard", disk).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mke2fs %s: %w: %s", disk, err, out)
	}
	if err := unix.Mount(disk, at, "ext4", unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
		return fmt.Errorf("mount %s: %w", at, err)
	}
	return os.Chmod(at, 0o777|os.ModeSticky)
}

// slow is when a test program has run so long that the console is told what it waits for.
const slow = 90 * time.Second

// tellProcesses writes what runs, and where in the kernel it sleeps, to the console.
func tellProcesses(dir string) {
	out, _ := exec.Command("ps", "axfo", "pid,ppid,uid,stat,wchan:24,etimes,args").CombinedOutput()
	fmt.Printf("guest: %s still runs:\n%s", dir, out)
}
