package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/cloche-sandbox/cloche/attack"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/seccomp"
	"github.com/cloche-sandbox/cloche/seccomp/profile"
)

// ociRuntime is a runtime with the config that its own "spec" writes, and what is needed to
// run a program of the host's: /usr and /etc, read-only, and a tmpfs at /tmp.
func ociRuntime(name, dir string, rootless, docker bool) *contender {
	c := &contender{Sandbox: Sandbox{name, words(name, "--version"), "the config that `" + name + " spec` writes (`--rootless` as an ordinary user), with /usr, /etc and a tmpfs at /tmp"}}
	if docker {
		c.Name += " as Docker"
		c.Flags += ", and Docker's capabilities, seccomp profile, masked and read-only paths"
	}
	c.box = func(o *attack.Outside, _ *attack.Attack, r request) (attack.Box, error) {
		bundle, err := os.MkdirTemp(dir, name+"-")
		if err != nil {
			return nil, err
		}
		o.Defer(func() { os.RemoveAll(bundle) })
		root := filepath.Join(bundle, "rootfs")
		if err := makeRoot(root); err != nil {
			return nil, err
		}
		args := []string{"spec", "--bundle", bundle}
		if rootless {
			args = append(args, "--rootless")
		}
		if words, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s spec: %w: %s", name, err, words)
		}
		if r.root != "" {
			root = r.root
		}
		return &runtimeBox{name: name, bundle: bundle, root: root, state: filepath.Join(bundle, "state"), r: r, limited: !rootless, docker: docker}, nil
	}
	return c
}

// makeRoot makes the directories and links of a root.
func makeRoot(root string) error {
	for _, d := range []string{"usr", "etc", "proc", "dev", "sys", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	for _, l := range []string{"bin", "lib", "lib64", "sbin"} {
		if err := os.Symlink("usr/"+l, filepath.Join(root, l)); err != nil {
			return err
		}
	}
	return nil
}

type runtimeBox struct {
	name, bundle, root, state string
	r                         request
	limited                   bool // it may make cgroups
	docker                    bool // with what Docker confines a container by
}

var ids atomic.Int64

// Run runs the attacker.
func (b *runtimeBox) Run(ctx context.Context, argv []string, files []*os.File, stdout io.Writer) (attack.Ended, error) {
	at := filepath.Join(b.bundle, "config.json")
	text, err := os.ReadFile(at)
	if err != nil {
		return attack.Ended{}, err
	}
	var config map[string]any
	if err := json.Unmarshal(text, &config); err != nil {
		return attack.Ended{}, err
	}
	process := config["process"].(map[string]any)
	process["args"], process["terminal"], process["cwd"] = argv, false, "/"
	process["env"] = []string{"PATH=/usr/bin:/bin"}
	config["root"] = map[string]any{"path": b.root, "readonly": false}
	exe := argv[0]
	mounts := config["mounts"].([]any)
	add := func(kind, from, to string, options ...string) {
		mounts = append(mounts, map[string]any{"type": kind, "source": from, "destination": to, "options": options})
	}
	add("bind", "/usr", "/usr", "rbind", "ro")
	add("bind", "/etc", "/etc", "rbind", "ro")
	if !slices.ContainsFunc(b.r.mounts, func(m mount) bool { return m.to == "/tmp" }) {
		add("tmpfs", "tmpfs", "/tmp", "nosuid", "nodev", "mode=1777")
	}
	for _, m := range b.r.mounts {
		switch m.kind {
		case "bind", "overlay":
			how := "ro"
			if m.write || m.kind == "overlay" {
				how = "rw"
			}
			add("bind", m.from, m.to, "rbind", how)
		case "tmpfs":
			options := []string{"nosuid", "nodev", "mode=1777"}
			if m.size != "" {
				options = append(options, "size="+bytesOf(m.size))
			}
			add("tmpfs", "tmpfs", m.to, options...)
		case "hide":
			linux := config["linux"].(map[string]any)
			masked, _ := linux["maskedPaths"].([]any)
			linux["maskedPaths"] = append(masked, m.to)
		}
	}
	add("bind", exe, exe, "bind", "ro")
	config["mounts"] = mounts
	if b.docker {
		if err := likeDocker(config, process); err != nil {
			return attack.Ended{}, err
		}
	}
	if err := b.limit(config, process); err != nil {
		return attack.Ended{}, err
	}
	if text, err = json.Marshal(config); err != nil {
		return attack.Ended{}, err
	}
	if err := os.WriteFile(at, text, 0o600); err != nil {
		return attack.Ended{}, err
	}
	id := fmt.Sprintf("cloche-peers-%d-%d", os.Getpid(), ids.Add(1))
	defer func() { _ = exec.Command(b.name, "--root", b.state, "delete", "--force", id).Run() }()
	prefix := []string{b.name, "--root", b.state, "run", "--bundle", b.bundle}
	if len(files) > 0 {
		prefix = append(prefix, "--preserve-fds", strconv.Itoa(len(files)))
	}
	// runtime run ID: the attacker's arguments are in the config.
	return attack.Bare{Prefix: hybrid(append(prefix, id))}.Run(ctx, nil, files, stdout)
}

// likeDocker confines a container by what Docker does, unless it is told otherwise.
func likeDocker(config, process map[string]any) error {
	capabilities := []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID",
		"CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
	}
	process["capabilities"] = map[string]any{"bounding": capabilities, "effective": capabilities, "permitted": capabilities}
	process["noNewPrivileges"] = false
	machine, _ := seccomp.ArchByName(runtime.GOARCH)
	rules, archs, err := profile.Docker(profile.Host{Arch: machine, Caps: capabilities, Exact: true})
	if err != nil {
		return err
	}
	filter, _, err := profile.WriteOCI(rules, archs...)
	if err != nil {
		return err
	}
	linux := config["linux"].(map[string]any)
	linux["seccomp"] = json.RawMessage(filter)
	masked, _ := linux["maskedPaths"].([]any)
	for _, p := range [...]string{
		"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
		"/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
	} {
		if !slices.Contains(masked, any(p)) {
			masked = append(masked, p)
		}
	}
	linux["maskedPaths"] = masked
	linux["readonlyPaths"] = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
	return nil
}

// limit puts what it can into the config.
func (b *runtimeBox) limit(config, process map[string]any) error {
	resources := map[string]any{}
	for name, value := range b.r.limits {
		switch {
		case name == "memory" && b.limited:
			n, err := policy.ParseSize(value)
			if err != nil {
				return err
			}
			resources["memory"] = map[string]any{"limit": int64(n)}
		case name == "pids" && b.limited:
			n, err := strconv.Atoi(value)
			if err != nil {
				return err
			}
			resources["pids"] = map[string]any{"limit": n}
		case name == "rlimit":
			what, n, _ := strings.Cut(value, "=")
			size, err := policy.ParseSize(n)
			if err != nil {
				return err
			}
			process["rlimits"] = []any{map[string]any{"type": "RLIMIT_" + strings.ToUpper(what), "hard": int64(size), "soft": int64(size)}}
		default:
			return cannot(noLimit)
		}
	}
	if len(resources) > 0 {
		linux := config["linux"].(map[string]any)
		old, _ := linux["resources"].(map[string]any)
		for k, v := range old {
			resources[k] = v
		}
		linux["resources"] = resources
	}
	return nil
}

// hybrid hides the empty cgroup v2 hierarchy that some hosts have beside v1, which these
// versions take for one to use.
func hybrid(argv []string) []string {
	if _, err := os.Stat("/sys/fs/cgroup/unified"); err != nil || os.Geteuid() != 0 {
		return argv
	}
	return append([]string{"unshare", "--mount", "sh", "-c", `mount -t tmpfs none /sys/fs/cgroup/unified && exec "$@"`, "sh"}, argv...)
}

// podman is a container of its own defaults, but the network: that takes programs beside it.
func podman(dir, runtime string) *contender {
	c := &contender{Sandbox: Sandbox{"podman", words("podman", "--version"), "`podman run --rm --network none --rootfs DIR`, with /usr, /etc and a tmpfs at /tmp"}}
	if runtime != "runc" {
		c.Name += " on " + runtime
		c.Flags += ", with `--runtime " + runtime + "`"
		path, err := exec.LookPath(runtime)
		if err != nil {
			c.missing = runtime + " is not installed"
		}
		runtime = path
	}
	if os.Geteuid() != 0 {
		c.missing = "its rootless mode takes subordinate ids and a session"
	}
	c.box = func(o *attack.Outside, _ *attack.Attack, r request) (attack.Box, error) {
		exe, err := os.Executable()
		if err != nil {
			return nil, err
		}
		root, err := os.MkdirTemp(dir, "podman-")
		if err != nil {
			return nil, err
		}
		o.Defer(func() { os.RemoveAll(root) })
		if err := makeRoot(root); err != nil {
			return nil, err
		}
		argv := []string{
			"podman", "--cgroup-manager=cgroupfs", "--runtime", runtime, "run", "--rm", "--network", "none", "--log-driver", "none",
			"--volume", "/usr:/usr:ro", "--volume", "/etc:/etc:ro", "--volume", exe + ":" + exe + ":ro",
		}
		limits := map[string]string{"nofile": "1024", "nproc": "1024"} // its own are above what root may have on some hosts
		for name, value := range r.limits {
			switch name {
			case "memory":
				argv = append(argv, "--memory", bytesOf(value))
			case "pids":
				argv = append(argv, "--pids-limit", value)
			case "rlimit":
				what, n, _ := strings.Cut(value, "=")
				limits[what] = bytesOf(n)
			case "wall-time":
				argv = append(argv, "--timeout", "1")
			default:
				return nil, cannot(noLimit)
			}
		}
		for what, n := range limits {
			argv = append(argv, "--ulimit", what+"="+n+":"+n)
		}
		tmp := "/tmp"
		for _, m := range r.mounts {
			switch m.kind {
			case "bind", "overlay":
				how := "ro"
				if m.write || m.kind == "overlay" {
					how = "rw"
				}
				argv = append(argv, "--volume", m.from+":"+m.to+":"+how)
			case "tmpfs":
				options := ""
				if m.size != "" {
					options = ":size=" + bytesOf(m.size)
				}
				if m.to == "/tmp" {
					tmp = ""
				}
				argv = append(argv, "--tmpfs", m.to+options)
			case "hide":
				argv = append(argv, "--security-opt", "mask="+m.to)
			}
		}
		if tmp != "" {
			argv = append(argv, "--tmpfs", tmp)
		}
		if r.root != "" {
			root = r.root
		}
		return podmanBox{argv, root}, nil
	}
	return c
}

type podmanBox struct {
	argv []string
	root string
}

// Run runs the attacker.
func (b podmanBox) Run(ctx context.Context, argv []string, files []*os.File, stdout io.Writer) (attack.Ended, error) {
	prefix := slices.Clone(b.argv)
	if len(files) > 0 {
		prefix = append(prefix, "--preserve-fds", strconv.Itoa(len(files)))
	}
	prefix = hybrid(append(prefix, "--rootfs", b.root))
	return attack.Bare{Prefix: prefix}.Run(ctx, argv, files, stdout)
}
