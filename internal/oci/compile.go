package oci

import (
	"fmt"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/internal/plan"
)

// compiler makes a plan's input of a config.json: it looks at the host for
// what the plan has to know, and refuses by name what can't be had.
type compiler struct {
	c         *config
	o         *CreateOptions
	container *Container
	bundle    string
	facts     host.Facts
	rootfs    int // descriptor of the root file system, to look at destinations
	in        plan.Container
	inUserNS  bool // this process is in a user namespace already
	files     []uintptr
	toClose   []int
	cgroups   cgroupView
	listener  *listenerOf
}

// close closes what was opened for the image.
func (k *compiler) close() {
	for _, fd := range k.toClose {
		unix.Close(fd)
	}
	k.toClose = nil
}

// give hands the image a descriptor, and is its number there.
func (k *compiler) give(fd int) int {
	k.files = append(k.files, uintptr(fd))
	return len(k.files) - 1
}

// userNS reports whether the container's root is not the host's.
func (k *compiler) userNS() bool { return k.c.namespace(specs.UserNamespace) != nil }

// compile decides everything about a new container.
func (k *compiler) compile() error {
	c := k.c
	k.in.Facts = k.facts
	if err := k.root(); err != nil {
		return err
	}
	if err := k.namespaces(); err != nil {
		return err
	}
	if err := k.process(c.Process, &k.in.Process); err != nil {
		return err
	}
	k.in.Process.Console = c.Process.Terminal
	if err := k.labels(c.Process, &k.in); err != nil {
		return err
	}
	k.in.Hostname, k.in.Domainname = c.Hostname, c.Domainname
	if !k.o.NoNewKeyring {
		k.in.Keyring = "_ses." + k.container.ID
	}
	if a := c.Process.OOMScoreAdj; a != nil {
		if *a < -1000 || *a > 1000 {
			return refusal("process.oomScoreAdj", "%d is not between -1000 and 1000", *a)
		}
		k.in.OOMScoreAdj, k.in.OOMWherePermitted = a, k.container.Rootless
	}
	if err := k.sysctls(); err != nil {
		return err
	}
	if err := k.mounts(); err != nil {
		return err
	}
	if err := k.devices(); err != nil {
		return err
	}
	for _, p := range c.Linux.MaskedPaths {
		k.in.Masked = append(k.in.Masked, path.Clean(p))
	}
	for _, p := range c.Linux.ReadonlyPaths {
		k.in.ReadOnlyPaths = append(k.in.ReadOnlyPaths, path.Clean(p))
	}
	if h := c.Hooks; h != nil {
		//lint:ignore SA1019 engines still use it
		k.in.Hooks = len(h.Prestart)+len(h.CreateRuntime)+len(h.CreateContainer) > 0
	}
	return k.netDevices()
}

// root looks at the root file system.
func (k *compiler) root() error {
	r := k.c.Root
	p := r.Path
	if !filepath.IsAbs(p) {
		p = filepath.Join(k.bundle, p)
	}
	k.facts.Stat(p)
	f := k.facts.Paths[p]
	switch {
	case !f.Exists && f.Err == "ENOENT":
		return refusal("root.path", "stat %s: no such file or directory", p)
	case !f.Exists:
		return refusal("root.path", "%s can't be looked at: %s", p, f.Err)
	case f.Mode&unix.S_IFMT != unix.S_IFDIR:
		return refusal("root.path", "%s is not a directory", p)
	case f.Real == "/":
		return refusal("root.path", "it is the root of the host")
	}
	fd, err := unix.Open(f.Real, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return refusal("root.path", "open %s: %v", f.Real, err)
	}
	k.rootfs, k.toClose = fd, append(k.toClose, fd)
	k.container.Rootfs = f.Real
	k.in.Root = plan.ContainerRoot{Path: f.Real, Fact: f, ReadOnly: r.Readonly, NoPivot: k.o.NoPivot, Propagation: unix.MS_SLAVE}
	root := &k.in.Root
	switch mode := k.c.Linux.RootfsPropagation; mode {
	case "", "slave", "rslave":
	case "private", "rprivate":
		root.Propagation = unix.MS_PRIVATE
	case "shared", "rshared":
		root.Propagation, root.Final, root.FinalRecursive = 0, unix.MS_SHARED, mode[0] == 'r'
		if root.PrivateParent, err = mountPointOf(f.Real); err != nil {
			return refusal("linux.rootfsPropagation", "%v", err)
		}
	case "unbindable", "runbindable":
		root.Propagation, root.Final, root.FinalRecursive = unix.MS_PRIVATE, unix.MS_UNBINDABLE, mode[0] == 'r'
	default:
		return refusal("linux.rootfsPropagation", "%q is none of private, shared, slave, unbindable and these with an r before", mode)
	}
	return nil
}

// mountPointOf is the mount point that a path lies in.
func mountPointOf(p string) (string, error) {
	id := func(p string) (uint64, error) {
		var st unix.Statx_t
		err := unix.Statx(unix.AT_FDCWD, p, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_MNT_ID, &st)
		return st.Mnt_id, err
	}
	own, err := id(p)
	if err != nil {
		return "", err
	}
	for p != "/" {
		up := path.Dir(p)
		n, err := id(up)
		if err != nil {
			return "", err
		}
		if n != own {
			break
		}
		p = up
	}
	return p, nil
}

var cloneFlags = map[specs.LinuxNamespaceType]uint64{
	specs.PIDNamespace: unix.CLONE_NEWPID, specs.NetworkNamespace: unix.CLONE_NEWNET, specs.MountNamespace: unix.CLONE_NEWNS,
	specs.IPCNamespace: unix.CLONE_NEWIPC, specs.UTSNamespace: unix.CLONE_NEWUTS, specs.UserNamespace: unix.CLONE_NEWUSER,
	specs.CgroupNamespace: unix.CLONE_NEWCGROUP, specs.TimeNamespace: unix.CLONE_NEWTIME,
}

// namespaces opens those to be joined, and makes sure that they are what they are
// said to be.
func (k *compiler) namespaces() error {
	c := k.c
	for i := range c.Linux.Namespaces {
		n := &c.Linux.Namespaces[i]
		if n.Path == "" {
			continue
		}
		at := fmt.Sprintf("linux.namespaces[%d].path", i)
		fd, err := openNamespace(n.Path, cloneFlags[n.Type])
		if err != nil {
			return refusal(at, "%s namespace: %v", n.Type, err)
		}
		k.toClose = append(k.toClose, fd)
		if n.Type == specs.UserNamespace && sameFile(fd, "/proc/self/ns/user") {
			continue // the own one can't be joined, and need not be
		}
		k.in.Join = append(k.in.Join, plan.JoinNamespace{Name: string(n.Type), Type: cloneFlags[n.Type], FD: k.give(fd)})
	}
	k.in.New = plan.Namespaces{
		User: c.makes(specs.UserNamespace), PID: c.makes(specs.PIDNamespace), IPC: c.makes(specs.IPCNamespace), UTS: c.makes(specs.UTSNamespace),
		Net: c.makes(specs.NetworkNamespace), Cgroup: c.makes(specs.CgroupNamespace), Time: c.makes(specs.TimeNamespace),
	}
	k.in.Loopback = k.in.New.Net
	var offsets strings.Builder
	for _, clock := range []string{"monotonic", "boottime"} {
		if o, ok := c.Linux.TimeOffsets[clock]; ok {
			if o.Nanosecs >= 1e9 {
				return refusal("linux.timeOffsets."+clock, "%d nanoseconds are a second or more", o.Nanosecs)
			}
			fmt.Fprintf(&offsets, "%s %d %d\n", clock, o.Secs, o.Nanosecs)
		}
	}
	for clock := range c.Linux.TimeOffsets {
		if clock != "monotonic" && clock != "boottime" {
			return refusal("linux.timeOffsets", "%q is neither monotonic nor boottime", clock)
		}
	}
	k.in.TimeOffsets = offsets.String()
	return nil
}

func openNamespace(p string, want uint64) (int, error) {
	fd, err := unix.Open(p, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("lstat %s: %w", p, err)
	}
	got, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE)
	if err != nil || uint64(got) != want {
		unix.Close(fd)
		return -1, fmt.Errorf("%s is no namespace of this type", p)
	}
	return fd, nil
}

func sameFile(fd int, p string) bool {
	var a, b unix.Stat_t
	return unix.Fstat(fd, &a) == nil && unix.Stat(p, &b) == nil && a.Ino == b.Ino && a.Dev == b.Dev
}

// sysctls are those that belong to namespaces of the container; all others are the host's.
func (k *compiler) sysctls() error {
	for name, value := range k.c.Linux.Sysctl {
		key := strings.ReplaceAll(name, "/", ".")
		file := strings.ReplaceAll(name, ".", "/")
		if strings.Contains(name, "/") {
			// As sysctl(8) has it: where the first separator is a slash, a dot is part of a name.
			if i, j := strings.IndexByte(name, '/'), strings.IndexByte(name, '.'); j < 0 || i < j {
				file = name
			} else {
				file = strings.Map(func(r rune) rune {
					switch r {
					case '.':
						return '/'
					case '/':
						return '.'
					}
					return r
				}, name)
			}
		}
		var needs specs.LinuxNamespaceType
		switch {
		case ipcSysctls[key] || strings.HasPrefix(key, "fs.mqueue."):
			needs = specs.IPCNamespace
		case strings.HasPrefix(key, "net."):
			needs = specs.NetworkNamespace
		case key == "kernel.domainname":
			needs = specs.UTSNamespace
		case key == "kernel.hostname":
			return refusal("linux.sysctl", "%q is not allowed as it conflicts with the OCI \"hostname\" field", name)
		case strings.HasPrefix(key, "user."):
			needs = specs.UserNamespace
		default:
			return refusal("linux.sysctl", "sysctl %q is not in a separate kernel namespace", name)
		}
		n := k.c.namespace(needs)
		if n == nil || n.Path != "" && sameNamespace(n.Path, needs) {
			return refusal("linux.sysctl", "sysctl %q is not allowed in the hosts %s namespace", name, needs)
		}
		if path.Clean("/"+file) != "/"+file {
			return refusal("linux.sysctl", "%q is not the name of a file below /proc/sys", name)
		}
		k.in.Sysctls = append(k.in.Sysctls, plan.ProcFile{Path: "sys/" + file, Text: value, Origin: "linux.sysctl"})
	}
	sortSysctls(k.in.Sysctls)
	return nil
}

var ipcSysctls = map[string]bool{
	"kernel.msgmax": true, "kernel.msgmnb": true, "kernel.msgmni": true, "kernel.sem": true, "kernel.shmall": true,
	"kernel.shmmax": true, "kernel.shmmni": true, "kernel.shm_rmid_forced": true,
}

// sameNamespace reports whether a path leads to a namespace that this process is in.
func sameNamespace(p string, t specs.LinuxNamespaceType) bool {
	var a, b unix.Stat_t
	return unix.Stat(p, &a) == nil && unix.Stat("/proc/self/ns/"+namespaceFile(t), &b) == nil && a.Ino == b.Ino && a.Dev == b.Dev
}

// namespaceFile is the name of a kind below /proc/PID/ns.
func namespaceFile(t specs.LinuxNamespaceType) string {
	switch t {
	case specs.NetworkNamespace:
		return "net"
	case specs.MountNamespace:
		return "mnt"
	}
	return string(t)
}

// labels are those of security modules. Where there is no such module the label
// would hold nothing back, and is refused.
func (k *compiler) labels(p *specs.Process, in *plan.Container) error {
	if p.ApparmorProfile != "" && p.ApparmorProfile != "unconfined" || p.ApparmorProfile == "unconfined" && apparmor() {
		if !apparmor() {
			return refusal("process.apparmorProfile", "apparmor failed to apply profile %q: AppArmor is not enabled on this host; leave it out (docker: --security-opt apparmor=unconfined)", p.ApparmorProfile)
		}
		file := "self/attr/apparmor/exec"
		if _, err := readFile("/proc/" + file); err != nil {
			file = "self/attr/exec" // before Linux 5.8
		}
		in.ExecLabels = append(in.ExecLabels, plan.ProcFile{Path: file, Text: "exec " + p.ApparmorProfile, Origin: "process.apparmorProfile"})
	}
	if p.SelinuxLabel != "" {
		if !selinux() {
			return refusal("process.selinuxLabel", "selinux label is specified in config, but selinux is disabled or not supported")
		}
		in.ExecLabels = append(in.ExecLabels, plan.ProcFile{Path: "self/attr/exec", Text: p.SelinuxLabel, Origin: "process.selinuxLabel"})
	}
	if k.c.Linux.MountLabel != "" && !selinux() {
		return refusal("linux.mountLabel", "selinux label is specified in config, but selinux is disabled or not supported")
	}
	return nil
}

func apparmor() bool {
	s, err := readFile("/sys/module/apparmor/parameters/enabled")
	return err == nil && strings.HasPrefix(s, "Y")
}

func selinux() bool {
	var st unix.Statfs_t
	return unix.Statfs("/sys/fs/selinux", &st) == nil && st.Type == unix.SELINUX_MAGIC
}

func sortSysctls(s []plan.ProcFile) {
	for i := range s {
		for j := i; j > 0 && s[j].Path < s[j-1].Path; j-- {
			s[j], s[j-1] = s[j-1], s[j]
		}
	}
}

// openHostProc tells whether this process is in a user namespace below the host's.
func inUserNamespace() bool {
	s, err := readFile("/proc/self/uid_map")
	if err != nil {
		return false
	}
	f := strings.Fields(s)
	n := len(f) == 3 && f[0] == "0" && f[1] == "0" && f[2] == strconv.FormatUint(1<<32-1, 10)
	return !n
}
