package attack

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Set-up is attacked before the command runs: somebody else filled the tree that it
// mounts on, and a path that is walked there goes where its links lead. The layer that stops this
// can't be left out of Cloche, so the first half of such an attack is shown in a sandbox
// that does what those did which had the hole: it works by paths below the new root.

// SetUp is the layer that looks names up within the root, makes what masks itself, and
// mounts on what it has opened.
var SetUp = &Layer{Name: "set-up by descriptors"}

// NotMade is the sign of a sandbox that did not come to be.
const NotMade = "refused"

// naive is a sandbox made by paths, from the same flags.
type naive struct {
	dir   string // to mount the root in
	flags []string
}

// Run runs the attacker.
func (n naive) Run(ctx context.Context, argv []string, files []*os.File, stdout io.Writer) (Ended, error) {
	args := append([]string{Arg, naiveRole, n.dir}, n.flags...)
	return Bare{Prefix: append([]string{"/proc/self/exe"}, append(args, "--")...), attr: &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}}.Run(ctx, argv, files, stdout)
}

// setUpNaively is its main: where to mount the root, flags, "--", and the command.
func setUpNaively(args []string) int {
	if len(args) > 1 {
		fmt.Fprintln(os.Stderr, "naive set-up:", naively(args[0], args[1:]))
	}
	return 2
}

func naively(root string, args []string) error {
	if err := os.Mkdir(root, 0o700); err != nil {
		return err
	}
	if err := unix.Mount("none", root, "tmpfs", 0, ""); err != nil {
		return os.NewSyscallError("mount", err)
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	image := root
	if from, ok := strings.CutPrefix(args[0], "root "); ok {
		if err := rootByPath(from, root); err != nil {
			return err
		}
		args = args[1:]
	}
	for _, dir := range []string{"/usr", "/etc", "/proc"} {
		if err := bindByPath(dir, root+dir); err != nil {
			return err
		}
	}
	if err := bindByPath(exe, root+exe); err != nil {
		return err
	}
	for i, a := range args {
		name, value, _ := strings.Cut(a, " ")
		switch name {
		case "bind":
			src, dst, _ := strings.Cut(value, ":")
			image = root + dst
			err = bindByPath(src, image)
		case "write":
			err = bindByPath(value, root+value)
		case "overlay":
			dst, src, _ := strings.Cut(value, ":lower=")
			err = bindByPath(src, root+dst)
		case "tmpfs":
			time.Sleep(time.Millisecond) // others are slower, too
			if err = os.MkdirAll(root+value, 0o755); err == nil {
				_ = unix.Mount("none", root+value, "tmpfs", 0, "") // made is what counts
			}
		case "hide":
			// By the image's own /dev/null, and where the name is there: CVE-2025-31133.
			if _, missing := os.Stat(root + value); missing == nil {
				err = unix.Mount(image+"/dev/null", root+value, "", unix.MS_BIND|unix.MS_REC, "")
			}
		case "--":
			if err := unix.Chroot(root); err != nil {
				return os.NewSyscallError("chroot", err)
			}
			if err := os.Chdir("/"); err != nil {
				return err
			}
			return syscall.Exec(args[i+1], args[i+1:], os.Environ())
		}
		if err != nil {
			return fmt.Errorf("%s: %w", a, err)
		}
	}
	return nil
}

// rootByPath makes a tree the root: a device in its /dev, something about itself in its
// /proc, and a terminal as its console.
func rootByPath(from, root string) error {
	if err := bindByPath(from, root); err != nil {
		return err
	}
	if err := os.WriteFile(root+"/dev/null", nil, 0o666); err != nil { // to bind the device on
		return err
	}
	if err := os.WriteFile(root+"/proc/self/comm", []byte("naive"), 0o600); err != nil && !os.IsNotExist(err) {
		return err
	}
	if _, err := os.Lstat(root + "/dev/pts/0"); err != nil {
		return nil
	}
	return bindByPath(root+"/dev/pts/0", root+"/dev/console")
}

// bindByPath mounts src at dst, which it makes.
func bindByPath(src, dst string) error {
	fi, err := os.Stat(src)
	if err != nil {
		return err
	}
	if fi.IsDir() {
		err = os.MkdirAll(dst, 0o755)
	} else if err = os.MkdirAll(filepath.Dir(dst), 0o755); err == nil {
		err = os.WriteFile(dst, nil, 0o600)
	}
	if err != nil {
		return err
	}
	return os.NewSyscallError("mount", unix.Mount(src, dst, "", unix.MS_BIND|unix.MS_REC, ""))
}

// noUserNamespaces is a Needs: the naive set-up works in one.
func noUserNamespaces() string {
	cmd := exec.Command("/proc/self/exe", Arg) // no part: it ends at once
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
	if err := cmd.Start(); err != nil {
		return "this user may make no user namespace, in which to show it"
	}
	_ = cmd.Wait()
	return ""
}
