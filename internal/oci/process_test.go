package oci

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// inside runs a shell script in a container of its own and returns what it says.
func inside(t *testing.T, r *runtimeOf, script string, change func(*specs.Spec)) string {
	t.Helper()
	b := bundle(t, func(s *specs.Spec) {
		s.Process.Args = []string{"sh", "-c", script}
		if change != nil {
			change(s)
		}
	})
	return r.ok("run", "--bundle", b, "cloche-test-"+fmt.Sprint(os.Getpid()))
}

// TestProcessFields asks the kernel, inside, for what config.json says of the process.
func TestProcessFields(t *testing.T) {
	r := newRuntime(t)
	umask, oom := uint32(0o27), 7
	for name, c := range map[string]struct {
		script, want string
		change       func(*specs.Spec)
	}{
		"user": {"id; grep Groups /proc/self/status; umask; pwd", "uid=3 gid=4 groups=5,6\nGroups:\t5 6 \n0027\n/bin\n", func(s *specs.Spec) {
			s.Process.User = specs.User{UID: 3, GID: 4, AdditionalGids: []uint32{5, 6}, Umask: &umask}
			s.Process.Cwd = "/bin"
		}},
		"environment": {"echo $A $HOME", "1 /home/x\n", func(s *specs.Spec) {
			s.Process.Env = append(s.Process.Env, "A=1", "HOME=/home/x")
		}},
		"home of a stranger": {"echo $HOME", "/\n", func(s *specs.Spec) {
			s.Process.User.UID = 7
		}},
		"capabilities": {"grep -E '^(Cap|NoNew)' /proc/self/status", "CapInh:\t0000000000000002\nCapPrm:\t0000000000000002\nCapEff:\t0000000000000002\nCapBnd:\t0000000000000007\nCapAmb:\t0000000000000002\nNoNewPrivs:\t0\n", func(s *specs.Spec) {
			s.Process.NoNewPrivileges = false
			s.Process.User.UID = 1
			s.Process.Capabilities = &specs.LinuxCapabilities{
				Bounding:    []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH"},
				Permitted:   []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE"},
				Effective:   []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE"},
				Inheritable: []string{"CAP_DAC_OVERRIDE"},
				Ambient:     []string{"CAP_DAC_OVERRIDE"},
			}
		}},
		"no capabilities": {"grep -E '^(Cap|NoNew)' /proc/self/status", "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\n", func(s *specs.Spec) {
			s.Process.Capabilities = nil
		}},
		"rlimits": {"ulimit -n; ulimit -Hn; ulimit -c", "50\n60\n0\n", func(s *specs.Spec) {
			s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 50, Hard: 60}, {Type: "RLIMIT_CORE"}}
		}},
		"oom": {"cat /proc/self/oom_score_adj", "7\n", func(s *specs.Spec) { s.Process.OOMScoreAdj = &oom }},
		"names": {"hostname; cat /proc/sys/kernel/domainname", "host\ndomain\n", func(s *specs.Spec) {
			s.Hostname, s.Domainname = "host", "domain"
		}},
		"personality": {"uname -m", "i686\n", func(s *specs.Spec) {
			s.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux32}
		}},
		"scheduling": {"cat /proc/self/sched | grep -E '^(policy|prio)' | tr -d ' '; ionice", "policy:3\nprio:123\nidle\n", func(s *specs.Spec) {
			s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedBatch, Nice: 3}
			s.Process.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_IDLE, Priority: 7}
		}},
		"time": {"cut -d. -f1 /proc/uptime", "", func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
			s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 1000000}}
		}},
		"sysctl": {"cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/kernel/msgmax", "33\n999\n", func(s *specs.Spec) {
			s.Linux.Sysctl = map[string]string{"net.ipv4.ip_default_ttl": "33", "kernel/msgmax": "999"}
		}},
		"cwd is made":                    {"pwd", "/a/b\n", func(s *specs.Spec) { s.Process.Cwd, s.Root.Readonly = "/a/b", false }},
		"cgroup namespace":               {"cut -d: -f3 /proc/self/cgroup | sort -u", "/\n", nil},
		"only what is asked for is open": {"ls /proc/self/fd", "0\n1\n2\n3\n", nil},
		"pid 1":                          {"echo $$", "1\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := inside(t, r, c.script, func(s *specs.Spec) {
				if c.change != nil {
					c.change(s)
				}
			})
			if name == "time" {
				var n int
				if _, err := fmt.Sscan(got, &n); err != nil || n < 1000000 {
					t.Errorf("the uptime is %q", got)
				}
				return
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestRefusedByName: what can't be honoured is refused by the property's name.
func TestRefusedByName(t *testing.T) {
	r := newRuntime(t)
	for name, c := range map[string]struct {
		want   string
		change func(*specs.Spec)
	}{
		"version":         {"ociVersion", func(s *specs.Spec) { s.Version = "2.0.0" }},
		"platform":        {"windows", func(s *specs.Spec) { s.Windows = &specs.Windows{} }},
		"no root":         {"root.path", func(s *specs.Spec) { s.Root = nil }},
		"root is missing": {"root.path", func(s *specs.Spec) { s.Root.Path = "nowhere" }},
		"no args":         {"args must not be empty", func(s *specs.Spec) { s.Process.Args = nil }},
		"relative cwd":    {"Cwd must be an absolute path", func(s *specs.Spec) { s.Process.Cwd = "x" }},
		"environment":     {"process.env", func(s *specs.Spec) { s.Process.Env = []string{"X"} }},
		"rlimit":          {"process.rlimits[0]", func(s *specs.Spec) { s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_X"}} }},
		"rlimit twice": {"process.rlimits[1]", func(s *specs.Spec) {
			s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE"}, {Type: "RLIMIT_CORE"}}
		}},
		"rlimit order":   {"process.rlimits[0]", func(s *specs.Spec) { s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE", Soft: 1}} }},
		"oom":            {"process.oomScoreAdj", func(s *specs.Spec) { n := 1001; s.Process.OOMScoreAdj = &n }},
		"umask":          {"process.user.umask", func(s *specs.Spec) { n := uint32(0o7777); s.Process.User.Umask = &n }},
		"io":             {"process.ioPriority", func(s *specs.Spec) { s.Process.IOPriority = &specs.LinuxIOPriority{Class: "x"} }},
		"scheduler":      {"process.scheduler", func(s *specs.Spec) { s.Process.Scheduler = &specs.Scheduler{Policy: "x"} }},
		"namespace":      {"linux.namespaces[0].type", func(s *specs.Spec) { s.Linux.Namespaces[0].Type = "x" }},
		"twice":          {"linux.namespaces", func(s *specs.Spec) { s.Linux.Namespaces = append(s.Linux.Namespaces, s.Linux.Namespaces[0]) }},
		"wrong path":     {"linux.namespaces", func(s *specs.Spec) { s.Linux.Namespaces[0].Path = "/proc/self/ns/user" }},
		"no mount":       {"mount namespace", func(s *specs.Spec) { s.Linux.Namespaces = nil }},
		"offsets":        {"linux.timeOffsets", func(s *specs.Spec) { s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {}} }},
		"maps":           {"linux.uidMappings", func(s *specs.Spec) { s.Linux.UIDMappings = []specs.LinuxIDMapping{{Size: 1}} }},
		"rdt":            {"linux.intelRdt", func(s *specs.Spec) { s.Linux.IntelRdt = &specs.LinuxIntelRdt{} }},
		"netDevices":     {"linux.netDevices", func(s *specs.Spec) { s.Linux.NetDevices = map[string]specs.LinuxNetDevice{"x": {}} }},
		"propagation":    {"linux.rootfsPropagation", func(s *specs.Spec) { s.Linux.RootfsPropagation = "x" }},
		"host sysctl":    {"not in a separate kernel namespace", func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"kernel.panic": "1"} }},
		"hostname again": {"conflicts with the OCI", func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"kernel.hostname": "1"} }},
		"sysctl climbs":  {"linux.sysctl", func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"net/../../1/oom_score_adj": "1"} }},
		"device":         {"linux.devices[0]", func(s *specs.Spec) { s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/x", Type: "z"}} }},
		"device number": {"linux.devices[0]", func(s *specs.Spec) {
			s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/x", Type: "c", Major: 1 << 40}}
		}},
		"masked":        {"linux.maskedPaths", func(s *specs.Spec) { s.Linux.MaskedPaths = []string{"x"} }},
		"hook":          {"hooks.poststop[0]", func(s *specs.Spec) { s.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: "x"}}} }},
		"mount on root": {"mounts[0].destination", func(s *specs.Spec) { s.Mounts[0].Destination = "/.." }},
		"inside proc": {"is inside /proc", func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/proc/self/attr", Type: "tmpfs"})
		}},
		"over proc": {"is not of type proc", func(s *specs.Spec) { s.Mounts[0].Type = "tmpfs" }},
		"unknown option": {"mounts[0].options", func(s *specs.Spec) {
			s.Mounts[0] = specs.Mount{Destination: "/x", Source: "/tmp", Options: []string{"bind", "what"}}
		}},
		"no source": {"mounts[0].source", func(s *specs.Spec) { s.Mounts[0] = specs.Mount{Destination: "/x", Source: "/nowhere", Type: "bind"} }},
		"seccomp": {"linux.seccomp", func(s *specs.Spec) {
			s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{"mkdir"}, Action: specs.ActNotify}}}
		}},
		"too many mounts": {"mounts", func(s *specs.Spec) {
			for i := range maxMounts {
				s.Mounts = append(s.Mounts, specs.Mount{Destination: fmt.Sprint("/m", i), Type: "tmpfs"})
			}
		}},
		"selinux": {"selinux", func(s *specs.Spec) { s.Process.SelinuxLabel = "x" }},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "selinux" && selinux() {
				return // it may well be honoured here
			}
			r.refused(1, c.want, "run", "--bundle", bundle(t, c.change), "cloche-refused")
			if all, err := list(&Global{Root: r.root}); err != nil || len(all) > 0 {
				t.Errorf("%v is left: %v", all, err)
			}
			if _, err := os.Lstat(filepath.Join(r.root, "cloche-refused")); err == nil {
				t.Error("its directory is left")
			}
		})
	}
}

// TestMounts looks at what the options of mounts come to.
func TestMounts(t *testing.T) {
	r := newRuntime(t)
	src := t.TempDir()
	for _, d := range []string{"sub", "below"} {
		if err := os.Mkdir(filepath.Join(src, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(src, "file"), []byte("text\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	add := func(m specs.Mount) func(*specs.Spec) {
		return func(s *specs.Spec) { s.Root.Readonly = false; s.Mounts = append(s.Mounts, m) }
	}
	for name, c := range map[string]struct {
		script, want string // a regular expression
		change       func(*specs.Spec)
	}{
		"read-only bind": {"mount | grep ' /x '; mkdir /x/n || echo no", `(?s)\(ro,nosuid,nodev,noexec,.*\nno\n`, add(specs.Mount{Destination: "/x", Source: src, Options: []string{"rbind", "ro", "nosuid", "nodev", "noexec", "noatime"}})},
		"recursive":      {"mount | grep ' /x '", `\(ro,.*noexec`, add(specs.Mount{Destination: "/x", Source: src, Type: "bind", Options: []string{"rbind", "rro", "rnoexec"}})},
		"file":           {"cat /y/z", `^text\n$`, add(specs.Mount{Destination: "/y/z", Source: filepath.Join(src, "file"), Options: []string{"bind"}})},
		"tmpfs":          {"mount | grep ' /t '", `tmpfs.*\(rw,nosuid,noexec.*size=64k,.*mode=700`, add(specs.Mount{Destination: "/t", Type: "tmpfs", Source: "tmpfs", Options: []string{"size=64k", "mode=700", "nosuid", "noexec"}})},
		"late read-only": {"mount | grep ' /t '; mkdir /t/x || echo no", `(?s)\(ro.*\nno\n`, add(specs.Mount{Destination: "/t", Type: "tmpfs", Options: []string{"ro"}})},
		"copied up":      {"ls /bin | grep -c .; mount | grep ' /bin '", `^[0-9]+\n.* /bin type tmpfs`, add(specs.Mount{Destination: "/bin", Type: "tmpfs", Options: []string{"tmpcopyup"}})},
		"through a link": {"mount | grep /real/d.*tmpfs", `/real/d`, func(s *specs.Spec) {
			add(specs.Mount{Destination: "/link/d", Type: "tmpfs"})(s)
		}},
		"through a link to nowhere": {"mount | grep /absent/d.*tmpfs", `/absent/d`, func(s *specs.Spec) {
			add(specs.Mount{Destination: "/dangling/d", Type: "tmpfs"})(s)
		}},
		"masked":    {"cat /proc/keys | head -c 10; ls /proc/acpi; echo end; mkdir /proc/acpi/x 2>/dev/null || echo no", `^end\nno\n$`, nil},
		"read-only": {"echo 1 2>/dev/null > /proc/sys/kernel/panic || echo no", "^no\n$", nil},
		"devices": {"for d in null zero full random urandom tty extra; do ls -l /dev/$d; done; ls -l /dev/ptmx /dev/fd", `crw-rw-rw-.*1, *3.*null\n(.*\n)*crw-r----- +1 7 +8 .*1, *3 .*extra\n(.*\n)*.*ptmx -> pts/ptmx`, func(s *specs.Spec) {
			mode, uid, gid := os.FileMode(0o640), uint32(7), uint32(8)
			s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/extra", Type: "c", Major: 1, Minor: 3, FileMode: &mode, UID: &uid, GID: &gid}}
		}},
		"cgroup":              {"ls /sys/fs/cgroup | grep -c .", `^[1-9]`, nil},
		"root is read-only":   {"mkdir /x || echo no", "no\n$", nil},
		"nothing of the host": {"ls /..; cat /proc/self/mountinfo | head -1", "/rootfs / ro,", nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := bundle(t, func(s *specs.Spec) {
				s.Process.Args = []string{"sh", "-c", c.script}
				if c.change != nil {
					c.change(s)
				}
			})
			root := filepath.Join(b, "rootfs")
			_ = os.Mkdir(filepath.Join(root, "real"), 0o755)
			_ = os.Symlink("/real", filepath.Join(root, "link"))
			_ = os.Symlink("/absent", filepath.Join(root, "dangling"))
			got := r.ok("run", "--bundle", b, "cloche-mounts")
			if !regexp.MustCompile(c.want).MatchString(got) {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// TestUserNamespace: a container with ids of its own, made by root.
func TestUserNamespace(t *testing.T) {
	r := newRuntime(t)
	user := func(s *specs.Spec) {
		s.Root.Readonly = false
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		s.Linux.UIDMappings = []specs.LinuxIDMapping{{HostID: 100000, Size: 1000}}
		s.Linux.GIDMappings = []specs.LinuxIDMapping{{HostID: 200000, Size: 1000}}
		s.Process.User.UID = 5
	}
	b := bundle(t, func(s *specs.Spec) {
		user(s)
		s.Process.Args = []string{"sh", "-c", "id -u; cat /proc/self/uid_map | tr -s ' '; ls -ln /dev/null | cut -c1-10; cat /proc/1/oom_score_adj"}
	})
	if err := os.Chown(filepath.Join(b, "rootfs"), 100000, 200000); err != nil {
		t.Fatal(err)
	}
	got := r.ok("run", "--bundle", b, "cloche-user")
	if want := "5\n 0 100000 1000\ncrw-rw-rw-\n"; !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	r.refused(1, "process.user.uid", "run", "--bundle", bundle(t, func(s *specs.Spec) { user(s); s.Process.User.UID = 5000 }), "cloche-user")
	r.refused(1, "linux.uidMappings", "run", "--bundle", bundle(t, func(s *specs.Spec) { user(s); s.Linux.UIDMappings[0].ContainerID = 1 }), "cloche-user")
}
