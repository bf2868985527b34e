package engines

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/needs"
)

// dockerOptions is about what `docker run` is asked for, and what the container sees of it.
func dockerOptions(t *testing.T, d *docker) {
	for _, c := range []struct{ name, options, script, want string }{
		{"init", "--init", "tr '\\0' ' ' < /proc/1/cmdline | cut -d' ' -f1", "/sbin/docker-init"},
		{"read-only", "--read-only", "touch /x 2>&1; touch /tmp/x 2>&1; true", "touch: /x: Read-only file system\ntouch: /tmp/x: Read-only file system"},
		{"tmpfs", "--read-only --tmpfs /tmp:size=1m,mode=1700", "touch /tmp/x && stat -c %a /tmp && df -k /tmp | tail -1 | awk '{print $2}'", "1700\n1024"},
		{"no capabilities", "--cap-drop ALL", "grep -E 'Cap(Prm|Eff|Bnd)' /proc/self/status | cut -f2 | sort -u", "0000000000000000"},
		{"default capabilities", "", "grep -E 'Cap(Prm|Eff|Bnd)' /proc/self/status | cut -f2 | sort -u", "00000000a80425fb"},
		{"one more capability", "--cap-drop ALL --cap-add NET_ADMIN", "grep -E 'Cap(Prm|Eff|Bnd)' /proc/self/status | cut -f2 | sort -u", "0000000000001000"},
		{"no new privileges", "--security-opt no-new-privileges", "grep NoNewPrivs /proc/self/status | cut -f2", "1"},
		{"new privileges", "", "grep -E 'NoNewPrivs|Seccomp:' /proc/self/status | cut -f2", "0\n2"},
		{"seccomp unconfined", "--security-opt seccomp=unconfined", "grep Seccomp: /proc/self/status | cut -f2", "0"},
		{"user by name", "--user ann", "id", "uid=1000(ann) gid=1000(ann) groups=50(staff),1000(ann)"},
		{"user by number", "--user 4711:4712 --group-add 4713", "id", "uid=4711 gid=4712 groups=4712,4713"},
		{"ulimits", "--ulimit nofile=100:200 --ulimit core=0", "ulimit -Sn; ulimit -Hn; ulimit -c", "100\n200\n0"},
		{"environment", "-e A=b -e C --workdir /var/tmp --hostname here", "echo $A $C $PWD $(hostname)", "b /var/tmp here"},
		{"sysctl", "--sysctl net.ipv4.ip_default_ttl=77 --sysctl kernel.shmmni=100", "cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/kernel/shmmni", "77\n100"},
		{"shm", "--shm-size 2m", "df -k /dev/shm | tail -1 | awk '{print $2}'", "2048"},
		{"masked", "", "ls /sys/firmware | wc -l; wc -c < /proc/timer_list; (echo x > /proc/sys/kernel/hostname) 2>&1 | sed 's/.*: //'", "0\n0\nRead-only file system"},
		{"devices", "", "cd /dev; ls | grep -v core | tr '\\n' ' '; stat -c '%t %T %a' null", "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero 1 3 666"},
		{"volume", "-v /mnt:/host/mnt:ro", "grep -c ' /host/mnt ro' /proc/mounts >/dev/null; awk '$5 == \"/host/mnt\" {print substr($6,1,2)}' /proc/self/mountinfo", "ro"},
	} {
		args := append([]string{"run", "--rm"}, strings.Fields(c.options)...)
		if got := d.do(t, append(args, "busybox", "sh", "-c", c.script)...); got != c.want {
			t.Errorf("%s: docker run %s: sh -c '%s' said %q, not %q", c.name, c.options, c.script, got, c.want)
		}
	}
	if got := d.do(t, "run", "--rm", "-v", "named:/data", "busybox", "sh", "-c", "echo kept > /data/x"); got != "" {
		t.Errorf("it said %q", got)
	}
	if got := d.do(t, "run", "--rm", "-v", "named:/data", "--mount", "type=tmpfs,destination=/t,tmpfs-mode=0711", "busybox", "sh", "-c", "cat /data/x; stat -c %a /t"); got != "kept\n711" {
		t.Errorf("a volume: %q", got)
	}
}

func dockerLimits(t *testing.T, d *docker) {
	// 16 MiB must do for what the container needs itself, and dd asks for 64.
	greedy := d.container(t, "--memory", "16m", "--memory-swap", "16m", "busybox", "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1")
	d.becomes(t, greedy, "{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}", "exited 137 true", 30*time.Second)
	id := d.container(t, "--memory", "32m", "--memory-reservation", "24m", "--cpus", "0.5", "--cpu-shares", "300", "--cpuset-cpus", "0", "--pids-limit", "9", "--blkio-weight", "300", "busybox", "sleep", "600")
	for file, want := range map[string]string{
		"memory/memory.limit_in_bytes": "33554432", "memory/memory.soft_limit_in_bytes": "25165824", "cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000",
		"cpu/cpu.shares": "300", "cpuset/cpuset.cpus": "0", "pids/pids.max": "9",
	} {
		if got := d.setting(t, id, file); got != want {
			t.Errorf("%s is %q, not %s", file, got, want)
		}
	}
	if out, err := d.try("docker", "exec", id, "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 5 & done; echo more than nine"); err == nil && !strings.Contains(out, "can't fork") {
		t.Errorf("--pids-limit 9 let ten be: %s", out)
	}
}

func dockerSeccomp(t *testing.T, d *docker) {
	file := filepath.Join(d.dir, "profile.json")
	profile := `{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_AARCH64"],"syscalls":[
{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":95},
{"names":["kill"],"action":"SCMP_ACT_ERRNO","args":[{"index":1,"value":10,"op":"SCMP_CMP_EQ"}]}]}`
	if err := os.WriteFile(file, []byte(profile), 0o644); err != nil {
		t.Fatal(err)
	}
	got := d.do(t, "run", "--rm", "--security-opt", "seccomp="+file, "busybox", "sh", "-c", "mkdir /x 2>&1; kill -USR1 1 2>&1; kill -0 1 && touch /x && echo others work")
	for _, want := range []string{"mkdir: can't create directory '/x': Operation not supported", "Operation not permitted", "others work"} {
		if !strings.Contains(got, want) {
			t.Errorf("under seccomp=FILE it said %q, without %q", got, want)
		}
	}
	// What Docker's own profile refuses, and a capability lets through.
	if out, err := d.try("docker", "run", "--rm", "busybox", "unshare", "-U", "true"); err == nil || !strings.Contains(out, "not permitted") {
		t.Errorf("the default profile and unshare: %v: %s", err, out)
	}
	if out, err := d.try("docker", "run", "--rm", "--cap-add", "SYS_ADMIN", "busybox", "unshare", "-m", "true"); err != nil {
		t.Errorf("the default profile with CAP_SYS_ADMIN and unshare: %v: %s", err, out)
	}
}

func dockerDevice(t *testing.T, d *docker) {
	// A device that no container has unless it is given: fuse.
	node := filepath.Join(d.dir, "fuse")
	if err := unix.Mknod(node, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 229))); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(node, os.O_RDWR, 0)
	if err != nil {
		needs.Kernel(t, "no fuse, whose device the test hands in: "+err.Error(), "", "FUSE_FS")
	}
	f.Close()
	const script = "stat -c '%t %T' /dev/given; (: < /dev/given) 2>&1; (: > /dev/given) 2>&1 | sed 's/.*: //'"
	if got := d.do(t, "run", "--rm", "--device", node+":/dev/given:r", "busybox", "sh", "-c", script); got != "a e5\nOperation not permitted" {
		t.Errorf("--device, to be read: %q", got)
	}
	if got := d.do(t, "run", "--rm", "--device", node+":/dev/given", "busybox", "sh", "-c", script); got != "a e5" {
		t.Errorf("--device: %q", got)
	}
	// A node alone is no permission.
	if got := d.do(t, "run", "--rm", "busybox", "sh", "-c", "mknod /tmp/n c 10 229 && (: < /tmp/n) 2>&1 | sed 's/.*: //'"); got != "Operation not permitted" {
		t.Errorf("a device that was not given: %q", got)
	}
	if got := d.do(t, "run", "--rm", "--device-cgroup-rule", "c 10:229 rw", "busybox", "sh", "-c", "mknod /tmp/n c 10 229 && (: < /tmp/n) && echo opened"); got != "opened" {
		t.Errorf("--device-cgroup-rule: %q", got)
	}
}

func dockerPrivileged(t *testing.T, d *docker) {
	// All but what no root of this host has.
	got := d.do(t, "run", "--rm", "--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE", "--security-opt", "seccomp=unconfined", "--security-opt", "systempaths=unconfined", "--device-cgroup-rule", "a *:* rwm",
		"busybox", "sh", "-c", "mkdir /m && mount -t tmpfs none /m && grep -c ' /m ' /proc/mounts; grep Seccomp: /proc/self/status | cut -f2; mount | grep -c ' /proc/.* ro'; true")
	if got != "1\n0\n0" {
		t.Errorf("all capabilities but one: %q", got)
	}
	if !canRaiseLimits() {
		needs.Elsewhere(t, "--privileged: this host gives root no CAP_SYS_RESOURCE, and a privileged container has all capabilities")
	}
	got = d.do(t, "run", "--rm", "--privileged", "busybox", "sh", "-c", "mkdir /m && mount -t tmpfs none /m && grep -c ' /m ' /proc/mounts; grep -E 'Seccomp:' /proc/self/status | cut -f2; ls /dev | wc -l")
	if !strings.HasPrefix(got, "1\n0\n") {
		t.Errorf("--privileged: %q", got)
	}
}

func dockerNamespaces(t *testing.T, d *docker) {
	links := func(name string, options ...string) string {
		return d.do(t, append(append([]string{"run", "--rm"}, options...), "busybox", "readlink", "/proc/self/ns/"+name)...)
	}
	for name, option := range map[string]string{"net": "--network=host", "ipc": "--ipc=host", "pid": "--pid=host", "uts": "--uts=host"} {
		host := d.run(t, "readlink", "/proc/self/ns/"+name)
		if got := links(name, option); got != host {
			t.Errorf("%s: %s, and the host has %s", option, got, host)
		}
		if got := links(name); got == host {
			t.Errorf("without %s the container has the host's namespace", option)
		}
	}
	if got := d.do(t, "run", "--rm", "--network", "none", "busybox", "sh", "-c", "ls /sys/class/net; ping -c1 -W1 127.0.0.1 >/dev/null && echo lo works"); got != "lo\nlo works" {
		t.Errorf("--network none: %q", got)
	}
	one := d.container(t, "--network", "none", "--ipc", "shareable", "busybox", "sh", "-c", "echo served | nc -l -p 1234; exec sleep 600")
	eventually(t, 10*time.Second, func() string {
		if got, err := d.try("docker", "run", "--rm", "--network", "container:"+one, "--ipc", "container:"+one, "--pid", "container:"+one, "busybox", "sh", "-c", "nc 127.0.0.1 1234 < /dev/null; tr '\\0' ' ' < /proc/1/cmdline"); err != nil || !strings.HasPrefix(got, "served") {
			return "--network, --ipc and --pid container: " + got
		}
		return ""
	})
	if got := d.do(t, "run", "--rm", "--cgroupns", "private", "busybox", "sh", "-c", "cut -d: -f3 /proc/self/cgroup | sort -u"); got != "/" {
		t.Errorf("--cgroupns private: %q", got)
	}
}

// dockerBridge is Docker's own network, which a hook of the runtime brings into the container.
func dockerBridge(t *testing.T, d *docker) {
	server := d.container(t, "--name", "server", "busybox", "sh", "-c", "while :; do echo served | nc -l -p 80; done")
	address := d.inspect(t, server, "{{.NetworkSettings.IPAddress}}")
	eventually(t, 10*time.Second, func() string {
		if got, err := d.try("docker", "run", "--rm", "busybox", "sh", "-c", "nc -w 2 "+address+" 80 < /dev/null"); err != nil || got != "served" {
			return "from another container: " + got
		}
		return ""
	})
	d.do(t, "network", "create", "own")
	t.Cleanup(func() { _, _ = d.try("docker", "network", "rm", "own") })
	named := d.container(t, "--name", "named-server", "--network", "own", "busybox", "sh", "-c", "while :; do echo by name | nc -l -p 80; done")
	eventually(t, 10*time.Second, func() string {
		if got, err := d.try("docker", "run", "--rm", "--network", "own", "busybox", "sh", "-c", "nc -w 2 named-server 80 < /dev/null"); err != nil || got != "by name" {
			return "by name: " + got
		}
		return ""
	})
	d.do(t, "rm", "--force", named)
}
