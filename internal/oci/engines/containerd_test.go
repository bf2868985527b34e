package engines

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cloche-sandbox/cloche/internal/needs"
)

const (
	busyboxImage = "docker.io/library/busybox:latest"
	pauseImage   = "docker.io/library/pause:1"
)

// containerdConfig has a RuntimeClass handler for the runtime under test, and one for runc
// beside it. What is off needs a host with AppArmor, or root with CAP_SYS_RESOURCE.
const containerdConfig = `version = 2
root = "%[1]s/containerd"
state = "/run/containerd"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "` + pauseImage + `"
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "/etc/cni/net.d"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "/usr/sbin/runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.cloche]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.cloche.options]
BinaryName = "%[2]s"
`

// newContainerd starts containerd.
func newContainerd(t testing.TB, m *machine) *daemon {
	t.Helper()
	needs.Programs(t, "containerd", "ctr", "runc", "nsenter", "ip")
	file := filepath.Join(m.dir, "containerd.toml")
	if err := os.WriteFile(file, []byte(fmt.Sprintf(containerdConfig, m.dir, ociRuntime)), 0o644); err != nil {
		t.Fatal(err)
	}
	d := m.daemon(t, "containerd", "--config", file, "--log-level", "warn")
	eventually(t, 60*time.Second, func() string {
		if out, err := m.try("ctr", "version"); err != nil {
			return out + "\n" + d.said(10)
		}
		return ""
	})
	return d
}

func TestContainerd(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "containerd")
	newContainerd(t, m)
	ctr := func(t testing.TB, args ...string) string {
		t.Helper()
		return m.run(t, append([]string{"ctr"}, args...)...)
	}
	ctr(t, "images", "import", m.archive(t, busyboxImage, busyboxTar(t), "sh"))
	state := "/run/containerd/runc/default"
	run := []string{"run", "--runc-binary", ociRuntime}
	m.remember(state)
	start := func(t testing.TB, id string, options []string, argv ...string) {
		t.Helper()
		args := append(append([]string{}, run...), "--detach")
		ctr(t, append(append(append(args, options...), busyboxImage, id), argv...)...)
		t.Cleanup(func() {
			_, _ = m.try("ctr", "tasks", "rm", "--force", id)
			_, _ = m.try("ctr", "containers", "rm", id)
		})
	}
	t.Run("run", func(t *testing.T) {
		if got := ctr(t, append(run, "--rm", busyboxImage, "one", "echo", "hello")...); got != "hello" {
			t.Errorf("it said %q", got)
		}
		failing := m.command(t.Context(), append(append([]string{"ctr"}, run...), "--rm", busyboxImage, "two", "sh", "-c", "exit 7")...)
		if out, _ := failing.CombinedOutput(); failing.ProcessState.ExitCode() != 7 {
			t.Errorf("it ended with %v: %s", failing.ProcessState, out)
		}
		if got := ctr(t, append(run, "--rm", "--read-only", "--env", "A=b", "--cwd", "/tmp", "--memory-limit", "33554432", "--seccomp", busyboxImage, "three",
			"sh", "-c", "id -u; echo $A; pwd; touch /x 2>&1; grep Seccomp: /proc/self/status | cut -f2")...); got != "0\nb\n/tmp\ntouch: /x: Read-only file system\n2" {
			t.Errorf("it said %q", got)
		}
	})
	t.Run("terminal", func(t *testing.T) {
		m.onTerminal(t, append(append([]string{"ctr"}, run...), "--rm", "--tty", busyboxImage, "terminal", "sh")...).session()
	})
	t.Run("exec", func(t *testing.T) {
		start(t, "long", nil, "sleep", "600")
		if got := ctr(t, "tasks", "exec", "--exec-id", "a", "--user", "1000", "--cwd", "/var/tmp", "long", "sh", "-c", "id -u; pwd"); got != "1000\n/var/tmp" {
			t.Errorf("exec said %q", got)
		}
		m.onTerminal(t, "ctr", "tasks", "exec", "--exec-id", "b", "--tty", "long", "sh").session()
		if got := ctr(t, "tasks", "ps", "long"); len(strings.Split(got, "\n")) != 2 {
			t.Errorf("ps: %s", got)
		}
		ctr(t, "tasks", "kill", "--signal", "SIGKILL", "long")
		eventually(t, 10*time.Second, func() string {
			if got := ctr(t, "tasks", "ls"); !strings.Contains(got, "STOPPED") {
				return got
			}
			return ""
		})
	})
	t.Run("pause", func(t *testing.T) {
		start(t, "paused", nil, "sh", "-c", "while :; do :; done")
		ctr(t, "tasks", "pause", "paused")
		if got := ctr(t, "tasks", "ls"); !strings.Contains(got, "PAUSED") {
			t.Errorf("paused: %s", got)
		}
		ctr(t, "tasks", "resume", "paused")
		if got := ctr(t, "tasks", "ls"); !strings.Contains(got, "RUNNING") {
			t.Errorf("resumed: %s", got)
		}
	})
	t.Run("metrics", func(t *testing.T) {
		start(t, "measured", []string{"--memory-limit", "67108864", "--cpus", "0.5"}, "sleep", "600")
		got := ctr(t, "tasks", "metrics", "measured")
		for _, want := range []string{"memory.usage", "67108864", "pids.current", "cpu"} {
			if !strings.Contains(got, want) {
				t.Errorf("the metrics have no %s:\n%s", want, got)
			}
		}
	})
	m.settled(t, state)
}
