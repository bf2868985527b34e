package needs

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// UID is the ordinary user: an id that no machine gives to anybody.
const UID = 61358

// OrdinaryUser runs the test program once more, with the same arguments, as an
// ordinary user with a home of its own, and returns its exit status. It is for a
// TestMain that runs as root.
func OrdinaryUser() int {
	dir, err := os.MkdirTemp("/tmp", "cloche-user-")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(dir)
	exe := filepath.Join(dir, filepath.Base(os.Args[0]))
	home := filepath.Join(dir, "home")
	if err := copyExecutable("/proc/self/exe", exe); err != nil {
		fmt.Println(err)
		return 1
	}
	for _, err := range []error{os.Chmod(dir, 0o755), os.Mkdir(home, 0o755), os.Chown(home, UID, UID)} {
		if err != nil {
			fmt.Println(err)
			return 1
		}
	}
	fmt.Println("--- again as an ordinary user")
	// Without what names files of the first run's.
	args := slices.DeleteFunc(slices.Clone(os.Args[1:]), func(a string) bool {
		return strings.HasPrefix(a, "-test.testlogfile") || strings.HasPrefix(a, "-test.coverprofile") || strings.HasPrefix(a, "-test.gocoverdir")
	})
	cmd := exec.Command(exe, args...)
	cmd.Dir = home
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: UID, Gid: UID}}
	// Records are made where they would be shown, as below /tmp where nothing names a place: package named.
	cmd.Env = []string{"HOME=" + home, "TMPDIR=" + home, "PATH=/usr/local/bin:/usr/bin:/bin", "CLOCHE_STATE_DIR=" + home + "/.sandboxes", "CLOCHE_REQUIRE=" + os.Getenv("CLOCHE_REQUIRE")}
	if err := cmd.Run(); err != nil {
		fmt.Println("as an ordinary user:", err)
		return 1
	}
	return 0
}

func copyExecutable(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	return err
}
