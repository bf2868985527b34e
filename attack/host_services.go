package attack

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Agents and daemons (of ssh, D-Bus, Wayland, containers) do what they are asked by
// whoever finds their socket. Its directory is not there.
var agentSocket = Attack{
	Name: "agent-socket", Group: "network", Reference: "ssh-agent(1), unix(7)",
	Tries: "ask an agent of the user's through its socket's path",
	Door:  []string{"landlock off"}, // it follows the mounts
	Stops: []Stop{{Root, "ENOENT"}},
	Outside: func(o *Outside) error {
		path := filepath.Join(o.Dir, "agent")
		o.Tell("path", path)
		return o.serve(unix.AF_UNIX, &unix.SockaddrUnix{Name: path})
	},
	Inside: func(in *Inside) error { return in.ask(unix.AF_UNIX, &unix.SockaddrUnix{Name: in.Arg("path")}) },
}

// Arguments of other processes name files, and sometimes passwords.
var otherProcess = Attack{
	Name: "arguments-of-a-process", Group: "knowledge", Reference: "proc_pid_cmdline(5)",
	Tries: "read the arguments of a process outside",
	Stops: []Stop{{PIDNamespace, "ENOENT"}},
	Outside: func(o *Outside) error {
		o.Tell("dir", o.Dir)
		return withVictim(o)
	},
	Inside: func(in *Inside) error {
		return holds("/proc/"+in.Arg("pid")+"/cmdline", in.Arg("dir"))
	},
}

var hostInterface = Attack{
	Name: "host-interface", Group: "knowledge", Reference: "network_namespaces(7)",
	Tries: "find the host's network interfaces",
	Stops: []Stop{{NetNamespace, Hidden}},
	Needs: func() string {
		if usedInterface() == "" {
			return "the host has no interface that received anything, but its loopback"
		}
		return ""
	},
	Outside: func(o *Outside) error {
		o.Tell("interface", usedInterface())
		return nil
	},
	Inside: func(in *Inside) error { return holds("/proc/self/net/dev", in.Arg("interface")+":") },
}

// usedInterface is one that received something, so none that every namespace has.
func usedInterface() string {
	b, _ := os.ReadFile("/proc/self/net/dev")
	for line := range strings.Lines(string(b)) {
		name, counts, ok := strings.Cut(strings.TrimSpace(line), ":")
		if n := strings.Fields(counts); ok && name != "lo" && len(n) > 0 && n[0] != "0" {
			return name
		}
	}
	return ""
}

var hostCgroup = Attack{
	Name: "host-cgroup", Group: "knowledge", Reference: "cgroup_namespaces(7)",
	Tries: "read which cgroup of the host's this is in",
	Stops: []Stop{{CgroupNamespace, Hidden}},
	Needs: func() string {
		if hostCgroupPath() == "" {
			return "this process is in the root of every cgroup hierarchy"
		}
		return ""
	},
	Outside: func(o *Outside) error {
		o.Tell("path", hostCgroupPath())
		return nil
	},
	Inside: func(in *Inside) error { return holds("/proc/self/cgroup", in.Arg("path")) },
}

// hostCgroupPath is a line's end of /proc/self/cgroup that tells something.
func hostCgroupPath() string {
	b, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(b)) {
		if part := strings.SplitN(strings.TrimSpace(line), ":", 3); len(part) == 3 && part[2] != "/" {
			return part[2]
		}
	}
	return ""
}

var machineName = Attack{
	Name: "machine-name", Group: "knowledge", Reference: "uts_namespaces(7)",
	Tries: "read the machine's name",
	Stops: []Stop{{UTSNamespace, Hidden}},
	Outside: func(o *Outside) error {
		name, err := os.Hostname()
		o.Tell("name", name)
		return err
	},
	Inside: func(in *Inside) error {
		if name, err := os.Hostname(); err != nil || name != in.Arg("name") {
			return NotFound("the machine's name")
		}
		return nil
	},
}

// holds is an attack that looks for something in a file.
func holds(path, what string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return Failed(err)
	}
	if !bytes.Contains(b, []byte(what)) {
		return NotFound(what)
	}
	return nil
}
