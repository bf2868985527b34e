package cli_test

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/cgroup"

	"github.com/cloche-sandbox/cloche/internal/needs"
)

// works runs a sandbox with flags and reports whether that is possible here, and
// why not.
func works(flags ...string) (bool, string) {
	out, err := cloche(append(append([]string{"run"}, flags...), "--", "true")...).CombinedOutput()
	return err == nil, strings.TrimSpace(string(out))
}

var sandboxWorks = sync.OnceValues(func() (bool, string) { return works() })

// requireSandbox skips where no sandbox can be made.
func requireSandbox(t testing.TB) {
	t.Helper()
	if ok, why := sandboxWorks(); !ok {
		needs.Skip(t, "no sandbox can be made here: "+why)
	}
}

// condition is what a script may ask for in brackets.
func condition(name string) (bool, error) {
	switch name {
	case "user":
		return os.Geteuid() != 0, nil
	case "root":
		return os.Geteuid() == 0, nil
	case "overlay":
		ok, _ := works("--overlay", os.TempDir())
		return ok, nil
	case "userns":
		ok, _ := sandboxWorks()
		return ok, nil
	case "systemd":
		_, err := os.Stat("/run/systemd/system")
		return err == nil, nil
	case "cgroup1":
		l, err := cgroup.Detect()
		return err == nil && (l.String() == "v1" || l.String() == "hybrid"), nil
	case "disk":
		var st unix.Stat_t
		err := unix.Stat(os.TempDir(), &st)
		return err == nil && unix.Major(st.Dev) != 0, nil
	case "landlock":
		_, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
		return e == 0, nil
	case "cgroup":
		ok, _ := works("--memory", "1G")
		return ok, nil
	}
	if prog, ok := strings.CutPrefix(name, "inside:"); ok {
		_, err := exec.LookPath(prog)
		if err != nil {
			return false, nil
		}
		out, err := cloche("can", "exec", firstOf(prog)).CombinedOutput()
		return err == nil && strings.HasPrefix(string(out), "yes"), nil
	}
	return false, os.ErrInvalid
}

// firstOf is where a program is for the default profile's PATH.
func firstOf(prog string) string {
	for _, dir := range []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
		if _, err := os.Stat(dir + "/" + prog); err == nil {
			return dir + "/" + prog
		}
	}
	return "/usr/bin/" + prog
}
