package engines

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// newNode is a Docker that can be part of a swarm, on a network of the nodes.
func newNode(t testing.TB, m *machine, image string) *docker {
	t.Helper()
	// No IP_VS is needed, and no overlay network: services of these tests use the node's own.
	d := newDocker(t, m, map[string]any{"bridge": "none", "iptables": false})
	d.do(t, "import", image, "busybox")
	d.do(t, "tag", "busybox", "busybox:next")
	d.remember(dockerState + "/moby")
	return d
}

// running are the tasks of a service that run, by the image's name and node.
func (d *docker) running(t testing.TB, service string) []string {
	t.Helper()
	var list []string
	for line := range strings.Lines(d.do(t, "service", "ps", "--filter", "desired-state=running", "--format", "{{.CurrentState}}|{{.Image}}|{{.Node}}", service)) {
		if strings.HasPrefix(line, "Running") {
			list = append(list, strings.SplitN(strings.TrimSpace(line), "|", 2)[1])
		}
	}
	return list
}

func (d *docker) replicas(t testing.TB, service string, want int, within time.Duration) {
	t.Helper()
	began := time.Now()
	eventually(t, within, func() string {
		if list := d.running(t, service); len(list) != want {
			return fmt.Sprintf("%d of %d replicas run: %s", len(list), want, d.do(t, "service", "ps", "--no-trunc", "--format", "{{.CurrentState}} {{.Error}}", service))
		}
		return ""
	})
	t.Logf("%d replicas of %s after %v", want, service, time.Since(began).Round(time.Millisecond))
}

// service starts one whose tasks end at once when they are asked to.
func (d *docker) service(t testing.TB, name string, replicas int, options ...string) {
	t.Helper()
	args := append([]string{"service", "create", "--detach", "--quiet", "--no-resolve-image", "--name", name, "--network", "host", "--replicas", fmt.Sprint(replicas), "--stop-grace-period", "2s"}, options...)
	d.do(t, append(args, "busybox:latest", "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.2; done")...)
}

// left waits until a node that left a swarm has no container, and then nothing of one.
func (d *docker) left(t testing.TB) {
	t.Helper()
	eventually(t, 60*time.Second, func() string {
		if got := d.do(t, "ps", "--all", "--quiet"); got != "" {
			return "containers after the node has left: " + got
		}
		return ""
	})
	d.settled(t, dockerState+"/moby")
}

func TestSwarm(t *testing.T) {
	m := newMachine(t, "node")
	d := newNode(t, m, busyboxTar(t))
	d.do(t, "swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:2377")
	d.service(t, "web", 10, "--update-parallelism", "5", "--update-delay", "0s", "--update-monitor", "100ms")
	d.replicas(t, "web", 10, 90*time.Second)
	id := strings.Fields(d.do(t, "ps", "--quiet"))[0]
	if got := d.inspect(t, id, "{{.HostConfig.Runtime}}"); got != "under-test" {
		t.Errorf("a task runs on %s", got)
	}

	d.do(t, "service", "scale", "--detach", "web=30")
	d.replicas(t, "web", 30, 2*time.Minute)

	d.do(t, "service", "update", "--detach", "--quiet", "--no-resolve-image", "--image", "busybox:next", "--env-add", "VERSION=2", "web")
	eventually(t, 3*time.Minute, func() string {
		next := 0
		for _, task := range d.running(t, "web") {
			if strings.HasPrefix(task, "busybox:next|") {
				next++
			}
		}
		if next != 30 {
			return fmt.Sprintf("%d of 30 tasks are updated", next)
		}
		return ""
	})
	d.do(t, "service", "scale", "--detach", "web=2")

	// 64 MiB are more than the task may have: it is killed, and another takes its place.
	d.do(t, "service", "create", "--detach", "--quiet", "--no-resolve-image", "--name", "greedy", "--network", "host", "--limit-memory", "16m", "--restart-delay", "200ms",
		"busybox:latest", "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1")
	eventually(t, 60*time.Second, func() string {
		tasks := strings.Fields(d.do(t, "service", "ps", "--quiet", "greedy"))
		killed := strings.Count(d.do(t, "service", "ps", "--no-trunc", "--format", "{{.Error}}", "greedy"), "(137)")
		if len(tasks) < 3 || killed < 2 {
			return fmt.Sprintf("%d tasks, %d killed", len(tasks), killed)
		}
		for _, id := range strings.Fields(d.do(t, "ps", "--all", "--quiet", "--filter", "name=greedy", "--filter", "status=exited")) {
			if out, err := d.try("docker", "inspect", "--format", "{{.State.OOMKilled}}", id); err == nil && out == "true" {
				return ""
			}
		}
		return "no task was killed for its memory"
	})
	d.do(t, "service", "rm", "greedy")

	d.do(t, "node", "update", "--availability", "drain", "node")
	eventually(t, 60*time.Second, func() string {
		if got := d.do(t, "ps", "--quiet"); got != "" {
			return "containers on a drained node: " + got
		}
		return ""
	})
	d.do(t, "service", "rm", "web")
	d.do(t, "swarm", "leave", "--force")
	d.left(t)
}

// TestSwarmOfThree is a swarm of three nodes, each in a machine of its own, on a bridge.
func TestSwarmOfThree(t *testing.T) {
	image := busyboxTar(t)
	nodes := nodesOnABridge(t, 3, image)
	manager := nodes[0]
	manager.do(t, "swarm", "init", "--advertise-addr", "10.99.0.1", "--listen-addr", "10.99.0.1:2377", "--default-addr-pool", "10.77.0.0/16")
	token := manager.do(t, "swarm", "join-token", "--quiet", "worker")
	for i, n := range nodes[1:] {
		n.do(t, "swarm", "join", "--token", token, "--advertise-addr", fmt.Sprintf("10.99.0.%d", i+2), "10.99.0.1:2377")
	}
	ready := func(want int) {
		t.Helper()
		eventually(t, 60*time.Second, func() string {
			if got := manager.do(t, "node", "ls", "--format", "{{.Status}} {{.Availability}}"); strings.Count(got, "Ready Active") != want {
				return "the nodes are " + got
			}
			return ""
		})
	}
	on := func(node string) int {
		n := 0
		for _, task := range manager.running(t, "web") {
			if strings.HasSuffix(task, "|"+node) {
				n++
			}
		}
		return n
	}
	ready(3)
	manager.service(t, "web", 6)
	manager.replicas(t, "web", 6, 90*time.Second)
	for _, n := range nodes {
		if got := on(n.name); got != 2 {
			t.Errorf("%d of 6 tasks are on %s", got, n.name)
		}
	}

	// A node is drained: its tasks go to the others. It leaves, and nothing is on it.
	manager.do(t, "node", "update", "--availability", "drain", "node3")
	moved := func(node string) func() string {
		return func() string {
			if there, all := on(node), len(manager.running(t, "web")); there != 0 || all != 6 {
				return fmt.Sprintf("%d tasks on %s, %d in all", there, node, all)
			}
			return ""
		}
	}
	eventually(t, 60*time.Second, moved("node3"))
	nodes[2].do(t, "swarm", "leave")
	nodes[2].left(t)

	// With two nodes, one is lost without a word.
	nodes[1].stop()
	eventually(t, 90*time.Second, moved("node2"))
	manager.do(t, "service", "rm", "web")
	manager.do(t, "swarm", "leave", "--force")
	manager.left(t)
}

// nodesOnABridge are Docker daemons whose machines' networks are joined: the first one has
// the bridge.
func nodesOnABridge(t testing.TB, n int, image string) []*docker {
	t.Helper()
	var nodes []*docker
	for i := range n {
		m := newMachine(t, fmt.Sprint("node", i+1))
		address := fmt.Sprintf("10.99.0.%d/24", i+1)
		if i == 0 {
			m.run(t, "ip", "link", "add", linkPrefix+"bridge", "type", "bridge")
			m.run(t, "ip", "addr", "add", address, "dev", linkPrefix+"bridge")
			m.run(t, "ip", "link", "set", linkPrefix+"bridge", "up")
		} else {
			first, port := nodes[0].machine, fmt.Sprint(linkPrefix, i)
			m.run(t, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", port)
			// Into the network of another machine, which is a pid of the host's.
			hostIP(t, m.pid, "link", "set", port, "netns", fmt.Sprint(first.pid))
			first.run(t, "ip", "link", "set", port, "master", linkPrefix+"bridge", "up")
			m.run(t, "ip", "addr", "add", address, "dev", "eth0")
			m.run(t, "ip", "link", "set", "eth0", "up")
		}
		nodes = append(nodes, newNode(t, m, image))
	}
	nodes[0].remember(dockerState + "/moby") // with all its bridge's ports
	return nodes
}
