package oci

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// canary is a directory of the host's with a file in it; untouched says what became of it.
func canary(t *testing.T) (dir string, untouched func(t *testing.T)) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("host\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	mounts := hostMounts(t)
	return dir, func(t *testing.T) {
		t.Helper()
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 1 {
			t.Errorf("the host's directory has %v: %v", entries, err)
		}
		if text, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(text) != "host\n" {
			t.Errorf("the host's file is %q: %v", text, err)
		}
		if now := hostMounts(t); now != mounts {
			t.Errorf("the host's mounts were\n%s\nand are\n%s", mounts, now)
		}
	}
}

func hostMounts(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestHostileRootfs: symbolic links and files where a container wants to mount, that
// lead out as seen from the host.
func TestHostileRootfs(t *testing.T) {
	r := newRuntime(t)
	target, untouched := canary(t)
	climb := "../../../../../../../../../.." + target
	for name, c := range map[string]struct {
		build func(t *testing.T, root string)
		// refused: what the runtime must say; "": it runs, and what is inside stays inside.
		refused string
	}{
		"proc is a link":            {link("proc", "/bin"), "symbolic link"},
		"proc leads out":            {link("proc", target), "symbolic link"},
		"proc climbs":               {link("proc", climb), "symbolic link"},
		"sys is a link":             {link("sys", target), "symbolic link"},
		"proc is a file":            {file("proc"), "mounts[0]"},
		"dev leads out":             {link("dev", target), ""},
		"dev climbs":                {link("dev", climb), ""},
		"dev is a file":             {file("dev"), "mounts[1]"},
		"etc leads out":             {link("etc", target), ""},
		"etc is a file":             {file("etc"), "mounts["},
		"the destination leads out": {link("x", target), ""},
		"the parent climbs":         {link("deep", climb), ""},
		"in circles":                {link("x", "x"), "mounts["},
		"a magic link":              {link("x", "/proc/self/root/../.."), ""},
		"the cwd leads out":         {link("work", target), ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := bundle(t, func(s *specs.Spec) {
				s.Root.Readonly = false
				s.Process.Cwd = "/work"
				s.Process.Args = []string{"sh", "-c", "cat /etc/file /x/file /work/file 2>/dev/null; true"}
				s.Mounts = append(s.Mounts,
					specs.Mount{Destination: "/etc/mounted", Type: "tmpfs"},
					specs.Mount{Destination: "/x", Type: "tmpfs"},
					specs.Mount{Destination: "/deep/down", Source: "/bin", Options: []string{"rbind", "ro"}})
			})
			c.build(t, filepath.Join(b, "rootfs"))
			out, status := r.do("run", "--bundle", b, "cloche-hostile")
			switch {
			case strings.Contains(out, "host\n"):
				t.Errorf("the host's file was read: %q", out)
			case c.refused == "" && status != 0:
				t.Errorf("exit %d: %s", status, out)
			case c.refused != "" && (status == 0 || !strings.Contains(out, c.refused)):
				t.Errorf("exit %d: %s, want …%s…", status, out, c.refused)
			}
			untouched(t)
		})
	}
}

func link(name, to string) func(*testing.T, string) {
	return func(t *testing.T, root string) {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func file(name string) func(*testing.T, string) {
	return func(t *testing.T, root string) {
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRacingRootfs swaps directories for links to the host while containers are made.
func TestRacingRootfs(t *testing.T) {
	r := newRuntime(t)
	target, untouched := canary(t)
	b := bundle(t, func(s *specs.Spec) {
		s.Root.Readonly = false
		s.Process.Args = []string{"true"}
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/a/b/c", Type: "tmpfs"}, specs.Mount{Destination: "/a/b/d/e", Source: "/bin", Options: []string{"rbind", "ro"}})
	})
	root := filepath.Join(b, "rootfs")
	if err := os.MkdirAll(filepath.Join(root, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, filepath.Join(root, "other")); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var swapper sync.WaitGroup
	swapper.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, filepath.Join(root, "a", "b"), unix.AT_FDCWD, filepath.Join(root, "other"), unix.RENAME_EXCHANGE)
			}
		}
	})
	ran, refused := 0, 0
	deadline := time.Now().Add(3 * time.Second)
	for time.Now().Before(deadline) {
		if _, status := r.do("run", "--bundle", b, "cloche-racing"); status == 0 {
			ran++
		} else {
			refused++
		}
	}
	close(stop)
	swapper.Wait()
	t.Logf("%d ran, %d were refused", ran, refused)
	if ran == 0 {
		t.Error("none ran")
	}
	untouched(t)
}

// TestIDs: no id leads out of the runtime's own directory.
func TestIDs(t *testing.T) {
	r := newRuntime(t)
	b := bundle(t, nil)
	for _, id := range []string{"../../x", "..", ".", "a/b", "/", "x\n", "ä", "a b", strings.Repeat("x", maxID+1)} {
		for _, verb := range []string{"state", "start", "kill", "delete"} {
			if out, status := r.do(verb, id); status == 0 || !strings.Contains(out, "invalid container ID format") {
				t.Errorf("%s %q: exit %d: %s", verb, id, status, out)
			}
		}
		if out, status := r.do("create", "--bundle", b, id); status == 0 || !strings.Contains(out, "invalid container ID format") {
			t.Errorf("create %q: exit %d: %s", id, status, out)
		}
	}
}

// TestBoth: of two commands at once one does it, and the other says why not.
func TestBoth(t *testing.T) {
	r := newRuntime(t)
	b := bundle(t, nil)
	for i := range 5 {
		id := fmt.Sprintf("cloche-both-%d", i)
		done := make(chan int, 2)
		for range 2 {
			go func() {
				_, status := r.do("create", "--bundle", b, id)
				done <- status
			}()
		}
		if a, b := <-done, <-done; a+b != 1 {
			t.Errorf("two creates: %d and %d", a, b)
		}
		for range 2 {
			go func() {
				_, status := r.do("start", id)
				done <- status
			}()
		}
		if a, b := <-done, <-done; a+b != 1 {
			t.Errorf("two starts: %d and %d", a, b)
		}
		r.ok("delete", "--force", id)
	}
}
