package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cloche-sandbox/cloche/attack"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/seccomp"
	"github.com/cloche-sandbox/cloche/seccomp/profile"
)

// contender is a sandbox that attacks are tried in.
type contender struct {
	Sandbox
	missing string // why it can't be tried here
	box     func(o *attack.Outside, a *attack.Attack, r request) (attack.Box, error)
}

// What a cell says.
const (
	out     = "**out**"
	stopped = "stopped"
	untried = "–"
	noLimit = "no limit"
	refused = "refused"
	reached = "reached"
)

// cannot is why an attack means nothing to a sandbox, in a word for its cell.
type cannot string

func (c cannot) Error() string { return string(c) }

// try is what became of an attack: for the table, and for who watches.
func (c *contender) try(a *attack.Attack) (short, long string) {
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	got, err := a.In(ctx, func(o *attack.Outside) (attack.Box, error) {
		b, err := c.box(o, a, requestOf(a, o))
		if _, ok := b.(attack.Sandboxed); ok {
			return b, err
		}
		for _, e := range o.Env {
			name, value, _ := strings.Cut(e, "=")
			if err := os.Setenv(name, value); err != nil {
				return nil, err
			}
			o.Defer(func() { os.Unsetenv(name) })
		}
		return b, err
	})
	var n cannot
	switch {
	case errors.As(err, &n):
		return string(n), ""
	case err != nil:
		return untried, clean(err.Error())
	case got.Verdict == attack.Escaped && strings.HasPrefix(a.Name, "tioc"):
		return reached, "" // whether a terminal is there to type into depends on the session
	case got.Verdict == attack.Escaped:
		return out, ""
	case got.Verdict == attack.Stopped:
		if got.Sign == attack.NotMade {
			return refused, clean(got.Detail)
		}
		return stopped, got.Sign + " " + clean(got.Detail)
	}
	if len(a.Limits) > 0 && got.Detail == "the attacker did not run: " {
		return stopped, "ended without a word"
	}
	if a.Given != nil && strings.HasPrefix(got.Detail, "the attacker did not run") {
		return refused, clean(got.Detail)
	}
	return untried, clean(got.Detail)
}

func sandboxes(dir string) []*contender {
	user := os.Geteuid()
	list := []*contender{
		{Sandbox: Sandbox{"none", "", "the attacker as it is, in mounts of its own"}, box: none},
		{Sandbox: Sandbox{"cloche", "", "`cloche run`, the default profile"}, box: cloche},
		bubblewrap("bwrap", "bwrap as srt", false, asRuntime),
		bubblewrap("bwrap", "bwrap as Flatpak", true, asFlatpak),
		{Sandbox: Sandbox{"firejail", words("firejail", "--version"), "`firejail --quiet`, its default profile"}, box: firejail},
		ociRuntime("crun", dir, user != 0, false),
		ociRuntime("runc", dir, user != 0, false),
		ociRuntime("cloche-oci", dir, user != 0, false),
		ociRuntime("crun", dir, user != 0, true),
		ociRuntime("runc", dir, user != 0, true),
		ociRuntime("cloche-oci", dir, user != 0, true),
		podman(dir, "runc"),
		podman(dir, "cloche-oci"),
	}
	for _, c := range list {
		if c.missing == "" && c.Name != "none" && c.Name != "cloche" && c.Version == "" {
			c.missing = "not installed"
		}
	}
	return list
}

// How sandbox-runtime and Flatpak call bubblewrap.
const (
	asRuntime = "--new-session --die-with-parent --ro-bind / / --dev /dev --proc /proc --tmpfs /tmp --unshare-net --unshare-pid"
	asFlatpak = "--unshare-pid --unshare-ipc --unshare-net --unshare-cgroup-try --die-with-parent --ro-bind /usr /usr --ro-bind /etc /etc " +
		"--symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64 --proc /proc --dev /dev --tmpfs /tmp --clearenv"
)

func none(_ *attack.Outside, a *attack.Attack, r request) (attack.Box, error) {
	if len(a.Given) > 0 {
		return nil, cannot(untried) // there is no set-up
	}
	if slices.ContainsFunc(r.mounts, func(m mount) bool { return m.kind != "bind" }) {
		return nil, cannot(untried) // nor a mount to undo
	}
	if os.Geteuid() == 0 {
		return attack.Bare{Prefix: []string{"unshare", "--mount"}}, nil
	}
	return attack.Bare{}, nil
}

// cloche is the default profile with the attack's doors to files, which the others
// get too, and its limits.
func cloche(o *attack.Outside, a *attack.Attack, _ request) (attack.Box, error) {
	p, _ := policy.Builtin("default")
	return attack.SandboxOf(p, o, slices.Concat(a.Given, a.Limits, doors(a)))
}

// bubblewrap is a program with bubblewrap's command line.
func bubblewrap(program, name string, filtered bool, flags string) *contender {
	c := &contender{Sandbox: Sandbox{name, words(program, "--version"), "`bwrap " + flags + "`"}}
	if filtered {
		c.Flags += ", with a filter that refuses what Flatpak's does"
	}
	if os.Geteuid() == 0 {
		flags += " --cap-drop ALL" // it keeps root's, where its callers are ordinary users
		c.Flags += "; as root `--cap-drop ALL`"
	}
	c.box = func(_ *attack.Outside, _ *attack.Attack, r request) (attack.Box, error) {
		exe, err := os.Executable()
		if err != nil {
			return nil, err
		}
		argv := append([]string{program}, strings.Fields(flags)...)
		if r.root != "" {
			argv = []string{program, "--unshare-all", "--die-with-parent", "--bind", r.root, "/", "--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev"}
		}
		if len(r.limits) > 0 {
			return nil, cannot(noLimit)
		}
		for _, m := range r.mounts {
			switch m.kind {
			case "bind", "overlay": // this version has no overlay
				how := "--ro-bind"
				if m.write || m.kind == "overlay" {
					how = "--bind"
				}
				argv = append(argv, how, m.from, m.to)
			case "hide":
				argv = append(argv, "--ro-bind", "/dev/null", m.to)
			case "tmpfs":
				if m.size != "" {
					argv = append(argv, "--size", bytesOf(m.size))
				}
				argv = append(argv, "--tmpfs", m.to)
			}
		}
		argv = append(argv, "--ro-bind", exe, exe)
		if filtered {
			return filteredBox{argv}, nil
		}
		return attack.Bare{Prefix: append(argv, "--")}, nil
	}
	return c
}

func bytesOf(size string) string {
	n, err := policy.ParseSize(size)
	if err != nil {
		return "0"
	}
	return strconv.FormatInt(int64(n), 10)
}

// filteredBox is bubblewrap with a filter, in a descriptor behind the attack's own.
type filteredBox struct{ argv []string }

// Run runs the attacker.
func (b filteredBox) Run(ctx context.Context, argv []string, files []*os.File, stdout io.Writer) (attack.Ended, error) {
	arch, ok := seccomp.ArchByName("amd64")
	if !ok {
		return attack.Ended{}, cannot(untried)
	}
	p, _, _, err := profile.Read("flatpak.toml", []byte(flatpakFilter), profile.Host{Arch: arch})
	if err != nil {
		return attack.Ended{}, err
	}
	prog, err := seccomp.Compile(p, arch)
	if err != nil {
		return attack.Ended{}, err
	}
	var raw bytes.Buffer
	if err := binary.Write(&raw, binary.LittleEndian, prog); err != nil {
		return attack.Ended{}, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return attack.Ended{}, err
	}
	defer r.Close()
	if _, err := w.Write(raw.Bytes()); err != nil {
		return attack.Ended{}, err
	}
	w.Close()
	prefix := append(slices.Clone(b.argv), "--seccomp", strconv.Itoa(3+len(files)), "--")
	return attack.Bare{Prefix: prefix}.Run(ctx, argv, append(slices.Clone(files), r), stdout)
}

// flatpakFilter refuses what Flatpak refuses an application without --devel.
const flatpakFilter = `
default = "allow"
unknown = "allow"
[[group]]
name = "@flatpak"
why = "what flatpak-run denies"
rule = [
	{ action = "EPERM", calls = ["syslog", "uselib", "acct", "quotactl", "add_key", "keyctl", "request_key", "move_pages", "mbind",
		"get_mempolicy", "set_mempolicy", "migrate_pages", "unshare", "setns", "mount", "umount2", "pivot_root", "chroot",
		"clone(& CLONE_NEWUSER == CLONE_NEWUSER)", "ioctl(_, TIOCSTI)", "ioctl(_, TIOCLINUX)", "perf_event_open", "personality(!= 0)", "ptrace"] },
	{ action = "ENOSYS", calls = ["clone3", "open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr"] },
	{ action = "allow", calls = ["socket(AF_UNSPEC)", "socket(AF_UNIX)", "socket(AF_INET)", "socket(AF_INET6)", "socket(AF_NETLINK)"] },
	{ action = "EAFNOSUPPORT", calls = ["socket"] },
]
`

// firejail is as it is without flags: its default profile is a list of what is hidden.
func firejail(_ *attack.Outside, _ *attack.Attack, r request) (attack.Box, error) {
	argv := []string{"firejail", "--quiet"}
	if r.root != "" {
		return nil, cannot(untried) // a root of one's own takes root
	}
	for name, value := range r.limits {
		switch {
		case name == "rlimit" && strings.HasPrefix(value, "nofile="), name == "rlimit" && strings.HasPrefix(value, "nproc="), name == "rlimit" && strings.HasPrefix(value, "fsize="):
			argv = append(argv, "--rlimit-"+value)
		case name == "wall-time":
			argv = append(argv, "--timeout=00:00:01") // in whole seconds
		case name == "cpu-time":
			argv = append(argv, "--rlimit-cpu=1")
		default:
			return nil, cannot(noLimit)
		}
	}
	for _, m := range r.mounts {
		switch {
		case m.kind == "hide":
			argv = append(argv, "--blacklist="+m.to)
		case m.kind == "bind" && m.from == m.to && !m.write:
			argv = append(argv, "--read-only="+m.to)
		case m.kind == "bind" && m.from == m.to:
		case m.size != "":
			return nil, cannot(noLimit)
		default:
			return nil, cannot(untried)
		}
	}
	if _, err := exec.LookPath("firejail"); err != nil {
		return nil, err
	}
	return attack.Bare{Prefix: append(argv, "--")}, nil
}
