package host

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// probePrivileges checks that a user namespace's root is one: AppArmor on some
// distributions lets the namespace be made and then takes all of it away.
func probePrivileges() error {
	return failed("sethostname", unix.Sethostname([]byte("probe")))
}

// private keeps mounts from leaving the namespace.
func private() error {
	return failed("mount propagation of / (MS_PRIVATE)", unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
}

// tmpfs mounts an empty file system and returns its directory. Nobody else sees it.
func tmpfs() (string, error) {
	if err := private(); err != nil {
		return "", err
	}
	dir := "/tmp"
	if _, err := os.Stat(dir); err != nil {
		dir = "/proc/self/fdinfo" // any directory will do
	}
	return dir, failed("mount tmpfs", unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=1m"))
}

// probeMount clones a tree, puts it elsewhere and makes it read-only: with
// mount_setattr before that, with mount(2) afterwards, as a sandbox does.
func probeMount() (string, error) {
	dir, err := tmpfs()
	if err != nil {
		return "", err
	}
	api := mountAPI()
	if !api.usable() {
		return "", failed(api.Missing()[0], unix.ENOSYS)
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, "/usr", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return "", failed("open_tree /usr", err)
	}
	if api.MountSetattr {
		attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID}
		if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
			return "", failed("mount_setattr", err)
		}
	}
	target := filepath.Join(dir, "usr")
	if err := os.Mkdir(target, 0o755); err != nil {
		return "", err
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return "", failed("move_mount", err)
	}
	var st unix.Statfs_t
	if !api.MountSetattr {
		if err := unix.Statfs(target, &st); err != nil {
			return "", failed("statfs", err)
		}
		// Flags that were there may be locked: they are said again.
		keep := uintptr(st.Flags) & (unix.MS_NODEV | unix.MS_NOEXEC)
		if err := unix.Mount("", target, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|keep, ""); err != nil {
			return "", failed("mount (MS_REMOUNT|MS_BIND)", err)
		}
	}
	if err := unix.Statfs(target, &st); err != nil || st.Flags&unix.ST_RDONLY == 0 {
		return "", failed("read-only bind", unix.EROFS)
	}
	return "", nil
}

// probeProc makes a new procfs for this pid namespace, and tells whether it
// can show the processes alone.
func probeProc() (string, error) {
	if err := private(); err != nil {
		return "", err
	}
	detail := ""
	for _, subset := range []bool{true, false} {
		fs, err := unix.Fsopen("proc", unix.FSOPEN_CLOEXEC)
		if err != nil {
			if err == unix.ENOSYS {
				return "", failed("mount proc", unix.Mount("proc", "/proc", "proc", 0, ""))
			}
			return "", failed("fsopen proc", err)
		}
		if subset {
			if unix.FsconfigSetString(fs, "subset", "pid") != nil {
				unix.Close(fs)
				continue
			}
			detail = "subset=pid"
		}
		if err := unix.FsconfigCreate(fs); err != nil {
			return "", failed("fsconfig proc", err)
		}
		mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
		if err != nil {
			return "", failed("fsmount proc", err)
		}
		unix.Close(mnt)
		unix.Close(fs)
	}
	return detail, nil
}

// probeOverlay lays an overlay over two directories of a tmpfs and writes to it.
func probeOverlay() error {
	dir, err := tmpfs()
	if err != nil {
		return err
	}
	for _, d := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "lower", "f"), []byte("1"), 0o644); err != nil {
		return err
	}
	options := "lowerdir=" + dir + "/lower,upperdir=" + dir + "/upper,workdir=" + dir + "/work"
	err = unix.Mount("overlay", dir+"/merged", "overlay", 0, options+",userxattr")
	if err == unix.EINVAL { // userxattr: Linux 5.11
		err = unix.Mount("overlay", dir+"/merged", "overlay", 0, options)
	}
	if err != nil {
		return failed("mount overlay", err)
	}
	return failed("write to an overlay", os.WriteFile(filepath.Join(dir, "merged", "f"), []byte("2"), 0o644))
}

// probeIDMap gives a tree the ids of another user namespace.
func probeIDMap() error {
	dir, err := tmpfs()
	if err != nil {
		return err
	}
	cmd := exec.Command("/proc/self/exe", ProbeArg, "wait")
	hold, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{Size: 1}}, GidMappings: []syscall.SysProcIDMap{{Size: 1}},
		Pdeathsig: syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		return failed(secondUserNamespace, err)
	}
	defer func() { hold.Close(); _ = cmd.Wait() }()
	userns, err := os.Open("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/ns/user")
	if err != nil {
		return err
	}
	defer userns.Close()
	fd, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return failed("open_tree", err)
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(userns.Fd())}
	return failed("mount_setattr (MOUNT_ATTR_IDMAP) of a tmpfs", unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr))
}

// probeTime makes a time namespace and sets its clock. This thread itself stays
// outside: only a child would enter, and a Go program can't make threads then.
func probeTime() error {
	if err := unix.Unshare(unix.CLONE_NEWTIME); err != nil {
		return failed("unshare(CLONE_NEWTIME)", err)
	}
	return failed("write timens_offsets", os.WriteFile("/proc/"+strconv.Itoa(unix.Gettid())+"/timens_offsets", []byte("monotonic 1 0"), 0))
}

// probeLoopback brings the loopback of a new network namespace up.
func probeLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return failed("socket", err)
	}
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP)
	return failed("bring up lo (SIOCSIFFLAGS)", unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr))
}

// probeSeccomp loads a filter that allows everything.
func probeSeccomp() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return failed("no_new_privs", err)
	}
	allow := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}
	prog := unix.SockFprog{Len: 1, Filter: &allow}
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
	if e != 0 {
		return failed("seccomp(SECCOMP_SET_MODE_FILTER)", e)
	}
	return nil
}

// probeLandlock confines this thread to nothing, and sees whether that holds.
func probeLandlock() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return failed("no_new_privs", err)
	}
	attr := uint64(unix.LANDLOCK_ACCESS_FS_READ_DIR) // the first field alone: every ABI takes it
	fd, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), 8, 0)
	if e != 0 {
		return failed("landlock_create_ruleset", e)
	}
	if _, _, e := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); e != 0 {
		return failed("landlock_restrict_self", e)
	}
	if dir, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY, 0); err != unix.EACCES {
		unix.Close(dir)
		return failed("a rule of Landlock", unix.ENOTSUP)
	}
	return nil
}
