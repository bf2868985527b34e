package sandbox_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/sandbox"
)

// beginOld is the beginning of helpers that are an old kernel's.
func beginOld(mount func(dir string) error) (dir string, p *policy.Policy) {
	dir = os.Getenv(treeVariable)
	err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	if err == nil {
		err = mount(dir)
	}
	if err == nil {
		err = becomeOld()
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	p = defaultsForHelper()
	p.Mounts = append(p.Mounts, policy.Mount{Kind: policy.Read, Path: dir})
	return dir, p
}

func mountTmpfs(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=777")
}

func init() {
	helpers["old kernel, closed"] = func() {
		dir, p := beginOld(func(dir string) error {
			if err := mountTmpfs(dir + "/theirs/closed/m"); err != nil {
				return err
			}
			if err := os.Chown(dir+"/theirs/closed", needs.UID, needs.UID); err != nil {
				return err
			}
			return os.Chmod(dir+"/theirs/closed", 0o700)
		})
		c := sandbox.Command(context.Background(), p, "sh", "-c", `echo; read go; cd "$1" && ls theirs/closed theirs/closed/m; cat /proc/self/mountinfo`, "sh", dir)
		c.Dir, c.Stderr = "/", os.Stdout
		in, err := c.StdinPipe()
		if err == nil {
			c.Stdout = os.Stdout
			err = c.Start()
		}
		if err == nil {
			// What the command could reach from now on was not made read-only.
			err = os.Chmod(dir+"/theirs/closed", 0o755)
			fmt.Fprintln(in, "go")
			in.Close()
		}
		if werr := c.Wait(); err == nil {
			err = werr
		}
		if err != nil {
			fmt.Println(err)
		}
	}

	helpers["old kernel, renames"] = func() {
		dir, p := beginOld(func(dir string) error {
			for _, d := range []string{"/a/b/one", "/a/b/one/two", "/c/three"} {
				if err := mountTmpfs(dir + d); err != nil {
					return err
				}
			}
			return nil
		})
		stop, stopped := make(chan bool), make(chan bool)
		go func() {
			defer close(stopped)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				for _, r := range [][2]string{{"/a/b", "/a/d"}, {"/a", "/e"}, {"/c", "/a"}, {"/a", "/c"}, {"/e", "/a"}, {"/a/d", "/a/b"}} {
					if err := os.Rename(dir+r[0], dir+r[1]); err != nil {
						fmt.Println(err)
					}
				}
			}
		}()
		for range 40 {
			fmt.Println(section)
			c := sandbox.Command(context.Background(), p, "cat", "/proc/self/mountinfo")
			c.Dir, c.Stdout, c.Stderr = "/", os.Stdout, os.Stdout
			if err := c.Run(); err != nil {
				fmt.Println(err)
			}
		}
		close(stop)
		<-stopped
	}
}

// TestOldKernelClosedDirectory: a mount that this user can't reach, and so not
// restrict, stays out of reach when somebody opens the way to it.
func TestOldKernelClosedDirectory(t *testing.T) {
	needs.Root(t, "to mount where an ordinary user may not look")
	dir := t.TempDir()
	out := inOwnNamespace(t, "old kernel, closed", treeVariable+"="+dir)
	mounts, other := visible(t, out)
	if said := strings.Join(other, ""); strings.Count(said, "ermission denied") != 2 {
		t.Errorf("it says\n%s", said)
	}
	if !slices.Contains(mounts, "/ "+dir+"/theirs/closed ro,nosuid,nodev,noexec,relatime") {
		t.Errorf("the closed directory is not covered:\n%s", strings.Join(mounts, "\n"))
	}
	for _, m := range mounts {
		if strings.Contains(m, "closed/m ") {
			t.Errorf("%s can be reached", m)
		}
	}
}

// TestOldKernelRenames: directories that are renamed while their mounts are
// looked for make the start fail at worst.
func TestOldKernelRenames(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	out := inOwnNamespace(t, "old kernel, renames", treeVariable+"="+dir)
	failed, started := 0, 0
	for _, s := range strings.Split(out, section)[1:] {
		mounts, other := visible(t, strings.TrimPrefix(s, "\n"))
		if said := strings.Join(other, ""); len(mounts) == 0 {
			failed++
			if !strings.Contains(said, "read "+dir) || !strings.Contains(said, "EBUSY") {
				t.Errorf("it says %s", said)
			}
			continue
		}
		started++
		n := 0
		for _, m := range mounts {
			if strings.Contains(m, " "+dir) {
				n++
				if !strings.HasSuffix(m, " ro,nosuid,nodev,relatime") {
					t.Errorf("%s", m)
				}
			}
		}
		if n != 4 {
			t.Errorf("%d mounts of the tree:\n%s", n, strings.Join(mounts, "\n"))
		}
	}
	t.Logf("%d started, %d failed", started, failed)
	if started+failed != 40 {
		t.Errorf("%d runs:\n%s", started+failed, out)
	}
}
