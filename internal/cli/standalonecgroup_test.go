package cli_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
	"github.com/cloche-sandbox/cloche/internal/needs"
)

// memoryParent makes a cgroup of a hierarchy that limits memory and, where bare
// is set, has no pids controller, for executables to make theirs in.
func memoryParent(t *testing.T, bare bool) string {
	t.Helper()
	needs.Root(t, "to make the cgroup that an executable makes its own in")
	l, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range l.Hierarchies {
		if h.Own == "" || h.Version == 2 || !slices.Contains(h.Controllers, "memory") || bare && slices.Contains(h.Controllers, "pids") {
			continue
		}
		dir, err := os.MkdirTemp(h.Own, "cloche-test-")
		if err != nil {
			needs.Skip(t, "needs a writable memory hierarchy: "+err.Error())
		}
		t.Cleanup(func() {
			left, _ := filepath.Glob(filepath.Join(dir, "cloche-*"))
			for _, d := range left {
				t.Errorf("%s is left", d)
				_ = os.Remove(d)
			}
			if err := os.Remove(dir); err != nil {
				t.Error(err)
			}
		})
		return dir
	}
	needs.Elsewhere(t, "needs a cgroup v1 hierarchy that limits memory")
	return ""
}

// built writes a policy, builds an executable with it, and returns its path.
func built(t *testing.T, policy string, command ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "limit.toml"), []byte(policy), 0o644); err != nil {
		t.Fatal(err)
	}
	build := cloche(append([]string{"build", "--policy", "limit.toml", "-o", "image", "--"}, command...)...)
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return filepath.Join(dir, "image")
}

// runBuilt runs an executable, and returns its exit status and what it wrote to stderr.
func runBuilt(t *testing.T, image string) (int, string) {
	t.Helper()
	cmd := exec.Command(image)
	cmd.Dir = filepath.Dir(image)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), stderr.String()
}

func limits(parent, more string) string {
	return "extends = \"default\"\n[limits]\nparent = " + strconv.Quote(parent) + "\n" + more
}

// TestStandaloneWhereAvailable: a where-available limit whose controller the
// cgroup lacks is left out; a required one is refused by name, and the
// directory that was made for it is taken away.
func TestStandaloneWhereAvailable(t *testing.T) {
	requireSandbox(t)
	parent := memoryParent(t, true)
	if code, said := runBuilt(t, built(t, limits(parent, "memory = \"64M\"\n"), "true")); code != 0 || said != "" {
		t.Errorf("with pids where-available: status %d, %q", code, said)
	}
	code, said := runBuilt(t, built(t, limits(parent, "memory = \"64M\"\npids = 20\n"), "true"))
	if code != 125 {
		t.Errorf("with pids required: status %d", code)
	}
	for _, want := range []string{"cloche: limits.pids in " + parent, "limit.toml:5", "ENOENT", "no pids.max", "limits.where-available"} {
		if !strings.Contains(said, want) {
			t.Errorf("there is no %q in %q", want, said)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(parent, "cloche-*")); left != nil {
		t.Errorf("the failed one left %v", left)
	}
}

// TestStandaloneNoParent: a directory that is not there is named; where no limit
// has to hold, it does not have to be there.
func TestStandaloneNoParent(t *testing.T) {
	requireSandbox(t)
	const parent = "/sys/fs/cgroup/cloche-not-there"
	code, said := runBuilt(t, built(t, limits(parent, "memory = \"64M\"\n"), "true"))
	if code != 125 || !strings.Contains(said, parent+" (limit.toml:3): ENOENT: there is no such directory here") || strings.Contains(said, "run again") {
		t.Errorf("status %d, %q", code, said)
	}
	if code, said := runBuilt(t, built(t, limits(parent, ""), "true")); code != 0 || said != "" {
		t.Errorf("all where-available: status %d, %q", code, said)
	}
	dir := t.TempDir()
	image := built(t, "extends = \"default\"\nfilesystem.read = ["+strconv.Quote(dir)+"]\n", "true")
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	code, said = runBuilt(t, image)
	if code != 125 || !strings.Contains(said, dir) || !strings.Contains(said, "not there on this machine") || strings.Contains(said, "since the plan") {
		t.Errorf("without the directory that it shows: status %d, %q", code, said)
	}
}

// TestStandaloneSwept: what a killed executable leaves, the next run removes.
func TestStandaloneSwept(t *testing.T) {
	requireSandbox(t)
	parent := memoryParent(t, false)
	image := built(t, limits(parent, "memory = \"64M\"\n"), "sleep", "30")
	dirs := func() []string {
		d, _ := filepath.Glob(filepath.Join(parent, "cloche-*"))
		return d
	}
	wait := func(what string, done func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: not within 10 s", what)
			}
		}
	}
	occupied := func(dir string) bool {
		b, _ := os.ReadFile(filepath.Join(dir, "tasks"))
		return strings.Contains(string(b), "\n")
	}
	start := func() *exec.Cmd {
		cmd := exec.Command(image)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		own := filepath.Join(parent, "cloche-"+strconv.Itoa(cmd.Process.Pid))
		wait("in its cgroup", func() bool { return occupied(own) })
		return cmd
	}
	first := start()
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	left := filepath.Join(parent, "cloche-"+strconv.Itoa(first.Process.Pid))
	wait("the sandbox is gone", func() bool { return !occupied(left) })
	if len(dirs()) != 1 {
		t.Fatalf("there are %v", dirs())
	}
	second := start() // has swept before it entered its own
	if d := dirs(); len(d) != 1 || d[0] == left {
		t.Errorf("while the next one runs there are %v", d)
	}
	third := start() // and leaves alone what is in use
	if d := dirs(); len(d) != 2 {
		t.Errorf("while two run there are %v", d)
	}
	for _, c := range []*exec.Cmd{second, third} {
		_ = c.Process.Signal(syscall.SIGTERM)
		_ = c.Wait()
	}
}

// TestStandaloneMemory: an executable whose command the memory limit ended says so.
func TestStandaloneMemory(t *testing.T) {
	requireSandbox(t)
	parent := memoryParent(t, false)
	code, said := runBuilt(t, built(t, limits(parent, "memory = \"16M\"\nswap = 0\n"), "sh", "-c", "exec tail /dev/zero"))
	const want = "cloche: the command was killed: its memory limit of 16M is used up (limit.toml:4); to allow more: build it with --memory\n"
	if code != 137 || said != want {
		t.Errorf("status %d, %q; want %q", code, said, want)
	}
	if code, said := runBuilt(t, built(t, limits(parent, "memory = \"16M\"\n"), "sh", "-c", "kill -9 $$")); code != 137 || said != "" {
		t.Errorf("killed otherwise: status %d, %q", code, said)
	}
}

// TestStandaloneFalseProc: what is no procfs gets no id maps, and is named.
func TestStandaloneFalseProc(t *testing.T) {
	requireSandbox(t)
	needs.Root(t, "to mount something else at /proc")
	image := built(t, "extends = \"default\"\n", "true")
	cmd := exec.Command("unshare", "-m", "sh", "-c", `mount -t tmpfs none /proc && mkdir /proc/self && cd /proc/self && touch setgroups uid_map gid_map && "$1"; echo $? $(cat uid_map)`, "sh", image)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !strings.Contains(string(out), "cloche: check /proc: EPERM: what is mounted at /proc is no proc file system") || !strings.HasSuffix(string(out), "\n125\n") {
		t.Errorf("%s", out)
	}
}
