package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/internal/supervise"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/sandbox"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// The tests of a kernel without mount_setattr (before 5.12): the same sandboxes
// are started twice by one process, which in between loads a filter that answers
// as such a kernel does. The process has a mount namespace of its own
// with mounts that are hard to restrict.

const treeVariable = "CLOCHE_TEST_TREE"

// becomeOld loads the filter, on all threads and for good: mount_setattr is not
// there (ENOSYS), and close_range knows no flags (EINVAL), as in Linux 5.10.
func becomeOld() error {
	const load, equal, ret = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	err := seccomp.LoadAllThreads([]unix.SockFilter{
		{Code: load, K: 0},
		{Code: equal, K: unix.SYS_MOUNT_SETATTR, Jt: 4},
		{Code: equal, K: unix.SYS_CLOSE_RANGE, Jf: 2},
		{Code: load, K: 32}, // the third argument
		{Code: equal, K: 0, Jf: 2},
		{Code: ret, K: unix.SECCOMP_RET_ALLOW},
		{Code: ret, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		{Code: ret, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EINVAL)},
	})
	if err != nil {
		return err
	}
	facts, err := host.Quick()
	if want := (host.MountAPI{OpenTree: true, MoveMount: true, Fsopen: true, Fsmount: true}); err != nil || facts.MountAPI != want || !facts.CloseRange || facts.RangeOnExec {
		return fmt.Errorf("%w; facts %+v", err, facts)
	}
	return nil
}

// mountSomething mounts what a tree may hold below dir/r and dir/w: each kind of
// locked flag, names with spaces, mounts in mounts, on files, and below others.
func mountSomething(dir string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	var errs []error
	do := func(err error) { errs = append(errs, err) }
	tmpfs := func(name string, flags uintptr) {
		do(os.MkdirAll(filepath.Join(dir, name), 0o755))
		do(unix.Mount("tmpfs", filepath.Join(dir, name), "tmpfs", flags, "mode=777"))
	}
	do(os.Mkdir(filepath.Join(dir, "lower"), 0o755))
	for _, top := range []string{"r/", "w/"} {
		tmpfs(top+"plain", 0)
		tmpfs(top+"flags", unix.MS_NOSUID|unix.MS_NOEXEC|unix.MS_NOATIME)
		tmpfs(top+"links", unix.MS_NODEV|unix.MS_NOSYMFOLLOW|unix.MS_NODIRATIME)
		tmpfs(top+"read only", unix.MS_RDONLY)
		tmpfs(top+"sp ace\\and\ttab\nline", 0)
		tmpfs(top+"deep/a", 0)
		tmpfs(top+"deep/a/b/c", unix.MS_STRICTATIME)
		// Below another mount: on it, and above it.
		tmpfs(top+"covered", 0)
		tmpfs(top+"covered/inner", 0)
		tmpfs(top+"covered", 0)
		tmpfs(top+"covered/inner", 0)
		tmpfs(top+"dir/one/two", 0)
		tmpfs(top+"dir/one", 0)
		for _, f := range []string{"a file", "of another"} {
			do(os.WriteFile(filepath.Join(dir, top+f), []byte("x"), 0o666))
		}
		do(unix.Mount(filepath.Join(dir, top+"of another"), filepath.Join(dir, top+"a file"), "", unix.MS_BIND, ""))
	}
	return errors.Join(errs...)
}

// oldKernelPolicies are sandboxes by name.
func oldKernelPolicies(dir string) map[string]*policy.Policy {
	tree := defaultsForHelper()
	tree.Mounts = append(
		tree.Mounts,
		policy.Mount{Kind: policy.Read, Path: dir + "/r"},
		policy.Mount{Kind: policy.Write, Path: dir + "/w"},
		policy.Mount{Kind: policy.Read, Path: "/elsewhere", Source: dir + "/r"},
		policy.Mount{Kind: policy.Read, Path: "/a file", Source: dir + "/r/a file"},
		policy.Mount{Kind: policy.Tmpfs, Path: dir + "/r/deep/a"},
		policy.Mount{Kind: policy.Hide, Path: dir + "/r/plain"},
		policy.Mount{Kind: policy.File, Path: dir + "/r/of another", Data: "told"},
		policy.Mount{Kind: policy.Overlay, Path: "/overlay", Lower: []string{dir + "/lower"}},
	)
	read, _ := policy.Builtin("open")
	read.Mounts = append(read.Mounts, policy.Mount{Kind: policy.Read, Path: "/"}, policy.Mount{Kind: policy.Dev, Path: "/dev"})
	write, _ := policy.Builtin("open")
	return map[string]*policy.Policy{"tree": tree, "read /": read, "write /": write}
}

const (
	section = "=== "
	look    = `cat /proc/self/mountinfo`
	attempt = look + `; cd "$1"; exec 2>&-
for d in r w r/* w/* r/*/* w/*/* r/*/*/*/* w/*/*/*/* /elsewhere/* /etc /usr /dev /dev/shm /tmp /proc/sys /overlay; do
	[ -d "$d" ] && (echo >"$d/written") && echo "wrote $d" && rm "$d/written"
done
for f in "r/a file" "/a file" /proc/sysrq-trigger; do (: >>"$f") && echo "wrote $f"; done
echo /proc/self/fd/[3-9]; cat "r/of another"`
)

func init() {
	helpers["old kernel"] = func() {
		dir := os.Getenv(treeVariable)
		fail := func(err error) {
			if err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
		}
		fail(mountSomething(dir))
		executable := filepath.Join(dir, "executable")
		built, err := buildHere(oldKernelPolicies(dir)["tree"], dir)
		fail(err)
		fail(os.WriteFile(executable, built, 0o755))
		for _, way := range []string{"new", "old"} {
			if way == "old" {
				fail(becomeOld())
			}
			for name, p := range oldKernelPolicies(dir) {
				fmt.Println(section + name + " " + way)
				c := sandbox.Command(context.Background(), p, "sh", "-c", look)
				if name == "tree" { // in the others nothing keeps the host from being written
					c = sandbox.Command(context.Background(), p, "sh", "-c", attempt, "sh", dir)
				}
				c.Dir, c.Stdout, c.Stderr = "/", os.Stdout, os.Stdout
				if err := c.Run(); err != nil {
					fmt.Println(name, way, err)
				}
			}
			fmt.Println(section + "executable " + way)
			cmd := exec.Command(executable)
			cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
			fail(cmd.Run())
		}
	}
}

// buildHere makes an executable of the command, as `cloche build` does.
func buildHere(p *policy.Policy, dir string) ([]byte, error) {
	if err := policy.Expand(p, "/", dir+"/r"); err != nil {
		return nil, err
	}
	planned, err := supervise.PlanBuild(&supervise.Spec{Policy: p, Args: []string{"sh", "-c", attempt, "sh", dir}})
	if err != nil {
		return nil, err
	}
	return supervise.Executable(planned)
}

// inOwnNamespace runs a helper where it can mount, with env.
func inOwnNamespace(t *testing.T, name string, env ...string) string {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(append(os.Environ(), role+"="+name), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
		cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// visible are the mounts that can be reached, as root, mount point and options,
// and the other lines of what a sandbox wrote.
func visible(t *testing.T, text string) (mounts, other []string) {
	t.Helper()
	type mount struct{ id, parent, point, line string }
	var all []mount
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 7 && strings.HasPrefix(f[4], "/") {
			all = append(all, mount{f[0], f[1], f[4], strings.Join(f[3:6], " ")})
		} else {
			other = append(other, line)
		}
	}
	hidden := func(m mount) bool {
		return slices.ContainsFunc(all, func(o mount) bool {
			return o.id != m.id && (o.parent == m.parent && strings.HasPrefix(m.point, o.point+"/") || o.parent == m.id && o.point == m.point)
		})
	}
	byID := make(map[string]mount)
	for _, m := range all {
		byID[m.id] = m
	}
	for _, m := range all {
		up, ok := m, !hidden(m)
		for ok {
			child := up
			if up, ok = byID[up.parent]; !ok {
				mounts = append(mounts, m.line)
				break
			}
			// What covers the parent may be the mount itself.
			ok = !slices.ContainsFunc(all, func(o mount) bool {
				return o.id != up.id && o.parent == up.parent && strings.HasPrefix(up.point, o.point+"/") ||
					o.parent == up.id && o.id != child.id && o.point == up.point
			})
		}
	}
	slices.Sort(mounts)
	return mounts, other
}

// TestOldKernel: without mount_setattr every mount that can be reached inside
// has the same flags as with it, and what could not be written can't be.
func TestOldKernel(t *testing.T) {
	dir := t.TempDir()
	out := inOwnNamespace(t, "old kernel", treeVariable+"="+dir)
	sections := make(map[string]string)
	for _, s := range strings.Split(out, section)[1:] {
		name, text, _ := strings.Cut(s, "\n")
		sections[name] = text
	}
	for _, name := range []string{"tree", "read /", "write /", "executable"} {
		newMounts, newOther := visible(t, sections[name+" new"])
		oldMounts, oldOther := visible(t, sections[name+" old"])
		if len(newMounts) < 20 {
			t.Errorf("%s: %d mounts with mount_setattr:\n%s", name, len(newMounts), sections[name+" new"])
		}
		for _, m := range newMounts {
			if !slices.Contains(oldMounts, m) {
				t.Errorf("%s: without mount_setattr there is no %s", name, m)
			}
		}
		for _, m := range oldMounts {
			if !slices.Contains(newMounts, m) {
				t.Errorf("%s: without mount_setattr there is %s", name, m)
			}
		}
		if got, want := strings.Join(oldOther, ""), strings.Join(newOther, ""); got != want {
			t.Errorf("%s: without mount_setattr it writes\n%swith it\n%s", name, got, want)
		}
	}
	// That the two agree says little if both are wrong.
	mounts, other := visible(t, sections["tree old"])
	for _, want := range []string{
		"r ro,nosuid,nodev,relatime", "r/deep/a/b/c ro,nosuid,nodev", "r/flags ro,nosuid,nodev,noexec,noatime",
		"r/links ro,nosuid,nodev,nodiratime,relatime,nosymfollow", "w/plain rw,nosuid,nodev,relatime",
		`w/sp\040ace\134and\011tab\012line rw,nosuid,nodev,relatime`, `r/sp\040ace\134and\011tab\012line ro,nosuid,nodev,relatime`,
	} {
		where := dir + "/"
		if strings.HasPrefix(want, "r/deep") {
			where = "/elsewhere/"
			want = strings.TrimPrefix(want, "r/")
		}
		if !slices.ContainsFunc(mounts, func(m string) bool { return strings.HasSuffix(m, where+want) }) {
			t.Errorf("no mount %s%s:\n%s", where, want, strings.Join(mounts, "\n"))
		}
	}
	for _, line := range other {
		if strings.HasPrefix(line, "wrote r") && line != "wrote r/deep/a\n" || strings.HasPrefix(line, "wrote /e") || line == "wrote /a file\n" {
			t.Errorf("it %s", line)
		}
	}
	if all := strings.Join(other, ""); !strings.Contains(all, "wrote w/plain\n") || !strings.HasSuffix(all, "told") {
		t.Errorf("it wrote only:\n%s", all)
	}
}
