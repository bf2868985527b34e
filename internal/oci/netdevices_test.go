package oci

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/needs"
)

// ipIn runs ip(8) in the network namespace of this thread.
func ipIn(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %q: %v: %s", args, err, out)
	}
	return string(out)
}

// TestNetDevices moves interfaces of a network namespace of the test's own into containers.
func TestNetDevices(t *testing.T) {
	r := newRuntime(t)
	needs.Programs(t, "ip")
	// The thread ends with this goroutine. No subtests: theirs are others.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("ip", "link", "add", "wire0", "type", "veth", "peer", "name", "far0").CombinedOutput(); err != nil {
		needs.Elsewhere(t, fmt.Sprintf("this kernel has no veth: %v: %s", err, out))
	}
	ipIn(t, "link", "add", "wire1", "type", "veth", "peer", "name", "far1")
	ipIn(t, "link", "set", "wire0", "mtu", "1400", "address", "02:00:00:00:00:07")
	for _, a := range [][]string{
		{"10.1.2.3/24", "brd", "+", "label", "wire0:7"},
		{"10.1.2.4/24", "metric", "77"},
		{"10.7.0.1", "peer", "10.7.0.2/32"},
		{"10.8.0.1/32", "scope", "link"},
		{"10.9.0.1/32", "valid_lft", "1000", "preferred_lft", "1000"},
		{"fd00::5/64", "nodad"},
	} {
		ipIn(t, append([]string{"addr", "add", "dev", "wire0"}, a...)...)
	}
	ipIn(t, "link", "set", "wire0", "up")
	ipIn(t, "link", "set", "far0", "up")
	ipIn(t, "addr", "add", "dev", "wire1", "10.1.3.3/24")
	here := func(name string) string {
		out, _ := exec.Command("ip", "-o", "addr", "show", "dev", name).CombinedOutput()
		return string(out)
	}
	const id = "cloche-netdevices"
	container := func(devices map[string]specs.LinuxNetDevice, script string, change func(*specs.Spec)) string {
		t.Helper()
		return bundle(t, func(s *specs.Spec) {
			s.Process.Args = []string{"sh", "-c", script}
			s.Linux.NetDevices = devices
			if change != nil {
				change(s)
			}
		})
	}
	type names = map[string]specs.LinuxNetDevice

	// What can't be done leaves everything as it was, and says why.
	before := here("wire0") + here("wire1")
	for _, c := range []struct {
		devices names
		want    string
		change  func(*specs.Spec)
	}{
		{names{"missing": {}}, "linux.netDevices.missing: there is no network interface of this name here", nil},
		{names{"wire0": {Name: "same"}, "wire1": {Name: "same"}}, "linux.netDevices.wire1: the container's network namespace has an interface same already", nil},
		{names{"wire0": {Name: "lo"}}, "linux.netDevices.wire0: the container's network namespace has an interface lo already", nil},
		{names{"lo": {Name: "lo1"}, "wire0": {}}, "linux.netDevices.lo: the kernel lets this kind of interface live in its own network namespace alone", nil},
		{names{"wire0": {Name: "a%s"}}, "is no name that an interface can have", nil},
		{names{"wire0": {Name: "a/b"}}, "linux.netDevices.wire0.name", nil},
		{names{"a:b": {}}, "linux.netDevices", nil},
		{names{"wire0": {}}, "nowhere to move a device to", func(s *specs.Spec) {
			for i, n := range s.Linux.Namespaces {
				if n.Type == specs.NetworkNamespace {
					s.Linux.Namespaces[i].Path = "/proc/thread-self/ns/net"
				}
			}
		}},
		// The container fails when it has them already.
		{names{"wire0": {}, "wire1": {}}, "createRuntime hook", func(s *specs.Spec) {
			s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/false"}}}
		}},
	} {
		r.refused(1, c.want, "run", "--bundle", container(c.devices, "true", c.change), id)
		if after := here("wire0") + here("wire1"); addressesOf(after) != addressesOf(before) {
			t.Errorf("%v: here are\n%s\nand were\n%s", c.devices, after, before)
		}
	}

	b := container(names{"wire0": {Name: "inside0"}}, "busybox ip addr show; cat /proc/sys/net/ipv4/conf/inside0/forwarding", func(s *specs.Spec) {
		s.Linux.Sysctl = map[string]string{"net/ipv4/conf/inside0/forwarding": "1"}
	})
	r.ok("create", "--bundle", b, id)
	if got := here("wire0"); !strings.Contains(got, "does not exist") {
		t.Errorf("it is still here: %s", got)
	}
	r.ok("delete", "--force", id)
	if _, err := os.Stat(filepath.Join(r.root, id)); err == nil {
		t.Error("the container is left")
	}

	// A veth dies with the namespace that it is in.
	again := func() {
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			out, err := exec.Command("ip", "link", "add", "wire0", "type", "veth", "peer", "name", "far0").CombinedOutput()
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s", out)
			}
		}
		ipIn(t, "link", "set", "wire0", "mtu", "1400", "address", "02:00:00:00:00:07")
		ipIn(t, "addr", "add", "dev", "wire0", "10.1.2.3/24", "brd", "+", "label", "wire0:7")
		ipIn(t, "addr", "add", "dev", "wire0", "10.7.0.1", "peer", "10.7.0.2/32")
		ipIn(t, "addr", "add", "dev", "wire0", "10.8.0.1/32", "scope", "link")
		ipIn(t, "addr", "add", "dev", "wire0", "fd00::5/64", "nodad")
		ipIn(t, "link", "set", "far0", "up")
	}
	again()
	got := r.ok("run", "--bundle", b, id)
	for _, want := range []string{"inside0@", "MULTICAST,UP,", "mtu 1400", "02:00:00:00:00:07", "inet 10.1.2.3/24 brd 10.1.2.255 scope global inside0:7", "inet 10.7.0.1 peer 10.7.0.2/32 scope global inside0", "inet6 fd00::5/64 scope global", "\n1\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("inside is no %s:\n%s", want, got)
		}
	}
	for _, not := range []string{"10.8.0.1", "wire0", "cloche"} {
		if strings.Contains(got, not) {
			t.Errorf("inside is %s:\n%s", not, got)
		}
	}

	// Into a namespace that is there, with a number that the kernel finds, and ids of its own.
	again()
	r.ok("run", "--detach", "--bundle", container(nil, "sleep 1000", nil), id)
	r.ok("run", "--bundle", container(names{"wire0": {Name: "in%d"}, "wire1": {Name: "in%d"}}, "true", func(s *specs.Spec) {
		for i, n := range s.Linux.Namespaces {
			if n.Type == specs.NetworkNamespace {
				s.Linux.Namespaces[i].Path = fmt.Sprintf("/proc/%d/ns/net", r.state(id).Pid)
			}
		}
	}), id+"-2")
	if got := r.ok("exec", id, "busybox", "ip", "-o", "addr"); !strings.Contains(got, "10.1.2.3/24 brd 10.1.2.255 scope global in0:7") || !strings.Contains(got, "10.1.3.3/24 scope global in1") {
		t.Errorf("in the namespace of another container: %s", got)
	}
	r.ok("delete", "--force", id)
	again()
	user := container(names{"wire0": {}}, "busybox ip addr show dev wire0", func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		s.Linux.UIDMappings = []specs.LinuxIDMapping{{HostID: 100000, Size: 1000}}
		s.Linux.GIDMappings = []specs.LinuxIDMapping{{HostID: 100000, Size: 1000}}
	})
	if err := os.Chown(filepath.Join(user, "rootfs"), 100000, 100000); err != nil {
		t.Fatal(err)
	}
	if got := r.ok("run", "--bundle", user, id); !strings.Contains(got, "10.1.2.3/24 brd 10.1.2.255 scope global wire0:7") {
		t.Errorf("in a user namespace: %s", got)
	}
}

// addressesOf is what ip(8) says of addresses, without what changes by itself: the number of
// the interface, and the lifetimes and link-local addresses that the kernel gives.
func addressesOf(out string) string {
	var keep []string
	for line := range strings.Lines(out) {
		_, line, _ = strings.Cut(line, ": ")
		line, _, _ = strings.Cut(line, "\\")
		if !strings.Contains(line, "scope link") && !strings.Contains(line, "dynamic") {
			keep = append(keep, line)
		}
	}
	return strings.Join(keep, "\n")
}
