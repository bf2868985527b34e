package oci

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// ownMounts gives this test a mount namespace of its own, in which everything is shared with what is
// made from it, as on most hosts, and a tmpfs there. Its goroutine's thread ends with it, so it
// has no subtests.
func ownMounts(t *testing.T) (dir string) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
	}{
		{"", "/", "", unix.MS_PRIVATE | unix.MS_REC},
		{"", "/", "", unix.MS_SHARED | unix.MS_REC},
		{"t", dir, "tmpfs", 0},
	} {
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, ""); err != nil {
			t.Fatalf("mount %+v: %v", m, err)
		}
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// below makes a directory with a tmpfs on it, in the namespace of this thread.
func below(t *testing.T, dir, name string) string {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.Mkdir(p, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("t", p, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	return p
}

// mountPoints are those in the namespace of this thread.
func mountPoints(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		all = append(all, strings.Fields(line)[4])
	}
	return strings.Join(all, "\n")
}

// TestPropagation looks at /proc/self/mountinfo inside, and at what is mounted later on either side.
func TestPropagation(t *testing.T) {
	r := newRuntime(t)
	src := ownMounts(t)
	below(t, src, "sub")
	var mounts []specs.Mount
	options := []string{"shared", "rshared", "slave", "rslave", "private", "rprivate", "unbindable", "runbindable"}
	for _, o := range options {
		mounts = append(mounts, specs.Mount{Destination: "/m/" + o, Source: src, Type: "bind", Options: []string{"rbind", o}})
	}
	mounts = append(mounts, specs.Mount{Destination: "/m/default", Source: src, Type: "bind", Options: []string{"rbind"}})
	// Of each mount point whether it is shared (S), a slave (M), unbindable (U).
	const script = `while read id parent dev root point opts rest; do
	case $point in /|/m/*) ;; *) continue;; esac
	s=; while [ "${rest%% *}" != - ]; do
		case "${rest%% *}" in shared:*) s=${s}S;; master:*) s=${s}M;; unbindable) s=${s}U;; esac
		rest=${rest#* }
	done
	echo "$point $s"
done </proc/self/mountinfo`
	for i, c := range []struct {
		root string
		want map[string]string
	}{
		{"", map[string]string{
			"/": "M", "/m/default": "M", "/m/default/sub": "M", "/m/shared": "SM", "/m/shared/sub": "M", "/m/rshared": "SM", "/m/rshared/sub": "SM", "/m/slave": "M", "/m/slave/sub": "M",
			"/m/rslave": "M", "/m/rslave/sub": "M", "/m/private": "", "/m/private/sub": "M", "/m/rprivate": "", "/m/rprivate/sub": "",
			"/m/unbindable": "U", "/m/unbindable/sub": "M", "/m/runbindable": "U", "/m/runbindable/sub": "U",
		}},
		{"private", map[string]string{"/": "", "/m/default": "", "/m/default/sub": "", "/m/shared": "S", "/m/shared/sub": "", "/m/slave": "", "/m/rshared/sub": "S"}},
		{"shared", map[string]string{"/": "S", "/m/default": "S", "/m/default/sub": "S", "/m/slave": "M", "/m/slave/sub": "S", "/m/rslave/sub": "M", "/m/private": "", "/m/private/sub": "S"}},
		{"rshared", map[string]string{"/": "S", "/m/rslave": "SM", "/m/rprivate": "S", "/m/default/sub": "S"}},
		{"unbindable", map[string]string{"/": "U", "/m/shared": "S", "/m/default": ""}},
		{"runbindable", map[string]string{"/": "U", "/m/default": "U", "/m/default/sub": "U"}},
	} {
		id := fmt.Sprint("cloche-propagation-", i)
		before := mountPoints(t)
		b := bundle(t, func(s *specs.Spec) {
			s.Linux.RootfsPropagation = c.root
			s.Root.Readonly = false
			s.Mounts = append(s.Mounts, mounts...)
		})
		r.ok("run", "--detach", "--bundle", b, id)
		got := map[string]string{}
		for line := range strings.Lines(r.ok("exec", id, "sh", "-c", script)) {
			point, s, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			got[point] = s
		}
		for point, want := range c.want {
			if s, ok := got[point]; !ok || s != want {
				t.Errorf("rootfsPropagation %q: %s is %q (%v), want %q", c.root, point, s, ok, want)
			}
		}
		// What is mounted outside comes to the slaves and the shared, and from the shared out.
		late := fmt.Sprint("late", i)
		below(t, src, late)
		seen := r.ok("exec", id, "cut", "-d ", "-f5", "/proc/self/mountinfo")
		for point, state := range got {
			if !strings.HasPrefix(point, "/m/") || strings.Count(point, "/") != 2 {
				continue
			}
			is := strings.Contains(seen, "\n"+point+"/"+late+"\n")
			comes := strings.Contains(state, "M") || c.root == "shared" && state == "S"
			if c.root == "rshared" {
				continue // recursive: what was private is shared by now, with nobody
			}
			if is != comes {
				t.Errorf("rootfsPropagation %q: what is mounted outside is seen at %s (%q): %v", c.root, point, state, is)
			}
		}
		out, status := r.do("exec", "--cap", "CAP_SYS_ADMIN", id, "sh", "-c", "mkdir /m/default/in && mount -t tmpfs in /m/default/in")
		if status != 0 {
			t.Errorf("rootfsPropagation %q: %s", c.root, out)
		}
		in := filepath.Join(src, "in")
		if is := slices.Contains(strings.Split(mountPoints(t), "\n"), in); is != strings.HasSuffix(c.root, "shared") {
			t.Errorf("rootfsPropagation %q: what is mounted inside is seen outside: %v", c.root, is)
		}
		r.ok("delete", "--force", id)
		_ = unix.Unmount(in, unix.MNT_DETACH)
		if err := os.Remove(in); err != nil {
			t.Error(err)
		}
		// A root that is taken away takes nothing away where it came from.
		if err := unix.Unmount(filepath.Join(src, late), unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
		if after := mountPoints(t); after != before {
			t.Errorf("rootfsPropagation %q: outside is mounted\n%s\nand was\n%s", c.root, after, before)
		}
	}
}

// TestNoPivot: a root that is moved on top of the other, as on an initramfs.
func TestNoPivot(t *testing.T) {
	r := newRuntime(t)
	b := bundle(t, func(s *specs.Spec) {
		s.Process.Args = []string{"sh", "-c", "ls -d /../bin/sh; echo /*; mkdir /x || echo no; pwd"}
	})
	want := "/../bin/sh\n/bin /dev /proc /sys\nmkdir: can't create directory '/x': Read-only file system\nno\n/\n"
	if got := r.ok("run", "--no-pivot", "--bundle", b, "cloche-no-pivot"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestIDMappedMounts: files of a mount that has ids of its own, or the container's.
func TestIDMappedMounts(t *testing.T) {
	r := newRuntime(t)
	src := ownMounts(t)
	sub := below(t, src, "sub")
	for _, dir := range []string{src, sub} {
		p := filepath.Join(dir, "file")
		if err := os.WriteFile(p, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(p, 1000, 1001); err != nil {
			t.Fatal(err)
		}
	}
	maps := func(from, to uint32) []specs.LinuxIDMapping {
		return []specs.LinuxIDMapping{{ContainerID: from, HostID: to, Size: 1}}
	}
	bind := func(dest string, uids, gids []specs.LinuxIDMapping, options ...string) specs.Mount {
		return specs.Mount{Destination: dest, Source: src, Type: "bind", Options: options, UIDMappings: uids, GIDMappings: gids}
	}
	const script = `ls -n /m/*/file /m/*/sub/file | tr -s ' ' | cut -d' ' -f3,4,9`
	b := bundle(t, func(s *specs.Spec) {
		s.Process.Args = []string{"sh", "-c", script}
		s.Root.Readonly = false
		s.Mounts = append(s.Mounts,
			bind("/m/idmap", maps(1000, 7), maps(1001, 8), "rbind", "idmap"),
			bind("/m/maps", maps(1000, 7), maps(1001, 8), "rbind"),
			bind("/m/plain", nil, nil, "rbind"),
			bind("/m/ridmap", maps(1000, 7), maps(1001, 8), "rbind", "ridmap"))
	})
	want := `7 8 /m/idmap/file
1000 1001 /m/idmap/sub/file
7 8 /m/maps/file
1000 1001 /m/maps/sub/file
1000 1001 /m/plain/file
1000 1001 /m/plain/sub/file
7 8 /m/ridmap/file
7 8 /m/ridmap/sub/file
`
	if got := r.ok("run", "--bundle", b, "cloche-idmap"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	user := bundle(t, func(s *specs.Spec) {
		s.Process.Args = []string{"sh", "-c", script + "; echo x >/m/ridmap/sub/new; ls -n /m/ridmap/sub/new | tr -s ' ' | cut -d' ' -f3,4,9"}
		s.Root.Readonly = false
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		s.Linux.UIDMappings = []specs.LinuxIDMapping{{HostID: 100000, Size: 2000}}
		s.Linux.GIDMappings = []specs.LinuxIDMapping{{HostID: 200000, Size: 2000}}
		s.Mounts = append(s.Mounts, bind("/m/idmap", nil, nil, "rbind", "idmap"), bind("/m/plain", nil, nil, "rbind"), bind("/m/ridmap", nil, nil, "rbind", "ridmap"))
	})
	if err := os.Chown(filepath.Join(user, "rootfs"), 100000, 200000); err != nil {
		t.Fatal(err)
	}
	want = `1000 1001 /m/idmap/file
65534 65534 /m/idmap/sub/file
65534 65534 /m/plain/file
65534 65534 /m/plain/sub/file
1000 1001 /m/ridmap/file
1000 1001 /m/ridmap/sub/file
0 0 /m/ridmap/sub/new
`
	if got := r.ok("run", "--bundle", user, "cloche-idmap"); got != want {
		t.Errorf("in a user namespace: got\n%s\nwant\n%s", got, want)
	}
	// What its root writes is root's outside as well, below the mount that maps it.
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(sub, "new"), &st); err != nil || st.Uid != 0 || st.Gid != 0 {
		t.Errorf("what the container's root has written is owned by %d:%d (%v)", st.Uid, st.Gid, err)
	}
}

// TestCopyUpOwner: a tmpfs that is filled with what it covers has its owner and mode from there, but
// for what its options say.
func TestCopyUpOwner(t *testing.T) {
	r := newRuntime(t)
	b := bundle(t, func(s *specs.Spec) {
		s.Process.Args = []string{"sh", "-c", "ls -nd /[a-d] /[a-d]/file | tr -s ' ' | cut -d' ' -f1,3,4,9"}
		for dest, options := range map[string][]string{"/a": nil, "/b": {"uid=7", "gid=8", "mode=711"}, "/c": {"uid=7"}, "/d": {"gid=8"}} {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/between" + dest, Type: "tmpfs"},
				specs.Mount{Destination: dest, Type: "tmpfs", Options: append(options, "tmpcopyup")})
		}
	})
	for _, name := range []string{"a", "b", "c", "d"} {
		dir := filepath.Join(b, "rootfs", name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "file")
		if err := os.WriteFile(file, nil, 0o640); err != nil {
			t.Fatal(err)
		}
		for _, p := range []string{dir, file} {
			if err := os.Chown(p, 5, 6); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(dir, 0o751); err != nil {
			t.Fatal(err)
		}
	}
	want := `drwxr-x--x 5 6 /a
-rw-r----- 5 6 /a/file
drwx--x--x 7 8 /b
-rw-r----- 5 6 /b/file
drwxr-x--x 7 6 /c
-rw-r----- 5 6 /c/file
drwxr-x--x 5 8 /d
-rw-r----- 5 6 /d/file
`
	if got := r.ok("run", "--bundle", b, "cloche-copyup"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
