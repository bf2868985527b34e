package engines

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/launcher"
)

var (
	// base is the folder of everything that a run makes on a disk.
	base string
	// ociRuntime is the runtime under test.
	ociRuntime string
)

// runtimeVariable names a runtime to try in place of cloche-oci.
const runtimeVariable = "CLOCHE_OCI_RUNTIME"

func TestMain(m *testing.M) {
	if os.Getenv(machineVariable) != "" {
		machineMain()
	}
	flag.Parse()
	if testing.Short() || os.Geteuid() != 0 {
		os.Exit(m.Run()) // each says that it is skipped
	}
	os.Exit(func() int {
		var err error
		if base, err = os.MkdirTemp("", "cloche-engines-"); err != nil {
			fmt.Println(err)
			return 1
		}
		defer os.RemoveAll(base)
		// An ordinary user's engine has its folder below.
		if err = os.Chmod(base, 0o755); err == nil {
			err = findRuntime()
		}
		if err != nil {
			fmt.Println(err)
			return 1
		}
		status := m.Run()
		for _, what := range leftBehind() {
			fmt.Println("left behind:", what)
			status = 1
		}
		return status
	}())
}

// findRuntime builds cloche, and gives it the name by which engines start it.
func findRuntime() error {
	if ociRuntime = os.Getenv(runtimeVariable); ociRuntime != "" {
		_, err := os.Stat(ociRuntime)
		return err
	}
	cloche := filepath.Join(base, "cloche")
	beside := filepath.Join(base, "bwrap.part")
	for _, argv := range [][]string{ // as `make build` does
		{"go", "build", "-trimpath", "-ldflags", "-s -w", "-o", cloche, "./cmd/cloche"},
		{"go", "build", "-trimpath", "-ldflags", fmt.Sprintf("-s -w -T %#x", launcher.BaseBeside+0x1000), "-o", beside, "./cmd/bwrap"},
		{"go", "run", "./internal/prelude", cloche, beside},
	} {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Dir = "../../.."
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w\n%s", cmd, err, out)
		}
	}
	ociRuntime = filepath.Join(base, "cloche-oci")
	return os.Symlink("cloche", ociRuntime)
}

// under reports whether the runtime under test is one of these, by its file's name.
func under(names ...string) bool {
	for _, n := range names {
		if filepath.Base(ociRuntime) == n {
			return true
		}
	}
	return false
}

// leftBehind is what a run should have taken away again, outside of its machines.
func leftBehind() []string {
	var left []string
	prefix := cgroupPrefix()
	for _, h := range hierarchies() {
		found, _ := filepath.Glob(filepath.Join(h.own(), prefix+"*"))
		for _, dir := range found {
			left = append(left, "cgroup "+dir)
		}
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err == nil {
		for line := range strings.Lines(string(mounts)) {
			if strings.Contains(line, base) {
				left = append(left, "mount "+strings.TrimSpace(line))
			}
		}
	}
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range processes {
		in, _ := os.ReadFile(p + "/cgroup")
		environment, _ := os.ReadFile(p + "/environ")
		if pid, _ := strconv.Atoi(filepath.Base(p)); pid != os.Getpid() && (bytes.Contains(in, []byte(prefix)) || bytes.Contains(environment, []byte(base))) {
			name, _ := os.ReadFile(p + "/comm")
			left = append(left, fmt.Sprintf("process %d, %s", pid, strings.TrimSpace(string(name))))
		}
	}
	if f, err := os.Open("/proc/net/dev"); err == nil {
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			if name := strings.TrimSpace(s.Text()); strings.HasPrefix(name, linkPrefix) {
				left = append(left, "interface "+name)
			}
		}
	}
	entries, err := os.ReadDir(base)
	if err != nil {
		left = append(left, err.Error())
	}
	for _, e := range entries {
		if e.IsDir() {
			left = append(left, "folder "+filepath.Join(base, e.Name()))
		}
	}
	return left
}

// canRaiseLimits: CAP_SYS_RESOURCE is what all of a privileged container's capabilities
// include, and not every root has it.
func canRaiseLimits() bool {
	have, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, unix.CAP_SYS_RESOURCE, 0, 0, 0)
	return err == nil && have == 1
}
