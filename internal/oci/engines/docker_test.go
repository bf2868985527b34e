package engines

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cloche-sandbox/cloche/internal/needs"
)

// dockerState is where Docker's shims have the runtime keep its state.
const dockerState = "/run/docker/runtime-under-test"

type docker struct {
	*machine
	daemon *daemon
}

// newDocker starts Docker, with the runtime under test as the one of every container.
func newDocker(t testing.TB, m *machine, settings map[string]any) *docker {
	t.Helper()
	needs.Programs(t, "dockerd", "containerd", "docker", "nsenter", "ip", "iptables")
	config := map[string]any{
		"data-root": filepath.Join(m.dir, "docker"), "exec-root": "/run/docker", "pidfile": "/run/docker.pid",
		"hosts": []string{"unix:///run/docker.sock"}, "storage-driver": "overlay2",
		"runtimes": map[string]any{"under-test": map[string]any{"path": ociRuntime}}, "default-runtime": "under-test",
		"shutdown-timeout": 5, "log-level": "warn",
	}
	for k, v := range settings {
		config[k] = v
	}
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(m.dir, "daemon.json")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	d := &docker{m, m.daemon(t, "dockerd", "--config-file", file)}
	d.answers(t)
	return d
}

// answers waits until the daemon does.
func (d *docker) answers(t testing.TB) {
	t.Helper()
	eventually(t, 60*time.Second, func() string {
		if out, err := d.try("docker", "version"); err != nil {
			return out + "\n" + d.daemon.said(10)
		}
		return ""
	})
}

func (d *docker) do(t testing.TB, args ...string) string {
	t.Helper()
	return d.run(t, append([]string{"docker"}, args...)...)
}

// container runs a container in the background, and removes it at the end of the test.
func (d *docker) container(t testing.TB, args ...string) string {
	t.Helper()
	id := d.do(t, append([]string{"run", "--detach"}, args...)...)
	t.Cleanup(func() { _, _ = d.try("docker", "rm", "--force", id) })
	return id
}

func (d *docker) inspect(t testing.TB, id, format string) string {
	t.Helper()
	return d.do(t, "inspect", "--format", format, id)
}

func (d *docker) becomes(t testing.TB, id, format, want string, within time.Duration) {
	t.Helper()
	eventually(t, within, func() string {
		if got := d.inspect(t, id, format); got != want {
			return format + " is " + got + ", not " + want
		}
		return ""
	})
}

func TestDocker(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "docker")
	d := newDocker(t, m, map[string]any{"live-restore": true})
	d.do(t, "import", busyboxTar(t), "busybox")
	d.remember(dockerState)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *docker)
	}{
		{"run", dockerRun},
		{"terminal", dockerTerminal},
		{"exec", dockerExec},
		{"exec --pid", dockerExecPID},
		{"stop, kill, restart", dockerStop},
		{"pause", dockerPause},
		{"stats, top, update", dockerStats},
		{"cp", dockerCopy},
		{"health check", dockerHealth},
		{"restart policies", dockerRestart},
		{"options", dockerOptions},
		{"limits", dockerLimits},
		{"seccomp", dockerSeccomp},
		{"device", dockerDevice},
		{"privileged", dockerPrivileged},
		{"namespaces", dockerNamespaces},
		{"bridge", dockerBridge},
		{"errors", dockerErrors},
		{"build", dockerBuild},
		{"debian", dockerDebian},
		{"50 at once", dockerMany},
		{"live-restore", dockerLiveRestore},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, d) })
	}
	d.settled(t, dockerState)
}

func dockerRun(t *testing.T, d *docker) {
	if got := d.do(t, "run", "--rm", "busybox", "echo", "hello"); got != "hello" {
		t.Errorf("it said %q", got)
	}
	if got := d.feed(t, "through\n", "docker", "run", "--rm", "-i", "busybox", "cat"); got != "through" {
		t.Errorf("its input came out as %q", got)
	}
	for _, c := range []struct {
		code int
		argv []string
	}{{7, []string{"sh", "-c", "exit 7"}}, {137, []string{"sh", "-c", `sh -c 'kill -9 $$'; exit $?`}}, {127, []string{"no-such-program"}}, {126, []string{"/etc/passwd"}}} {
		ran := d.command(t.Context(), append([]string{"docker", "run", "--rm", "--init=false", "busybox"}, c.argv...)...)
		if out, err := ran.CombinedOutput(); ran.ProcessState.ExitCode() != c.code {
			t.Errorf("%v ended with %v, not %d: %s", c.argv, err, c.code, out)
		}
	}
}

func dockerTerminal(t *testing.T, d *docker) {
	d.onTerminal(t, "docker", "run", "--rm", "-it", "busybox", "sh").session()
	id := d.container(t, "busybox", "sleep", "600")
	d.onTerminal(t, "docker", "exec", "-it", id, "sh").session()
}

func dockerExec(t *testing.T, d *docker) {
	id := d.container(t, "--name", "named", "--hostname", "inside", "busybox", "sh", "-c", "echo out; echo err >&2; exec sleep 600")
	if got := d.do(t, "exec", "named", "hostname"); got != "inside" {
		t.Errorf("the host name is %q", got)
	}
	if got := d.do(t, "exec", "--user", "ann", "--workdir", "/var/tmp", "--env", "A=b", id, "sh", "-c", "id -u; pwd; echo $A"); got != "1000\n/var/tmp\nb" {
		t.Errorf("exec with --user, --workdir and --env: %q", got)
	}
	if got := d.feed(t, "typed", "docker", "exec", "-i", id, "cat"); got != "typed" {
		t.Errorf("exec -i: %q", got)
	}
	d.do(t, "exec", "--detach", id, "sh", "-c", "echo done > /tmp/detached")
	eventually(t, 30*time.Second, func() string {
		got, _ := d.try("docker", "exec", id, "cat", "/tmp/detached")
		if got != "done" {
			return "the detached exec wrote " + got
		}
		return ""
	})
	failing := d.command(t.Context(), "docker", "exec", id, "sh", "-c", "exit 9")
	if _ = failing.Run(); failing.ProcessState.ExitCode() != 9 {
		t.Errorf("exec ended with %v, not 9", failing.ProcessState)
	}
	missing := d.command(t.Context(), "docker", "exec", id, "no-such-program")
	if out, _ := missing.CombinedOutput(); missing.ProcessState.ExitCode() != 127 && missing.ProcessState.ExitCode() != 126 {
		t.Errorf("exec of a missing program ended with %v: %s", missing.ProcessState, out)
	}
	if out, err := d.try("docker", "logs", id); err != nil || !strings.Contains(out, "out") || !strings.Contains(out, "err") {
		t.Errorf("logs: %v: %s", err, out)
	}
}

// dockerExecPID: `cloche exec --pid` joins a container by one of its processes.
func dockerExecPID(t *testing.T, d *docker) {
	id := d.container(t, "--hostname", "inside", "--env", "WORD=kept", "--workdir", "/var", "busybox", "sleep", "600")
	d.joinedBy(t, nil, d.inspect(t, id, "{{.State.Pid}}"), "docker", "exec", id)
}

func dockerStop(t *testing.T, d *docker) {
	id := d.container(t, "busybox", "sh", "-c", `trap "echo asked; exit 3" TERM; echo ready; while :; do sleep 0.05; done`)
	d.logs(t, id, "ready")
	d.do(t, "stop", id)
	if got := d.inspect(t, id, "{{.State.Status}} {{.State.ExitCode}}"); got != "exited 3" {
		t.Errorf("stopped: %s", got)
	}
	d.logs(t, id, "asked")
	d.do(t, "start", id)
	d.do(t, "restart", "--time", "3", id)
	d.becomes(t, id, "{{.State.Running}}", "true", 30*time.Second)
	d.do(t, "kill", id)
	d.becomes(t, id, "{{.State.Status}} {{.State.ExitCode}}", "exited 137", 10*time.Second)
	d.do(t, "start", id)
	d.do(t, "kill", "--signal", "TERM", id)
	if got := d.do(t, "wait", id); got != "3" && got != "143" {
		t.Errorf("wait said %q", got)
	}
}

// logs waits until a container has said something.
func (d *docker) logs(t testing.TB, id, want string) {
	t.Helper()
	eventually(t, 10*time.Second, func() string {
		if out, err := d.try("docker", "logs", id); err != nil || !strings.Contains(out, want) {
			return "the log is " + out
		}
		return ""
	})
}

func dockerPause(t *testing.T, d *docker) {
	id := d.container(t, "busybox", "sh", "-c", "while :; do date +%s.%N > /tmp/now; done")
	d.do(t, "pause", id)
	if got := d.inspect(t, id, "{{.State.Status}}"); got != "paused" {
		t.Errorf("paused: %s", got)
	}
	one := d.do(t, "cp", id+":/tmp/now", "-")
	time.Sleep(200 * time.Millisecond)
	if two := d.do(t, "cp", id+":/tmp/now", "-"); one != two {
		t.Error("a paused container goes on")
	}
	if out, err := d.try("docker", "exec", id, "true"); err == nil || !strings.Contains(out, "paused") {
		t.Errorf("exec in a paused container: %v: %s", err, out)
	}
	d.do(t, "unpause", id)
	d.do(t, "exec", id, "true")
	d.do(t, "pause", id)
	d.do(t, "rm", "--force", id)
}

func dockerStats(t *testing.T, d *docker) {
	id := d.container(t, "--memory", "64m", "--pids-limit", "50", "busybox", "sh", "-c", "sleep 600 & sleep 601 & wait")
	eventually(t, 10*time.Second, func() string {
		if got := d.do(t, "stats", "--no-stream", "--format", "{{.MemUsage}}|{{.PIDs}}", id); !strings.HasSuffix(got, "64MiB|3") || strings.HasPrefix(got, "0B") {
			return "stats: " + got
		}
		return ""
	})
	if got := d.do(t, "top", id); !strings.Contains(got, "sleep 600") || !strings.Contains(got, "sleep 601") {
		t.Errorf("top: %s", got)
	}
	d.do(t, "update", "--memory", "96m", "--memory-swap", "96m", "--pids-limit", "70", "--cpus", "0.5", "--cpu-shares", "512", id)
	for file, want := range map[string]string{"memory/memory.limit_in_bytes": "100663296", "pids/pids.max": "70", "cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.shares": "512"} {
		if got := d.setting(t, id, file); got != want {
			t.Errorf("after the update %s is %q, not %s", file, got, want)
		}
	}
}

// setting reads CONTROLLER/FILE of a container's cgroup.
func (d *docker) setting(t testing.TB, id, of string) string {
	t.Helper()
	controller, file, _ := strings.Cut(of, "/")
	return d.limit(t, controller, "docker/"+id+"/"+file)
}

func dockerCopy(t *testing.T, d *docker) {
	id := d.container(t, "busybox", "sleep", "600")
	file := filepath.Join(d.dir, "copied")
	if err := os.WriteFile(file, []byte("there and back"), 0o644); err != nil {
		t.Fatal(err)
	}
	d.do(t, "cp", file, id+":/tmp/there")
	if got := d.do(t, "exec", id, "cat", "/tmp/there"); got != "there and back" {
		t.Errorf("in the container: %q", got)
	}
	d.do(t, "cp", id+":/tmp/there", file+"2")
	if got, err := os.ReadFile(file + "2"); err != nil || string(got) != "there and back" {
		t.Errorf("copied out: %q, %v", got, err)
	}
}

func dockerHealth(t *testing.T, d *docker) {
	id := d.container(t, "--health-cmd", "test ! -e /tmp/sick", "--health-interval", "500ms", "--health-retries", "1", "--health-timeout", "5s", "busybox", "sleep", "600")
	d.becomes(t, id, "{{.State.Health.Status}}", "healthy", 30*time.Second)
	d.do(t, "exec", id, "touch", "/tmp/sick")
	d.becomes(t, id, "{{.State.Health.Status}}", "unhealthy", 30*time.Second)
}

func dockerRestart(t *testing.T, d *docker) {
	failing := d.container(t, "--restart", "on-failure:2", "busybox", "sh", "-c", "exit 5")
	always := d.container(t, "--restart", "always", "busybox", "sleep", "600")
	unless := d.container(t, "--restart", "unless-stopped", "busybox", "sleep", "600")
	pid := d.inspect(t, always, "{{.State.Pid}}")
	d.run(t, "kill", "-9", pid)
	d.becomes(t, always, "{{.State.Running}} {{.RestartCount}}", "true 1", 30*time.Second)
	d.becomes(t, failing, "{{.State.Status}} {{.RestartCount}} {{.State.ExitCode}}", "exited 2 5", 20*time.Second)
	d.do(t, "stop", "--time", "0", unless)
	if got := d.inspect(t, unless, "{{.State.Running}}"); got != "false" {
		t.Error("a container that was stopped runs again")
	}
}

func dockerErrors(t *testing.T, d *docker) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"run", "--rm", "busybox", "no-such-program"}, "executable file not found in $PATH"},
		{[]string{"run", "--rm", "busybox", "/no/such/program"}, "no such file or directory"},
		{[]string{"run", "--rm", "busybox", "/etc/passwd"}, "permission denied"},
		{[]string{"run", "--rm", "--user", "nobody-here", "busybox", "true"}, "unable to find user nobody-here"},
	} {
		out, err := d.try(append([]string{"docker"}, c.args...)...)
		if err == nil || !strings.Contains(strings.ToLower(out), strings.ToLower(c.want)) {
			t.Errorf("docker %s: %v, without %q: %s", strings.Join(c.args, " "), err, c.want, out)
		}
	}
}

func dockerBuild(t *testing.T, d *docker) {
	dir := filepath.Join(d.dir, "build")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	dockerfile := "FROM busybox\nARG WHO=nobody\nENV A=b\nCOPY file /data/file\nRUN echo bob:x:1001:1001::/home/bob:/bin/sh >> /etc/passwd && mkdir -p /home/bob && chown 1001 /home/bob && echo $WHO $A > /data/said\nUSER bob\nWORKDIR /home/bob\nRUN id -un > mine && test ! -w /data\nCMD cat mine /data/said /data/file\n"
	for name, text := range map[string]string{"Dockerfile": dockerfile, "file": "copied\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d.run(t, "env", "DOCKER_BUILDKIT=0", "docker", "build", "--tag", "built", "--build-arg", "WHO=ann", dir)
	if got := d.do(t, "run", "--rm", "built"); got != "bob\nann b\ncopied" {
		t.Errorf("the image that was built said %q", got)
	}
}

func dockerDebian(t *testing.T, d *docker) {
	d.do(t, "import", debianTar(t), "debian")
	if got := d.do(t, "run", "--rm", "debian", "sh", "-c", ". /etc/os-release; echo $VERSION_CODENAME; dpkg --list procps | tail -1 | cut -c1-2; stat -c %a /usr/bin/su"); got != "bookworm\nii\n4755" {
		t.Errorf("Debian said %q", got)
	}
	if got := d.do(t, "run", "--rm", "debian", "su", "-s", "/bin/sh", "nobody", "-c", "id -un; ps -o pid= -o args= -p $$"); !strings.HasPrefix(got, "nobody") {
		t.Errorf("su: %q", got)
	}
	d.onTerminal(t, "docker", "run", "--rm", "-it", "debian", "bash", "--norc").session()
}

func dockerMany(t *testing.T, d *docker) {
	const many = 50
	var wait sync.WaitGroup
	began := time.Now()
	for i := range many {
		wait.Go(func() {
			name := fmt.Sprint("many-", i)
			if out, err := d.try("docker", "run", "--detach", "--network", "none", "--name", name, "busybox", "sleep", "600"); err != nil {
				t.Errorf("%s: %v: %s", name, err, out)
			}
		})
	}
	wait.Wait()
	t.Logf("%d containers took %v", many, time.Since(began).Round(time.Millisecond))
	if got := strings.Fields(d.do(t, "ps", "--quiet", "--filter", "name=many-")); len(got) != many {
		t.Errorf("%d of %d run", len(got), many)
	}
	all := strings.Fields(d.do(t, "ps", "--all", "--quiet", "--filter", "name=many-"))
	d.do(t, append([]string{"rm", "--force"}, all...)...)
}

func dockerLiveRestore(t *testing.T, d *docker) {
	id := d.container(t, "busybox", "sh", "-c", "while :; do date +%s.%N > /tmp/now; sleep 0.05; done")
	ends := d.container(t, "busybox", "sh", "-c", "while test ! -e /tmp/end; do sleep 0.05; done; exit 4")
	pid := d.inspect(t, id, "{{.State.Pid}}")
	d.daemon.end(t, syscall.SIGTERM)
	if text, err := os.ReadFile(d.path("/proc/" + pid + "/comm")); err != nil || strings.TrimSpace(string(text)) != "sh" {
		t.Fatalf("without its daemon the container is gone: %q, %v", text, err)
	}
	if err := os.WriteFile(d.path("/proc/"+d.childOf(t, ends)+"/root/tmp/end"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	d.daemon.start(t)
	d.answers(t)
	if got := d.inspect(t, id, "{{.State.Running}} {{.State.Pid}}"); got != "true "+pid {
		t.Errorf("after the daemon's restart: %s, not true %s", got, pid)
	}
	d.becomes(t, ends, "{{.State.Status}} {{.State.ExitCode}}", "exited 4", 10*time.Second)
	if got := d.do(t, "exec", id, "echo", "still"); got != "still" {
		t.Errorf("exec after the restart: %q", got)
	}
	d.do(t, "pause", id)
	d.do(t, "unpause", id)
	d.do(t, "stop", "--time", "1", id)
	// And a daemon that was killed.
	id = d.container(t, "busybox", "sleep", "600")
	d.daemon.end(t, syscall.SIGKILL)
	d.run(t, "rm", "-f", "/run/docker.pid")
	d.daemon.start(t)
	d.answers(t)
	d.do(t, "exec", id, "true")
	d.do(t, "rm", "--force", id)
}

// childOf is the process of a container that is known by its shim, without a daemon to ask.
func (d *docker) childOf(t testing.TB, id string) string {
	t.Helper()
	text, err := os.ReadFile(d.path("/run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby/" + id + "/init.pid"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}
