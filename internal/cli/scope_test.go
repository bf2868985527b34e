package cli_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
	"github.com/cloche-sandbox/cloche/internal/needs"
)

// nobody is a user that a message bus can look up.
const nobody = 65534

// manager is as much of systemd's as a scope needs: it makes a directory in
// cgroup2, hands it to the test's user, and moves the process there.
type manager struct {
	conn   *dbus.Conn
	root   string // directory that scopes are made in
	result string
	scopes []string
}

type unitProperty struct {
	Name  string
	Value dbus.Variant
}

type auxiliaryUnit struct {
	Name       string
	Properties []unitProperty
}

const managerObject = "/org/freedesktop/systemd1"

// StartTransientUnit is called over the bus.
func (m *manager) StartTransientUnit(name, _ string, properties []unitProperty, _ []auxiliaryUnit) (dbus.ObjectPath, *dbus.Error) {
	const job = dbus.ObjectPath(managerObject + "/job/7")
	if err := m.make(name, properties); err != nil {
		return job, dbus.MakeFailedError(err)
	}
	go func() {
		time.Sleep(5 * time.Millisecond) // the answer goes first
		_ = m.conn.Emit(managerObject, "org.freedesktop.systemd1.Manager.JobRemoved", uint32(7), job, name, m.result)
	}()
	return job, nil
}

func (m *manager) make(name string, properties []unitProperty) error {
	dir := filepath.Join(m.root, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	m.scopes = append(m.scopes, dir)
	for _, f := range []string{"", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"} {
		if err := os.Chown(filepath.Join(dir, f), nobody, nobody); err != nil {
			return err
		}
	}
	for _, p := range properties {
		if pids, ok := p.Value.Value().([]uint32); ok && p.Name == "PIDs" && len(pids) == 1 {
			return os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Append(nil, pids[0]), 0)
		}
	}
	return fmt.Errorf("no process to move in %v", properties)
}

// serve puts m on a bus in the runtime directory.
func (m *manager) serve(t *testing.T, runtimeDir string) {
	t.Helper()
	daemon, err := exec.LookPath("dbus-daemon")
	if err != nil {
		needs.Skip(t, "dbus-daemon, of the package dbus, is not installed")
	}
	// The manager is root and its caller is not; a user's own bus is for one user.
	const config = `<busconfig><type>session</type><auth>EXTERNAL</auth><listen>%s</listen><policy context="default">
<allow user="*"/><allow own="*"/><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/></policy></busconfig>`
	address := "unix:path=" + filepath.Join(runtimeDir, "bus")
	file := filepath.Join(t.TempDir(), "bus.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, config, address), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(daemon, "--config-file="+file, "--nofork", "--nopidfile", "--print-address=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if m.conn, err = dbus.Connect(address); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.conn.Close() })
	if err := m.conn.Export(m, managerObject, "org.freedesktop.systemd1.Manager"); err != nil {
		t.Fatal(err)
	}
	if _, err := m.conn.RequestName("org.freedesktop.systemd1", 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, dir := range m.scopes {
			for _, d := range []string{filepath.Join(dir, "supervisor"), dir} {
				if err := os.Remove(d); err != nil && !os.IsNotExist(err) {
					t.Error(err)
				}
			}
		}
	})
}

// alone is `cloche run` of an ordinary user who may make no cgroup, on a machine
// that has cgroup2 alone and systemd.
func alone(t *testing.T, exe, runtimeDir string, args ...string) (stderr string, err error) {
	t.Helper()
	const script = `
mount --make-rprivate /
awk '$3 == "cgroup" { print $2 }' /proc/mounts | while read -r dir; do umount "$dir"; done
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system
exec setpriv --reuid="$1" --regid="$1" --clear-groups -- "$2" run "${@:3}"`
	cmd := exec.Command("unshare", append([]string{"--mount", "bash", "-ec", script, "bash", fmt.Sprint(nobody), exe}, args...)...)
	cmd.Dir = filepath.Dir(runtimeDir)
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "XDG_RUNTIME_DIR=" + runtimeDir}
	var text strings.Builder
	cmd.Stderr = &text
	out, err := cmd.Output()
	t.Logf("%q: %s%s%v", args, out, text.String(), err)
	return text.String(), err
}

// TestScope: a limit that an ordinary user may not have set is enforced in a
// scope that systemd's user manager makes.
func TestScope(t *testing.T) {
	needs.Root(t, "to be a manager for another user")
	for _, program := range []string{"unshare", "setpriv", "bash", "go"} {
		if _, err := exec.LookPath(program); err != nil {
			needs.Skip(t, program+" is not installed")
		}
	}
	l, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	root := ""
	for _, h := range l.Hierarchies {
		if h.Version == 2 && !h.ReadOnly {
			root = h.Own
		}
	}
	if root == "" {
		needs.Skip(t, "needs a writable cgroup2")
	}
	// The program itself: what it does before main counts here.
	exe := filepath.Join(openDir(t), "cloche")
	if out, err := exec.Command("go", "build", "-o", exe, "../../cmd/cloche").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	newRuntimeDir := func(t *testing.T) string {
		dir := filepath.Join(openDir(t), "run")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		return dir
	}

	t.Run("made", func(t *testing.T) {
		dir := newRuntimeDir(t)
		m := &manager{root: root, result: "done"}
		m.serve(t, dir)
		result := filepath.Join(dir, "result.json")
		stderr, err := alone(t, exe, dir, "--cpu-time", "200ms", "--name", "spin", "--result", result, "--", "sh", "-c", "while :; do :; done")
		if want := "it used 200ms of CPU time (--cpu-time 200ms)"; err == nil || !strings.Contains(stderr, want) {
			t.Errorf("%q, %v, want %q", stderr, err, want)
		}
		if text, err := os.ReadFile(result); err != nil || !strings.HasPrefix(string(text), `{"reason":"cpu-time",`) {
			t.Errorf("%s, %v", text, err)
		}
		if len(m.scopes) != 1 || !strings.HasSuffix(m.scopes[0], "-spin.scope") {
			t.Errorf("scopes %q", m.scopes)
		}
		// What needs no cgroup does not ask for one, nor does what may go without.
		if stderr, err := alone(t, exe, dir, "--wall-time", "10s", "--", "true"); err != nil || stderr != "" || len(m.scopes) != 1 {
			t.Errorf("%q, %v, scopes %q", stderr, err, m.scopes)
		}
	})
	t.Run("refused", func(t *testing.T) {
		dir := newRuntimeDir(t)
		m := &manager{root: root, result: "failed"}
		m.serve(t, dir)
		stderr, err := alone(t, exe, dir, "--cpu-time", "200ms", "--", "true")
		for _, want := range []string{"cloche: time.cpu (--cpu-time 200ms): user ", " may not make a cgroup in ", ", and systemd refused to make the scope ", "; look in ", "; or "} {
			if err == nil || !strings.Contains(stderr, want) {
				t.Errorf("%q, %v, want %q", stderr, err, want)
			}
		}
		if strings.Count(stderr, "\n") != 1 {
			t.Errorf("not one line: %q", stderr)
		}
	})
	t.Run("nobody listens", func(t *testing.T) {
		dir := newRuntimeDir(t)
		if err := os.WriteFile(filepath.Join(dir, "bus"), nil, 0o666); err != nil {
			t.Fatal(err)
		}
		stderr, err := alone(t, exe, dir, "--cpu-time", "200ms", "--", "true")
		if err == nil || !strings.Contains(stderr, ", and systemd") || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%q, %v, want both causes in a line", stderr, err)
		}
	})
	t.Run("no bus", func(t *testing.T) {
		stderr, err := alone(t, exe, newRuntimeDir(t), "--cpu-time", "200ms", "--", "true")
		if err == nil || strings.Contains(stderr, ", and systemd") || !strings.Contains(stderr, "may not make a cgroup") {
			t.Errorf("%q, %v", stderr, err)
		}
	})
}
