package sandbox_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/launcher"
	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/internal/supervise"
	"github.com/cloche-sandbox/cloche/policy"
)

// undo is a command that tries to undo the mounts of its sandbox. It prints a
// line for each way that works.
func undo() {
	dir := os.Getenv("UNDO")
	try := func(what string, err error) {
		if err == nil {
			fmt.Println("undone:", what)
		}
	}
	writes := func(name string) error { return os.WriteFile(filepath.Join(dir, name), nil, 0o600) }
	_ = unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND, "")
	try("remount", writes("new1"))
	_ = unix.MountSetattr(unix.AT_FDCWD, dir, 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY})
	try("mount_setattr", writes("new2"))
	fd, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err == nil {
		_, err = unix.Openat(fd, "hidden", unix.O_RDONLY, 0)
	}
	try("open_tree", err)
	if kind, id, ok := strings.Cut(os.Getenv("HANDLE"), ":"); ok {
		n, _ := strconv.Atoi(kind)
		handle, _ := hex.DecodeString(id)
		at, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err == nil {
			_, err = unix.OpenByHandleAt(at, unix.NewFileHandle(int32(n), handle), unix.O_RDONLY)
		}
		try("open_by_handle_at", err)
	}
	_ = unix.Chroot(dir) // and out again
	try("chroot", inode("/..", "/"))
	if unix.Mknod("/tmp/disk", unix.S_IFBLK|0o600, int(unix.Mkdev(1, 0))) == nil {
		_, err := unix.Open("/tmp/disk", unix.O_RDONLY|unix.O_NONBLOCK, 0)
		try("mknod", err)
	}
	{
		mem, err := os.OpenFile("/proc/1/mem", os.O_RDWR, 0)
		if err == nil {
			_, err = mem.WriteAt([]byte{0}, launcher.SlotsAddress)
		}
		try("pid 1's memory", err)
	}
	_ = unix.Unmount(filepath.Join(dir, "hidden"), unix.MNT_DETACH)
	b, err := os.ReadFile(filepath.Join(dir, "hidden"))
	if len(b) > 0 { // else it is what hides
		try("umount", err)
	}
}

// inode is nil when two paths are not one directory, which would be a way out.
func inode(a, b string) error {
	var x, y unix.Stat_t
	if unix.Stat(a, &x) != nil || unix.Stat(b, &y) != nil || x.Ino == y.Ino && x.Dev == y.Dev {
		return unix.EXDEV
	}
	return nil
}

func init() { helpers["undo"] = undo }

// unvalidated runs the undoing command under a policy that nobody validated.
func unvalidated(t *testing.T, p *policy.Policy, command ...string) string {
	t.Helper()
	out, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	proc, err := supervise.Start(context.Background(), &supervise.Spec{Policy: p, Args: command, Env: p.Environ(os.Environ()), Stdout: out, Stderr: out})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := proc.Wait(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestCapabilitiesUndo holds policy.Validate against the kernel: what it refuses
// would have undone the policy, and what it lets through does not.
func TestCapabilitiesUndo(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, flags, wrap string
		root              bool
		want              string // a way that works; "": none does, and it is not refused
	}{
		{name: "SYS_ADMIN", flags: "cap-add sys_admin, landlock off, seccomp none", want: "remount"},
		{name: "SYS_ADMIN, Landlock", flags: "cap-add sys_admin, landlock require, seccomp none", want: "mount_setattr"},
		{name: "SYS_ADMIN, filter", flags: "cap-add sys_admin, landlock off, seccomp default"},
		{name: "SYS_ADMIN, build's filter", flags: "cap-add sys_admin, landlock off, seccomp build"},
		{name: "none", flags: "landlock off, seccomp none"},
		{name: "none, a user namespace", flags: "landlock off, seccomp none", wrap: "unshare -Um --keep-caps --propagation unchanged"},
		{name: "others", flags: "map-root, cap-add mknod, cap-add sys_chroot, cap-add dac_override, cap-add dac_read_search, cap-add sys_ptrace, landlock off, seccomp none"},
		{name: "host's DAC_READ_SEARCH", root: true, flags: "share user, cap-add dac_read_search, landlock require, seccomp none", want: "open_by_handle_at"},
		{name: "host's DAC_READ_SEARCH, filter", root: true, flags: "share user, cap-add dac_read_search, landlock off, seccomp default"},
		{name: "host's SYS_PTRACE", root: true, flags: "share user, cap-add sys_ptrace, landlock off, seccomp default", want: "pid 1's memory"},
		{name: "host's MKNOD", root: true, flags: "share user, cap-add mknod, cap-add sys_chroot, cap-add dac_override, landlock off, seccomp none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.root {
				needs.Root(t, "others have no capability of the host's")
			}
			dir := tree(t, "shown/hidden", "outside")
			command := []string{exe}
			if c.wrap != "" {
				command = append(strings.Fields(c.wrap), exe)
				needs.Programs(t, command[0])
			}
			shown := filepath.Join(dir, "shown")
			flags := []string{"read", exe, "read", shown, "hide", filepath.Join(shown, "hidden"), "cwd", "/", "env", role + "=undo", "env", "UNDO=" + shown}
			if h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, filepath.Join(dir, "outside"), 0); err == nil {
				flags = append(flags, "env", fmt.Sprintf("HANDLE=%d:%x", h.Type(), h.Bytes()))
			}
			for f := range strings.SplitSeq(c.flags, ", ") {
				name, value, _ := strings.Cut(f, " ")
				flags = append(flags, name, value)
			}
			p := with(t, defaults(t), flags...)
			if err := policy.Expand(p, "/", "/"); err != nil {
				t.Fatal(err)
			}
			if err := policy.Validate(p); (err != nil) != (c.want != "") {
				t.Errorf("validated: %v", err)
			}
			out := unvalidated(t, p, command...)
			if c.want == "" && out != "" || c.want != "" && !strings.Contains(out, "undone: "+c.want+"\n") {
				t.Errorf("%q, want %q to work", out, c.want)
			}
		})
	}
}
