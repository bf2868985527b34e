package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/needs"
)

// TestMain makes the test program the runtime where it is called by its name, and
// adopts what a container leaves behind, as pid 1 may reap nothing.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == programName {
		os.Exit(Main(os.Args))
	}
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	os.Exit(m.Run())
}

// runtimeOf runs commands of the runtime with a root directory of the test's own.
type runtimeOf struct {
	t    *testing.T
	root string
	log  string
}

// newRuntime skips a test that this user can't do.
func newRuntime(t *testing.T) *runtimeOf {
	t.Helper()
	needs.Root(t, "its containers have limits, and ids of the host's")
	needs.Programs(t, "busybox")
	dir := t.TempDir()
	r := &runtimeOf{t: t, root: filepath.Join(dir, "root"), log: filepath.Join(dir, "log.json")}
	t.Cleanup(func() {
		entries, _ := os.ReadDir(r.root)
		for _, e := range entries {
			if e.Name() == cacheDir {
				continue
			}
			if out, status := r.do("delete", "--force", e.Name()); status != 0 {
				t.Errorf("delete --force %s: %s", e.Name(), out)
			}
		}
	})
	return r
}

// do runs a command and returns what it says and its status.
func (r *runtimeOf) do(args ...string) (string, int) {
	r.t.Helper()
	return r.feed("", args...)
}

func (r *runtimeOf) feed(stdin string, args ...string) (string, int) {
	r.t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = append([]string{programName, "--root", r.root, "--log", r.log, "--log-format", "json"}, args...)
	cmd.Stdin = strings.NewReader(stdin)
	// A file, not a pipe: a container that stays has it open.
	out, err := os.CreateTemp(r.t.TempDir(), "")
	if err != nil {
		r.t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.t.Fatal(err)
	}
	text, err := os.ReadFile(out.Name())
	if err != nil {
		r.t.Fatal(err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

// ok is do for a command that has to work.
func (r *runtimeOf) ok(args ...string) string {
	r.t.Helper()
	out, status := r.do(args...)
	if status != 0 {
		r.t.Fatalf("%q: exit %d: %s", args, status, out)
	}
	return out
}

// refused is do for a command that must not work: it says why, on standard error
// and in the log.
func (r *runtimeOf) refused(status int, want string, args ...string) {
	r.t.Helper()
	out, got := r.do(args...)
	if got != status || !strings.Contains(out, want) {
		r.t.Errorf("%q: exit %d: %s, want %d and …%s…", args, got, out, status, want)
	}
	data, err := os.ReadFile(r.log)
	if err != nil {
		r.t.Error(err)
		return
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte{'\n'})
	var last struct{ Level, Msg, Time string }
	if err := json.Unmarshal(lines[len(lines)-1], &last); err != nil || last.Level != "error" || !strings.Contains(last.Msg, want) || last.Time == "" {
		r.t.Errorf("%q: the log's last line is %s", args, lines[len(lines)-1])
	}
}

// bundle is a directory with busybox as its root file system, and a config.json.
func bundle(t *testing.T, change func(*specs.Spec)) string {
	t.Helper()
	dir := t.TempDir()
	// For a container with ids of its own.
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "rootfs", "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "busybox"), data, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sh", "cat", "sleep", "true", "id", "ls", "mount", "head", "tail", "mkdir", "ps", "env", "pwd", "hostname", "uname", "grep", "tr", "ionice", "cut", "sort", "mv", "ln", "rm", "sed", "readlink"} {
		if err := os.Symlink("busybox", filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	s := example(false)
	s.Process.Terminal = false
	s.Process.Args = []string{"sleep", "100"}
	if change != nil {
		change(s)
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}
