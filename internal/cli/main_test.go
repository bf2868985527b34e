package cli_test

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cloche-sandbox/cloche/internal/cli"
	"github.com/cloche-sandbox/cloche/internal/cli/tree"
	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/internal/named"
)

// The test binary is also the program itself (when it is called cloche), and a
// prober that runs inside a sandbox.
func TestMain(m *testing.M) {
	if os.Getenv(probeVariable) != "" {
		probe(os.Stdin, os.Stdout)
		os.Exit(0)
	}
	if len(os.Args) > 1 && os.Args[1] == host.ProbeArg {
		host.ProbeMain(os.Args[2:])
	}
	testscript.Main(m, map[string]func(){"cloche": func() { os.Exit(cli.Main(os.Args, tree.Execute)) }})
}

// testUser is an ordinary user that no machine has, so that no login, quota or
// file is touched.
const testUser = 61357

// asRootAndUser runs a test as who runs it, and if that is root, again as an
// ordinary user: the test binary, copied where that user may read it.
func asRootAndUser(t *testing.T, run func(t *testing.T)) {
	if os.Geteuid() != 0 {
		t.Run("user", run)
		return
	}
	t.Run("root", run)
	t.Run("user", func(t *testing.T) {
		dir := openDir(t)
		exe := filepath.Join(dir, "cli.test")
		copyFile(t, "/proc/self/exe", exe, 0o755)
		home := filepath.Join(dir, "home")
		if err := os.Mkdir(home, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(home, testUser, testUser); err != nil {
			t.Fatal(err)
		}
		src, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		copyTree(t, filepath.Join(src, "testdata"), filepath.Join(home, "testdata"))
		name, _, _ := strings.Cut(t.Name(), "/")
		pattern := "^" + name + "$"
		if f := flag.Lookup("test.run"); f != nil && strings.HasPrefix(f.Value.String(), name+"/") {
			pattern = f.Value.String() // a part of it was asked for
		}
		cmd := exec.Command(exe, "-test.run="+pattern, "-test.v="+fmt.Sprint(testing.Verbose()))
		cmd.Dir = home
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: testUser, Gid: testUser}}
		cmd.Env = []string{"HOME=" + home, "TMPDIR=" + home, "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "USER=somebody", named.DirVariable + "=" + home + "/.sandboxes", "CLOCHE_REQUIRE=" + os.Getenv("CLOCHE_REQUIRE")}
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Fatalf("as uid %d: %v", testUser, err)
		}
	})
}

// openDir is a temporary directory that every user may enter.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "cloche-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// What the samples closed must be opened for its removal.
		_ = filepath.WalkDir(dir, func(p string, e os.DirEntry, _ error) error {
			if e != nil && e.IsDir() {
				return os.Chmod(p, 0o700)
			}
			return nil
		})
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func copyFile(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(out, in)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Chmod(to, mode)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if err := filepath.WalkDir(to, func(p string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(p, testUser, testUser)
	}); err != nil {
		t.Fatal(err)
	}
}

// cloche is the program as a child process.
func cloche(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = append([]string{"cloche"}, args...)
	return cmd
}
