package engines

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/cloche-sandbox/cloche/internal/needs"
)

// criClient asks containerd what the kubelet of a Kubernetes node asks.
type criClient struct {
	*machine
	cri.RuntimeServiceClient
}

const podNetwork = `{"cniVersion":"0.4.0","name":"pods","plugins":[{"type":"bridge","bridge":"pods0","isGateway":true,"ipam":{"type":"host-local","subnet":"10.88.0.0/24"}}]}`

func newCRI(t testing.TB, m *machine) *criClient {
	t.Helper()
	for _, p := range []string{"bridge", "host-local", "loopback"} {
		if _, err := os.Stat("/usr/lib/cni/" + p); err != nil {
			needs.Skip(t, "the CNI plugins are not in /usr/lib/cni: install containernetworking-plugins")
		}
	}
	m.run(t, "mkdir", "-p", "/etc/cni/net.d")
	m.feed(t, podNetwork, "tee", "/etc/cni/net.d/10-pods.conflist")
	newContainerd(t, m)
	m.run(t, "ctr", "--namespace", "k8s.io", "images", "import", m.archive(t, busyboxImage, busyboxTar(t), "sh"))
	m.run(t, "ctr", "--namespace", "k8s.io", "images", "import", m.archive(t, pauseImage, busyboxTar(t), "/bin/sleep", "1000000"))
	connection, err := grpc.NewClient("unix:"+m.path("/run/containerd/containerd.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	c := &criClient{m, cri.NewRuntimeServiceClient(connection)}
	eventually(t, 30*time.Second, func() string {
		status, err := c.Status(t.Context(), &cri.StatusRequest{})
		if err != nil {
			return err.Error()
		}
		for _, condition := range status.Status.Conditions {
			if !condition.Status {
				return condition.Type + ": " + condition.Message
			}
		}
		return ""
	})
	return c
}

// answer fails a test where the request did.
func answer[Request, Response any](t testing.TB, ask func(context.Context, Request, ...grpc.CallOption) (Response, error), r Request) Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), enough)
	defer cancel()
	a, err := ask(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// pod starts a pod's sandbox on the runtime under test.
func (c *criClient) pod(t testing.TB, name string, change func(*cri.PodSandboxConfig)) (string, *cri.PodSandboxConfig) {
	t.Helper()
	config := &cri.PodSandboxConfig{
		Metadata: &cri.PodSandboxMetadata{Name: name, Uid: name, Namespace: "default"}, Hostname: name,
		LogDirectory: filepath.Join(c.dir, "log-"+name), Labels: map[string]string{"app": name},
		Linux: &cri.LinuxPodSandboxConfig{CgroupParent: "/pod-" + name, SecurityContext: &cri.LinuxSandboxSecurityContext{NamespaceOptions: &cri.NamespaceOption{Pid: cri.NamespaceMode_CONTAINER}}},
	}
	if change != nil {
		change(config)
	}
	if err := os.MkdirAll(config.LogDirectory, 0o755); err != nil {
		t.Fatal(err)
	}
	id := answer(t, c.RunPodSandbox, &cri.RunPodSandboxRequest{Config: config, RuntimeHandler: "cloche"}).PodSandboxId
	t.Cleanup(func() {
		_, _ = c.StopPodSandbox(context.Background(), &cri.StopPodSandboxRequest{PodSandboxId: id})
		_, _ = c.RemovePodSandbox(context.Background(), &cri.RemovePodSandboxRequest{PodSandboxId: id})
	})
	return id, config
}

// container starts a container in a pod.
func (c *criClient) container(t testing.TB, pod string, in *cri.PodSandboxConfig, name, script string, change func(*cri.ContainerConfig)) string {
	t.Helper()
	config := &cri.ContainerConfig{
		Metadata: &cri.ContainerMetadata{Name: name}, Image: &cri.ImageSpec{Image: busyboxImage}, LogPath: name + ".log", Command: []string{"sh", "-c", script},
		Linux: &cri.LinuxContainerConfig{Resources: &cri.LinuxContainerResources{}, SecurityContext: &cri.LinuxContainerSecurityContext{NamespaceOptions: in.Linux.SecurityContext.NamespaceOptions}},
	}
	if change != nil {
		change(config)
	}
	id := answer(t, c.CreateContainer, &cri.CreateContainerRequest{PodSandboxId: pod, Config: config, SandboxConfig: in}).ContainerId
	answer(t, c.StartContainer, &cri.StartContainerRequest{ContainerId: id})
	return id
}

func (c *criClient) exec(t testing.TB, id, script string) string {
	t.Helper()
	a := answer(t, c.ExecSync, &cri.ExecSyncRequest{ContainerId: id, Cmd: []string{"sh", "-c", script}, Timeout: 20})
	if a.ExitCode != 0 {
		t.Errorf("exec %q ended with %d: %s", script, a.ExitCode, a.Stderr)
	}
	return strings.TrimSpace(string(a.Stdout))
}

// ended waits for a container's end.
func (c *criClient) ended(t testing.TB, id string) *cri.ContainerStatus {
	t.Helper()
	var status *cri.ContainerStatus
	eventually(t, 30*time.Second, func() string {
		if status = answer(t, c.ContainerStatus, &cri.ContainerStatusRequest{ContainerId: id}).Status; status.State != cri.ContainerState_CONTAINER_EXITED {
			return "the container is " + status.State.String()
		}
		return ""
	})
	return status
}

func TestCRI(t *testing.T) {
	t.Parallel()
	c := newCRI(t, newMachine(t, "cri"))
	const state = "/run/containerd/runc"
	warm, _ := c.pod(t, "warm", nil) // makes the pods' bridge
	answer(t, c.StopPodSandbox, &cri.StopPodSandboxRequest{PodSandboxId: warm})
	answer(t, c.RemovePodSandbox, &cri.RemovePodSandboxRequest{PodSandboxId: warm})
	eventually(t, 10*time.Second, func() string {
		for _, p := range c.processes() {
			if strings.HasPrefix(p.name, "containerd-shim") {
				return "the shim of a removed pod is there"
			}
		}
		return ""
	})
	c.remember(state)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *criClient)
	}{{"pod", criPod}, {"network", criNetwork}, {"shared pid namespace", criSharedPid}, {"security", criSecurity}, {"limits", criLimits}, {"handlers", criHandlers}} {
		t.Run(test.name, func(t *testing.T) { test.run(t, c) })
	}
	c.settled(t, state)
}

// criPod is the life of a pod of two containers.
func criPod(t *testing.T, c *criClient) {
	pod, config := c.pod(t, "pod", nil)
	one := c.container(t, pod, config, "one", "echo to the log; echo err >&2; echo served | nc -l -p 80; exec sleep 600", nil)
	two := c.container(t, pod, config, "two", "trap 'exit 0' TERM; while :; do sleep 0.1; done", nil)
	for _, ns := range []string{"net", "ipc", "uts"} {
		if a, b := c.exec(t, one, "readlink /proc/self/ns/"+ns), c.exec(t, two, "readlink /proc/self/ns/"+ns); a != b {
			t.Errorf("two containers of a pod have %s and %s", a, b)
		}
	}
	for _, ns := range []string{"mnt", "pid"} {
		if a, b := c.exec(t, one, "readlink /proc/self/ns/"+ns), c.exec(t, two, "readlink /proc/self/ns/"+ns); a == b {
			t.Errorf("two containers of a pod share %s", a)
		}
	}
	if got := c.exec(t, two, "hostname; nc 127.0.0.1 80 < /dev/null"); got != "pod\nserved" {
		t.Errorf("from one container to the other: %q", got)
	}
	if a := answer(t, c.ExecSync, &cri.ExecSyncRequest{ContainerId: two, Cmd: []string{"sh", "-c", "echo bad >&2; exit 9"}, Timeout: 20}); a.ExitCode != 9 || string(a.Stderr) != "bad\n" {
		t.Errorf("exec: %v", a)
	}
	if a, err := c.ExecSync(t.Context(), &cri.ExecSyncRequest{ContainerId: two, Cmd: []string{"sleep", "60"}, Timeout: 1}); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("an exec of 60 seconds within 1: %v, %v", a, err)
	}
	eventually(t, 30*time.Second, func() string {
		if log := read(filepath.Join(config.LogDirectory, "one.log")); !strings.Contains(log, "stdout F to the log\n") || !strings.Contains(log, "stderr F err\n") {
			return "the log is " + log
		}
		return ""
	})
	eventually(t, 30*time.Second, func() string {
		stats := answer(t, c.ContainerStats, &cri.ContainerStatsRequest{ContainerId: one}).Stats
		if stats.GetCpu().GetUsageCoreNanoSeconds().GetValue() == 0 || stats.GetMemory().GetWorkingSetBytes().GetValue() == 0 {
			return "the stats are " + stats.String()
		}
		return ""
	})
	if list := answer(t, c.ListContainerStats, &cri.ListContainerStatsRequest{Filter: &cri.ContainerStatsFilter{PodSandboxId: pod}}).Stats; len(list) != 2 {
		t.Errorf("stats of %d containers, not 2", len(list))
	}
	answer(t, c.StopContainer, &cri.StopContainerRequest{ContainerId: two, Timeout: 5})
	if s := c.ended(t, two); s.ExitCode != 0 || s.Reason != "Completed" {
		t.Errorf("stopped: %d, %s", s.ExitCode, s.Reason)
	}
	answer(t, c.StopContainer, &cri.StopContainerRequest{ContainerId: one, Timeout: 0})
	if s := c.ended(t, one); s.ExitCode != 137 {
		t.Errorf("killed: %d, %s", s.ExitCode, s.Reason)
	}
	answer(t, c.RemoveContainer, &cri.RemoveContainerRequest{ContainerId: two})
	failing := c.container(t, pod, config, "failing", "exit 3", nil)
	if s := c.ended(t, failing); s.ExitCode != 3 || s.Reason != "Error" {
		t.Errorf("a failing container: %d, %s", s.ExitCode, s.Reason)
	}
	answer(t, c.StopPodSandbox, &cri.StopPodSandboxRequest{PodSandboxId: pod})
	if s := answer(t, c.PodSandboxStatus, &cri.PodSandboxStatusRequest{PodSandboxId: pod}).Status; s.State != cri.PodSandboxState_SANDBOX_NOTREADY || s.RuntimeHandler != "cloche" {
		t.Errorf("a stopped pod is %v on %s", s.State, s.RuntimeHandler)
	}
	answer(t, c.RemovePodSandbox, &cri.RemovePodSandboxRequest{PodSandboxId: pod})
}

// criNetwork is about the pods' own network, and the host's.
func criNetwork(t *testing.T, c *criClient) {
	server, config := c.pod(t, "server", nil)
	c.container(t, server, config, "server", "while :; do echo served | nc -l -p 80; done", nil)
	address := answer(t, c.PodSandboxStatus, &cri.PodSandboxStatusRequest{PodSandboxId: server}).Status.Network.Ip
	client, config := c.pod(t, "client", nil)
	asks := c.container(t, client, config, "client", "sleep 600", nil)
	eventually(t, 10*time.Second, func() string {
		a := answer(t, c.ExecSync, &cri.ExecSyncRequest{ContainerId: asks, Cmd: []string{"sh", "-c", "nc -w 2 " + address + " 80 < /dev/null"}, Timeout: 20})
		if string(a.Stdout) != "served\n" {
			return "from pod to pod: " + a.String()
		}
		return ""
	})
	host, config := c.pod(t, "host", func(p *cri.PodSandboxConfig) {
		p.Linux.SecurityContext.NamespaceOptions = &cri.NamespaceOption{Network: cri.NamespaceMode_NODE, Pid: cri.NamespaceMode_NODE, Ipc: cri.NamespaceMode_NODE}
		p.Hostname = ""
	})
	id := c.container(t, host, config, "host", "sleep 600", nil)
	for _, ns := range []string{"net", "pid", "ipc"} {
		if a, b := c.exec(t, id, "readlink /proc/self/ns/"+ns), c.run(t, "readlink", "/proc/self/ns/"+ns); a != b {
			t.Errorf("a pod on the host's namespaces has %s, the host %s", a, b)
		}
	}
}

func criSharedPid(t *testing.T, c *criClient) {
	pod, config := c.pod(t, "shared", func(p *cri.PodSandboxConfig) { p.Linux.SecurityContext.NamespaceOptions.Pid = cri.NamespaceMode_POD })
	c.container(t, pod, config, "seen", "sleep 4711", nil)
	sees := c.container(t, pod, config, "sees", "sleep 4712", nil)
	eventually(t, 30*time.Second, func() string {
		if got := c.exec(t, sees, "ps"); !strings.Contains(got, "sleep 4711") || !strings.Contains(got, "sleep 1000000") {
			return "the processes of the pod: " + got
		}
		return ""
	})
	// A container that joins another's alone, as kubectl debug does.
	target := c.container(t, pod, config, "target", "sleep 4713", func(k *cri.ContainerConfig) {
		k.Linux.SecurityContext.NamespaceOptions = &cri.NamespaceOption{Pid: cri.NamespaceMode_CONTAINER}
	})
	debug := c.container(t, pod, config, "debug", "sleep 600", func(k *cri.ContainerConfig) {
		k.Linux.SecurityContext.NamespaceOptions = &cri.NamespaceOption{Pid: cri.NamespaceMode_TARGET, TargetId: target}
	})
	if got := c.exec(t, debug, "tr '\\0' ' ' < /proc/1/cmdline"); !strings.Contains(got, "sleep 4713") {
		t.Errorf("process 1 of the target: %q", got)
	}
}

// criSecurity is a pod by the restricted standard of Kubernetes.
func criSecurity(t *testing.T, c *criClient) {
	file := filepath.Join(c.dir, "shared")
	if err := os.Mkdir(file, 0o777); err != nil {
		t.Fatal(err)
	}
	pod, config := c.pod(t, "restricted", func(p *cri.PodSandboxConfig) {
		p.Linux.Sysctls = map[string]string{"net.ipv4.ip_default_ttl": "77"}
	})
	id := c.container(t, pod, config, "restricted", "sleep 600", func(k *cri.ContainerConfig) {
		k.Mounts = []*cri.Mount{{HostPath: file, ContainerPath: "/data", Readonly: true}}
		k.Envs = []*cri.KeyValue{{Key: "A", Value: []byte("b")}}
		k.WorkingDir = "/var/tmp"
		s := k.Linux.SecurityContext
		s.RunAsUser, s.RunAsGroup, s.SupplementalGroups = &cri.Int64Value{Value: 1000}, &cri.Int64Value{Value: 1000}, []int64{4711}
		s.ReadonlyRootfs, s.NoNewPrivs = true, true
		s.Capabilities = &cri.Capability{DropCapabilities: []string{"ALL"}}
		s.Seccomp = &cri.SecurityProfile{ProfileType: cri.SecurityProfile_RuntimeDefault}
		s.MaskedPaths, s.ReadonlyPaths = []string{"/proc/timer_list", "/sys/firmware"}, []string{"/proc/sys", "/proc/bus"}
	})
	got := c.exec(t, id, "id -u; id -g; id -G; pwd; echo $A; grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | cut -f2; touch /x 2>&1; touch /data/x 2>&1; wc -c < /proc/timer_list; cat /proc/sys/net/ipv4/ip_default_ttl; unshare -U true 2>&1 | sed 's/.*: //'")
	want := "1000\n1000\n1000 50 4711\n/var/tmp\nb\n0000000000000000\n0000000000000000\n1\n2\ntouch: /x: Read-only file system\ntouch: /data/x: Read-only file system\n0\n77\nOperation not permitted"
	if got != want {
		t.Errorf("a restricted container said\n%s\nnot\n%s", got, want)
	}
	if canRaiseLimits() {
		return
	}
	t.Log("a privileged container was not tried: this host gives root no CAP_SYS_RESOURCE")
}

func criLimits(t *testing.T, c *criClient) {
	pod, config := c.pod(t, "limited", nil)
	greedy := c.container(t, pod, config, "greedy", "dd if=/dev/zero of=/dev/null bs=64M count=1", func(k *cri.ContainerConfig) { k.Linux.Resources.MemoryLimitInBytes = 16 << 20 })
	if s := c.ended(t, greedy); s.Reason != "OOMKilled" || s.ExitCode != 137 {
		t.Errorf("a container over its memory limit: %d, %s", s.ExitCode, s.Reason)
	}
	id := c.container(t, pod, config, "updated", "sleep 600", func(k *cri.ContainerConfig) {
		k.Linux.Resources = &cri.LinuxContainerResources{CpuPeriod: 100000, CpuQuota: 30000, CpuShares: 200, MemoryLimitInBytes: 32 << 20, CpusetCpus: "0"}
	})
	answer(t, c.UpdateContainerResources, &cri.UpdateContainerResourcesRequest{ContainerId: id, Linux: &cri.LinuxContainerResources{CpuPeriod: 100000, CpuQuota: 60000, MemoryLimitInBytes: 48 << 20}})
	if got := c.limit(t, "memory", "pod-limited/"+id+"/memory.limit_in_bytes"); got != "50331648" {
		t.Errorf("after the update the limit is %s", got)
	}
}

// criHandlers: the runtime is the pod's RuntimeClass's, and one of another name is refused.
func criHandlers(t *testing.T, c *criClient) {
	config := &cri.PodSandboxConfig{Metadata: &cri.PodSandboxMetadata{Name: "none", Uid: "none", Namespace: "default"}, Linux: &cri.LinuxPodSandboxConfig{}}
	if _, err := c.RunPodSandbox(t.Context(), &cri.RunPodSandboxRequest{Config: config, RuntimeHandler: "no-such"}); err == nil || !strings.Contains(err.Error(), "no-such") {
		t.Errorf("a handler that is not configured: %v", err)
	}
}
