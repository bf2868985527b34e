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

// podman is Podman, and buildah, as root or as an ordinary user.
type podman struct {
	*machine
	as    []string // what becomes the user, before each command
	state string   // where the runtime has its state
}

const podmanConfig = `[containers]
default_ulimits = ["nofile=1024:2048", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "under-test"
[engine.runtimes]
under-test = ["%s"]
`

const podmanStorage = `[storage]
driver = "overlay"
graphroot = "%[1]s/storage"
rootless_storage_path = "%[1]s/storage"
runroot = "%[2]s"
`

func newPodman(t testing.TB, m *machine, rootless bool) *podman {
	t.Helper()
	needs.Programs(t, "podman", "buildah", "conmon", "catatonit", "nsenter", "ip", "setpriv")
	p := &podman{machine: m, state: "/run/under-test"}
	runroot, dir := "/run/containers/storage", m.dir
	if rootless {
		needs.Programs(t, "newuidmap", "slirp4netns")
		run := fmt.Sprintf("/run/user/%d", needs.UID)
		runroot, dir, p.state = run+"/containers", m.dir+"/home", run+"/under-test"
		m.feed(t, fmt.Sprintf("cloche:x:%d:%[1]d::%s:/bin/sh\n", needs.UID, dir), "tee", "-a", "/etc/passwd")
		m.feed(t, fmt.Sprintf("cloche:x:%d:\n", needs.UID), "tee", "-a", "/etc/group")
		for _, file := range []string{"/etc/subuid", "/etc/subgid"} {
			m.feed(t, "cloche:200000:65536\n", "tee", file)
		}
		m.run(t, "install", "-d", "-m", "0700", "-o", fmt.Sprint(needs.UID), "-g", fmt.Sprint(needs.UID), run)
		m.run(t, "chown", "-R", fmt.Sprintf("%d:%[1]d", needs.UID), m.dir+"/home", m.dir+"/tmp")
		m.env = append(m.env, "XDG_RUNTIME_DIR="+run)
		p.as = []string{"setpriv", "--reuid", fmt.Sprint(needs.UID), "--regid", fmt.Sprint(needs.UID), "--clear-groups", "--"}
	}
	for name, text := range map[string]string{"CONTAINERS_CONF": fmt.Sprintf(podmanConfig, ociRuntime), "CONTAINERS_STORAGE_CONF": fmt.Sprintf(podmanStorage, dir, runroot)} {
		file := filepath.Join(m.dir, name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		m.env = append(m.env, name+"="+file)
	}
	m.env = append(m.env, "BUILDAH_RUNTIME="+ociRuntime)
	m.run(t, "mkdir", "-p", "/etc/containers")
	m.feed(t, `{"default":[{"type":"insecureAcceptAnything"}]}`, "tee", "/etc/containers/policy.json")
	p.do(t, "import", busyboxTar(t), "localhost/busybox")
	return p
}

func (p *podman) argv(args ...string) []string {
	return append(append(append([]string{}, p.as...), "podman"), args...)
}

func (p *podman) do(t testing.TB, args ...string) string {
	t.Helper()
	return p.run(t, p.argv(args...)...)
}

func (p *podman) container(t testing.TB, args ...string) string {
	t.Helper()
	id := p.do(t, append([]string{"run", "--detach"}, args...)...)
	t.Cleanup(func() { _, _ = p.try(p.argv("rm", "--force", "--time", "0", id)...) })
	return id
}

func (p *podman) becomes(t testing.TB, id, format, want string) {
	t.Helper()
	eventually(t, 20*time.Second, func() string {
		if got := p.do(t, "inspect", "--format", format, id); got != want {
			return format + " is " + got + ", not " + want
		}
		return ""
	})
}

func TestPodman(t *testing.T) {
	t.Parallel()
	p := newPodman(t, newMachine(t, "podman"), false)
	podmanTests(t, p)
	t.Run("limits", func(t *testing.T) { podmanLimits(t, p) })
	t.Run("debian", func(t *testing.T) {
		p.do(t, "import", debianTar(t), "localhost/debian")
		if got := p.do(t, "run", "--rm", "--network", "none", "localhost/debian", "sh", "-c", ". /etc/os-release; echo $VERSION_CODENAME; su -s /bin/sh nobody -c 'id -un'"); got != "bookworm\nnobody" {
			t.Errorf("Debian said %q", got)
		}
	})
	p.settled(t, p.state)
}

func TestPodmanRootless(t *testing.T) {
	t.Parallel()
	p := newPodman(t, newMachine(t, "podman"), true)
	podmanTests(t, p)
	t.Run("ids", func(t *testing.T) {
		if got := p.do(t, "run", "--rm", "--network", "none", "--user", "1000", "localhost/busybox", "sh", "-c", "id -u; awk '{print $2}' /proc/self/uid_map"); got != fmt.Sprintf("1000\n%d\n200000", needs.UID) && got != "1000\n0\n1" {
			t.Errorf("it said %q", got)
		}
		if got := p.do(t, "run", "--rm", "--network", "none", "--userns", "keep-id", "localhost/busybox", "id", "-u"); got != fmt.Sprint(needs.UID) {
			t.Errorf("--userns keep-id: %q", got)
		}
	})
	p.settled(t, p.state)
}

func podmanTests(t *testing.T, p *podman) {
	// What Podman makes once and keeps: its network, the pause process of a user.
	_, _ = p.try(p.argv("run", "--rm", "localhost/busybox", "true")...)
	_, _ = p.try(p.argv("run", "--rm", "--network", "none", "localhost/busybox", "true")...)
	p.remember(p.state)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *podman)
	}{
		{"run", podmanRun},
		{"exec", podmanExec},
		{"exec --pid", podmanExecPID},
		{"terminal", podmanTerminal},
		{"stop, kill, restart", podmanStop},
		{"options", podmanOptions},
		{"network", podmanNetwork},
		{"pod", podmanPod},
		{"errors", podmanErrors},
		{"build", podmanBuild},
		{"buildah", buildahRun},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, p) })
	}
}

func podmanRun(t *testing.T, p *podman) {
	if got := p.do(t, "run", "--rm", "localhost/busybox", "echo", "hello"); got != "hello" {
		t.Errorf("it said %q", got)
	}
	if got := p.feed(t, "through\n", p.argv("run", "--rm", "-i", "--network", "none", "localhost/busybox", "cat")...); got != "through" {
		t.Errorf("its input came out as %q", got)
	}
	for _, c := range []struct {
		code int
		argv []string
	}{{7, []string{"sh", "-c", "exit 7"}}, {137, []string{"sh", "-c", `sh -c 'kill -9 $$'; exit $?`}}, {127, []string{"no-such-program"}}, {126, []string{"/etc/passwd"}}} {
		ran := p.command(t.Context(), p.argv(append([]string{"run", "--rm", "--network", "none", "localhost/busybox"}, c.argv...)...)...)
		if out, err := ran.CombinedOutput(); ran.ProcessState.ExitCode() != c.code {
			t.Errorf("%v ended with %v, not %d: %s", c.argv, err, c.code, out)
		}
	}
}

func podmanExec(t *testing.T, p *podman) {
	id := p.container(t, "--network", "none", "--hostname", "inside", "localhost/busybox", "sh", "-c", "echo logged; exec sleep 600")
	if got := p.do(t, "exec", "--user", "ann", "--workdir", "/var/tmp", "--env", "A=b", id, "sh", "-c", "id -u; pwd; echo $A; hostname"); got != "1000\n/var/tmp\nb\ninside" {
		t.Errorf("exec: %q", got)
	}
	if got := p.feed(t, "typed", p.argv("exec", "-i", id, "cat")...); got != "typed" {
		t.Errorf("exec -i: %q", got)
	}
	failing := p.command(t.Context(), p.argv("exec", id, "sh", "-c", "exit 9")...)
	if _ = failing.Run(); failing.ProcessState.ExitCode() != 9 {
		t.Errorf("exec ended with %v, not 9", failing.ProcessState)
	}
	missing := p.command(t.Context(), p.argv("exec", id, "no-such-program")...)
	if out, _ := missing.CombinedOutput(); missing.ProcessState.ExitCode() != 127 {
		t.Errorf("exec of a missing program ended with %v: %s", missing.ProcessState, out)
	}
	if got := p.do(t, "logs", id); got != "logged" {
		t.Errorf("logs: %q", got)
	}
	if got := p.do(t, "top", id, "args"); !strings.Contains(got, "sleep 600") {
		t.Errorf("top: %q", got)
	}
}

func podmanExecPID(t *testing.T, p *podman) {
	id := p.container(t, "--network", "none", "--hostname", "inside", "--env", "WORD=kept", "--workdir", "/var", "localhost/busybox", "sleep", "600")
	p.joinedBy(t, p.as, p.do(t, "inspect", "--format", "{{.State.Pid}}", id), p.argv("exec", id)...)
}

func podmanTerminal(t *testing.T, p *podman) {
	p.onTerminal(t, p.argv("run", "--rm", "-it", "--network", "none", "localhost/busybox", "sh")...).session()
	id := p.container(t, "--network", "none", "localhost/busybox", "sleep", "600")
	p.onTerminal(t, p.argv("exec", "-it", id, "sh")...).session()
}

func podmanStop(t *testing.T, p *podman) {
	id := p.container(t, "--network", "none", "localhost/busybox", "sh", "-c", `trap "exit 3" TERM; while :; do sleep 0.05; done`)
	time.Sleep(300 * time.Millisecond)
	p.do(t, "stop", id)
	p.becomes(t, id, "{{.State.Status}} {{.State.ExitCode}}", "exited 3")
	p.do(t, "start", id)
	p.do(t, "restart", "--time", "1", id)
	p.do(t, "kill", id)
	p.becomes(t, id, "{{.State.Status}} {{.State.ExitCode}}", "exited 137")
	p.do(t, "rm", id)
}

func podmanOptions(t *testing.T, p *podman) {
	for _, c := range []struct{ name, options, script, want string }{
		{"init", "--init", "tr '\\0' ' ' < /proc/1/cmdline | cut -d' ' -f1", "/run/podman-init"},
		{"read-only", "--read-only --read-only-tmpfs=false", "touch /x 2>&1; true", "touch: /x: Read-only file system"},
		{"tmpfs", "--read-only --tmpfs /t:size=1m,mode=1700", "touch /t/x && stat -c %a /t", "1700"},
		{"no capabilities", "--cap-drop ALL", "grep -E 'Cap(Prm|Eff|Bnd)' /proc/self/status | cut -f2 | sort -u", "0000000000000000"},
		{"no new privileges", "--security-opt no-new-privileges", "grep -E 'NoNewPrivs|Seccomp:' /proc/self/status | cut -f2", "1\n2"},
		{"user", "--user 4711:4712", "id -u; id -g", "4711\n4712"},
		{"ulimit", "--ulimit nofile=100:200 --ulimit nproc=4096:4096", "ulimit -Sn; ulimit -Hn", "100\n200"},
		{"volume", "-v /mnt:/host/mnt:ro", "awk '$5 == \"/host/mnt\" {print substr($6,1,2)}' /proc/self/mountinfo", "ro"},
		{"sysctl", "--sysctl net.ipv4.ip_default_ttl=77", "cat /proc/sys/net/ipv4/ip_default_ttl", "77"},
		{"devices", "", "stat -c '%t %T' /dev/null /dev/zero /dev/tty; echo x > /dev/null && head -c 3 /dev/urandom | wc -c", "1 3\n1 5\n5 0\n3"},
		{"masked", "", "ls /sys/firmware | wc -l; wc -c < /proc/timer_list; (echo x > /proc/sys/kernel/hostname) 2>&1 | sed 's/.*: //'", "0\n0\nRead-only file system"},
	} {
		args := append([]string{"run", "--rm", "--network", "none"}, strings.Fields(c.options)...)
		if got := p.do(t, append(args, "localhost/busybox", "sh", "-c", c.script)...); got != c.want {
			t.Errorf("%s: podman run %s: sh -c '%s' said %q, not %q", c.name, c.options, c.script, got, c.want)
		}
	}
	for name, option := range map[string]string{"net": "--network=host", "ipc": "--ipc=host", "pid": "--pid=host", "uts": "--uts=host"} {
		if _, err := os.Stat(p.path("/dev/mqueue")); err != nil && name == "ipc" && p.as != nil {
			t.Logf("%s: not tried, as Podman binds a /dev/mqueue of the host's, which has none", option)
			continue
		}
		host := p.run(t, "readlink", "/proc/self/ns/"+name)
		if got := p.do(t, "run", "--rm", option, "localhost/busybox", "readlink", "/proc/self/ns/"+name); got != host {
			t.Errorf("%s: %s, and the host has %s", option, got, host)
		}
	}
}

// podmanNetwork: Podman's bridge as root, slirp4netns for an ordinary user, and another
// container's.
func podmanNetwork(t *testing.T, p *podman) {
	server := p.container(t, "localhost/busybox", "sh", "-c", "while :; do echo served | nc -l -p 80; done")
	eventually(t, 10*time.Second, func() string {
		if got, err := p.try(p.argv("run", "--rm", "--network", "container:"+server, "localhost/busybox", "sh", "-c", "ls /sys/class/net | wc -l; nc -w 2 127.0.0.1 80 < /dev/null")...); err != nil || got != "2\nserved" {
			return "on the network of another container: " + got
		}
		return ""
	})
}

func podmanPod(t *testing.T, p *podman) {
	p.do(t, "pod", "create", "--name", "pod", "--hostname", "podded", "--network", "none")
	t.Cleanup(func() { _, _ = p.try(p.argv("pod", "rm", "--force", "--time", "0", "pod")...) })
	one := p.do(t, "run", "--detach", "--pod", "pod", "localhost/busybox", "sh", "-c", "while :; do echo served | nc -l -p 80; done")
	two := p.do(t, "run", "--detach", "--pod", "pod", "localhost/busybox", "sleep", "600")
	for _, ns := range []string{"net", "ipc", "uts"} {
		if a, b := p.do(t, "exec", one, "readlink", "/proc/self/ns/"+ns), p.do(t, "exec", two, "readlink", "/proc/self/ns/"+ns); a != b {
			t.Errorf("two containers of a pod have %s and %s", a, b)
		}
	}
	if got := p.do(t, "exec", two, "sh", "-c", "hostname; nc 127.0.0.1 80 < /dev/null"); got != "podded\nserved" {
		t.Errorf("from one container to the other: %q", got)
	}
	p.do(t, "pod", "stop", "--time", "0", "pod")
	p.do(t, "pod", "start", "pod")
	if got := p.do(t, "pod", "inspect", "--format", "{{.State}} {{.NumContainers}}", "pod"); got != "Running 3" {
		t.Errorf("the pod is %s", got)
	}
	p.do(t, "pod", "rm", "--force", "--time", "0", "pod")
	p.do(t, "rmi", "--force", p.do(t, "images", "--quiet", "--filter", "reference=localhost/podman-pause"))
}

func podmanErrors(t *testing.T, p *podman) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"no-such-program"}, "executable file"},
		{[]string{"/no/such/program"}, "no such file or directory"},
		{[]string{"/etc/passwd"}, "permission denied"},
	} {
		out, err := p.try(p.argv(append([]string{"run", "--rm", "--network", "none", "localhost/busybox"}, c.args...)...)...)
		if err == nil || !strings.Contains(strings.ToLower(out), c.want) {
			t.Errorf("%v: %v, without %q: %s", c.args, err, c.want, out)
		}
	}
}

const podmanDockerfile = "FROM localhost/busybox\nENV A=b\nCOPY file /data/file\nRUN echo $A > /data/said && test -w /data\nUSER 1000\nRUN test ! -w /data\nCMD id -u; cat /data/said /data/file\n"

func podmanBuild(t *testing.T, p *podman) {
	dir := filepath.Join(p.dir, "tmp", "build")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"Dockerfile": podmanDockerfile, "file": "copied\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p.do(t, "build", "--isolation", "oci", "--network", "none", "--tag", "built", dir)
	if got := p.do(t, "run", "--rm", "--network", "none", "localhost/built"); got != "1000\nb\ncopied" {
		t.Errorf("the image that was built said %q", got)
	}
	p.do(t, "rmi", "--force", "localhost/built")
}

func buildahRun(t *testing.T, p *podman) {
	buildah := func(args ...string) string {
		t.Helper()
		return p.run(t, append(append(append([]string{}, p.as...), "buildah"), args...)...)
	}
	id := buildah("from", "localhost/busybox")
	t.Cleanup(func() { buildah("rm", id) })
	if got := buildah("run", "--isolation", "oci", "--network", "none", "--user", "ann", id, "--", "sh", "-c", "id -u; touch /tmp/made && ls /tmp"); got != "1000\nmade" {
		t.Errorf("buildah run said %q", got)
	}
	if got := buildah("run", "--isolation", "oci", "--network", "host", id, "--", "sh", "-c", "readlink /proc/self/ns/net"); got != p.run(t, "readlink", "/proc/self/ns/net") {
		t.Errorf("buildah run --network host: %q", got)
	}
	shell := p.onTerminal(t, append(append([]string{}, p.as...), "buildah", "run", "--isolation", "oci", "--network", "none", "--terminal", id, "--", "sh")...)
	shell.begins()
	shell.leaves() // buildah passes no new size on
}

func podmanLimits(t *testing.T, p *podman) {
	greedy := p.container(t, "--network", "none", "--memory", "16m", "--memory-swap", "16m", "localhost/busybox", "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1")
	p.becomes(t, greedy, "{{.State.Status}} {{.State.ExitCode}}", "exited 137") // conmon sees no OOM kill on v1 in a cgroup namespace
	id := p.container(t, "--network", "none", "--memory", "32m", "--cpus", "0.5", "--pids-limit", "20", "localhost/busybox", "sh", "-c", "sleep 600 & wait")
	if got := p.do(t, "stats", "--no-stream", "--format", "{{.PIDs}} {{.MemLimit}}", id); !strings.HasPrefix(got, "2 33.55MB") && !strings.HasPrefix(got, "2 33554432") {
		t.Errorf("stats: %q", got)
	}
	p.do(t, "pause", id)
	p.becomes(t, id, "{{.State.Status}}", "paused")
	p.do(t, "unpause", id)
	p.do(t, "exec", id, "true")
	p.do(t, "update", "--memory", "48m", "--cpus", "0.25", id)
	if got := p.limit(t, "memory", "libpod_parent/libpod-"+id+"/memory.limit_in_bytes"); got != "50331648" {
		t.Errorf("after the update the limit is %q", got)
	}
}
