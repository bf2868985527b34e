package engines

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/needs"
)

// hierarchy is a mounted cgroup hierarchy of the host's.
type hierarchy struct {
	at      string // its mount point
	options string // for mount(2): v1's controllers or name
	v2      bool
	path    string // the tests' own cgroup, as /proc/self/cgroup has it
}

func (h hierarchy) own() string { return filepath.Join(h.at, h.path) }

// entry is the file that a process of one thread enters by.
func (h hierarchy) entry() string {
	if h.v2 {
		return "cgroup.procs"
	}
	return "tasks"
}

// hierarchies are those that a machine gets. crun 1.8 takes an empty v2 hierarchy
// beside v1 for one to use, so it doesn't get to see it.
var hierarchies = sync.OnceValue(func() []hierarchy {
	own := make(map[string]string)
	if text, err := os.ReadFile("/proc/self/cgroup"); err == nil {
		for line := range strings.Lines(string(text)) {
			if f := strings.SplitN(strings.TrimSpace(line), ":", 3); len(f) == 3 {
				own[f[1]] = f[2]
			}
		}
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	defer f.Close()
	var list []hierarchy
	v1 := false
	for s := bufio.NewScanner(f); s.Scan(); {
		before, after, ok := strings.Cut(s.Text(), " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		// In a cgroup namespace the root of the host's mounts is above the own one: /..
		if !ok || len(left) < 5 || len(right) < 3 || !strings.HasPrefix(left[4], "/sys/fs/cgroup") || strings.Trim(left[3], "/.") != "" {
			continue
		}
		switch right[0] {
		case "cgroup2":
			list = append(list, hierarchy{at: left[4], v2: true, path: own[""]})
		case "cgroup":
			v1 = true
			options := strings.TrimPrefix(right[2], "rw,")
			list = append(list, hierarchy{at: left[4], options: options, path: own[options]})
		}
	}
	if v1 && under("crun") {
		list = slices.DeleteFunc(list, func(h hierarchy) bool { return h.v2 })
	}
	return list
})

// enterCgroups makes a cgroup in each hierarchy and enters it.
func enterCgroups(name string) error {
	for _, h := range hierarchies() {
		dir := filepath.Join(h.own(), name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		// v1's cpuset begins empty, and then nobody may enter.
		for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
			if text, err := os.ReadFile(filepath.Join(h.own(), f)); err == nil && !h.v2 {
				if err := os.WriteFile(filepath.Join(dir, f), text, 0); err != nil {
					return err
				}
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0); err != nil {
			return fmt.Errorf("enter %s: %w", dir, err)
		}
	}
	return nil
}

// removeCgroups removes the cgroups of a machine that is gone.
func removeCgroups(name string) error {
	var errs []error
	for _, h := range hierarchies() {
		var dirs []string
		_ = filepath.WalkDir(filepath.Join(h.own(), name), func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, p)
			}
			return nil
		})
		for i := len(dirs) - 1; i >= 0; i-- {
			if err := unix.Rmdir(dirs[i]); err != nil && !errors.Is(err, unix.ENOENT) {
				errs = append(errs, fmt.Errorf("remove cgroup %s: %w", dirs[i], err))
			}
		}
	}
	return errors.Join(errs...)
}

// limit reads a file of a cgroup of the machine's on v1. On a host without that controller the
// rest of the test is skipped.
func (m *machine) limit(t testing.TB, controller, file string) string {
	t.Helper()
	for _, h := range hierarchies() {
		if h.options == controller {
			return strings.TrimSpace(read(filepath.Join(h.own(), m.cgroup, file)))
		}
	}
	needs.Elsewhere(t, "no cgroup v1 with "+controller+" here, where the test looks")
	return ""
}

// furnish makes the mounts of a machine. What engines write to without being asked is its
// own: /run, /etc, /dev/shm, /var/lib, /var/cache, /var/log, cgroups and the network's settings.
func furnish(dir string) error {
	if os.Getpid() != 1 {
		return errors.New("this is no machine, but the host")
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make / private: %w", err)
	}
	list := hierarchies() // of the host's /proc, before there is another
	for _, at := range []string{"/proc", "/sys"} {
		if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount the host's %s: %w", at, err)
		}
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := unix.Mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /sys: %w", err)
	}
	tmpfs := func(at, options string) error {
		if err := os.MkdirAll(at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("tmpfs", at, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
			return fmt.Errorf("mount a tmpfs at %s: %w", at, err)
		}
		return nil
	}
	v2alone := len(list) == 1 && list[0].v2
	if !v2alone {
		if err := tmpfs("/sys/fs/cgroup", "mode=755"); err != nil {
			return err
		}
	}
	for _, h := range list {
		kind := "cgroup"
		if h.v2 {
			kind = "cgroup2"
		}
		if err := os.MkdirAll(h.at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(kind, h.at, kind, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, h.options); err != nil {
			return fmt.Errorf("mount %s: %w", h.at, err)
		}
	}
	for _, at := range []string{"/run", "/var/log", "/var/cache"} {
		if err := tmpfs(at, "mode=755"); err != nil {
			return err
		}
	}
	if err := tmpfs("/dev/shm", "mode=1777"); err != nil {
		return err
	}
	// The folders of the overlays may not lie in what they cover, nor on an overlay.
	if err := unix.Mount("tmpfs", "/mnt", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount a tmpfs at /mnt: %w", err)
	}
	// Most hosts let everybody open it; slirp4netns needs it.
	if _, err := os.Stat("/dev/net/tun"); err == nil {
		if err := unix.Mknod("/mnt/tun", unix.S_IFCHR, int(unix.Mkdev(10, 200))); err != nil {
			return fmt.Errorf("make a device node: %w", err)
		}
		if err := errors.Join(os.Chmod("/mnt/tun", 0o666), unix.Mount("/mnt/tun", "/dev/net/tun", "", unix.MS_BIND, "")); err != nil {
			return fmt.Errorf("bind a /dev/net/tun: %w", err)
		}
	}
	for i, at := range []string{"/etc", "/var/lib"} {
		upper, work := fmt.Sprintf("/mnt/upper%d", i), fmt.Sprintf("/mnt/work%d", i)
		for _, d := range []string{upper, work} {
			if err := os.Mkdir(d, 0o755); err != nil {
				return err
			}
		}
		if err := unix.Mount("overlay", at, "overlay", 0, "lowerdir="+at+",upperdir="+upper+",workdir="+work); err != nil {
			return fmt.Errorf("an overlay at %s: %w", at, err)
		}
	}
	if err := unix.Sethostname([]byte(os.Getenv(nameVariable))); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	if err := os.WriteFile("/etc/hosts", []byte("127.0.0.1 localhost "+os.Getenv(nameVariable)+"\n"), 0o644); err != nil {
		return err
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return fmt.Errorf("ip link set lo up: %w: %s", err, out)
	}
	return os.Chdir(dir)
}
