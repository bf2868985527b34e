package oci

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/internal/oci/cgroups"
	"github.com/cloche-sandbox/cloche/internal/plan"
)

// cgroupView is what a mount of the type cgroup needs to know.
type cgroupView struct{ dirs []cgroups.DirState }

// mounts decides about every entry of mounts.
func (k *compiler) mounts() error {
	var covered []string // destinations so far
	for i := range k.c.Mounts {
		m := &k.c.Mounts[i]
		at := fmt.Sprintf("mounts[%d]", i)
		dest := path.Clean("/" + m.Destination)
		if m.Destination == "" || dest == "/" {
			return refusal(at+".destination", "%q is not a path below the root", m.Destination)
		}
		o := parseMountOptions(m.Options)
		if o.remount {
			return refusal(at+".options", "remount: what a container mounts is new; give the options where it is mounted")
		}
		if m.Type == "cgroup" && !o.bind {
			if err := k.cgroupMount(at, dest, &o, &covered); err != nil {
				return err
			}
			continue
		}
		pm := plan.ContainerMount{Origin: at, Dest: dest, Propagation: o.propagation, CopyUp: o.copyUp}
		var err error
		if o.bind || m.Type == "bind" {
			err = k.bind(at, m, &o, &pm)
		} else {
			err = k.filesystem(at, m, &o, &pm)
		}
		if err != nil {
			return err
		}
		if err := k.idMapping(at, m, &o, &pm); err != nil {
			return err
		}
		if err := checkProcDest(at, m, &pm); err != nil {
			return err
		}
		k.findDest(&pm, covered)
		covered = append(covered, pm.Dest)
		k.in.Mounts = append(k.in.Mounts, pm)
	}
	cwd := plan.ContainerMount{Dest: path.Clean(k.c.Process.Cwd)}
	if cwd.Dest != "/" {
		k.findDest(&cwd, covered)
	}
	if k.in.Cwd = cwd.Dest; cwd.There {
		k.in.Cwd = "/" // there is nothing to be made
	}
	return nil
}

// findDest looks whether the destination is there: what other mounts cover is not
// known before. Where the last part that is missing is a symbolic link that leads to
// nothing, the mount comes to where it leads to.
func (k *compiler) findDest(m *plan.ContainerMount, covered []string) {
	for _, c := range covered {
		if m.Dest == c || within(m.Dest, c) {
			return
		}
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := host.Openat2(k.rootfs, m.Dest[1:], &how)
	if err == nil {
		unix.Close(fd)
		m.There = true
		return
	}
	if err == unix.ENOENT && !m.NoLinks {
		m.Dest = followDangling(k.rootfs, m.Dest)
	}
}

func within(p, dir string) bool {
	return strings.HasPrefix(p, dir) && len(p) > len(dir) && p[len(dir)] == '/'
}

// followDangling is where a path leads whose last existing part is a symbolic link
// to something that is not there, as seen from a root. The plan goes there without
// believing it: every part is opened anew.
func followDangling(root int, p string) string {
	left := strings.Split(p[1:], "/")
	at := "/"
	for n := 0; len(left) > 0; {
		name := left[0]
		left = left[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at)
			continue
		}
		here := path.Join(at, name)
		how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC | unix.O_NOFOLLOW, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
		fd, err := host.Openat2(root, here[1:], &how)
		if err != nil {
			at = here
			continue
		}
		buf := make([]byte, unix.PathMax)
		size, err := unix.Readlinkat(fd, "", buf)
		unix.Close(fd)
		if err != nil {
			at = here
			continue
		}
		if n++; n > 40 {
			return p
		}
		to := string(buf[:size])
		if path.IsAbs(to) {
			at = "/"
		}
		left = append(strings.Split(to, "/"), left...)
	}
	if at == "/" {
		return p
	}
	return at
}

// bind looks at a bind's source.
func (k *compiler) bind(at string, m *specs.Mount, o *mountOptions, pm *plan.ContainerMount) error {
	if m.Source == "" {
		return refusal(at+".source", "a bind needs one")
	}
	src := m.Source
	if !filepath.IsAbs(src) {
		src = filepath.Join(k.bundle, src)
	}
	src = filepath.Clean(src)
	k.facts.Stat(src)
	f := k.facts.Paths[src]
	if !f.Exists {
		if f.Err == "ENOENT" {
			return refusal(at+".source", "stat %s: no such file or directory", src)
		}
		return refusal(at+".source", "%s can't be looked at: %s", src, f.Err)
	}
	if len(o.super) > 0 {
		o.super = nil // of the file system that is shown, which is there already
	}
	for _, d := range o.data {
		return refusal(at+".options", "%q: no such option of a bind mount", d)
	}
	pm.Source, pm.Fact, pm.Recursive = f.Real, f, o.recursive
	pm.Dir = f.Mode&unix.S_IFMT == unix.S_IFDIR
	pm.Set, pm.Clear = o.attr.set, o.attr.clear
	pm.RecSet, pm.RecClear = o.rec.set, o.rec.clear
	if k.in.New.User || len(k.in.Join) > 0 && k.userNS() {
		// The container's root may not be able to reach it; this process is.
		pm.Outside = k.facts.CapEff&(1<<unix.CAP_SYS_ADMIN) != 0
		// In a user namespace what is mounted below can't be left out: it would show
		// what that covers.
		pm.Recursive = pm.Recursive || !pm.Outside
	}
	if o.copyUp {
		return refusal(at+".options", "tmpcopyup is for tmpfs")
	}
	return nil
}

// filesystem is a new one.
func (k *compiler) filesystem(at string, m *specs.Mount, o *mountOptions, pm *plan.ContainerMount) error {
	if m.Type == "" {
		return refusal(at+".type", "it is missing, and bind is not among the options")
	}
	if strings.ContainsAny(m.Type, "/") {
		return refusal(at+".type", "%q is no file system", m.Type)
	}
	if o.rec != (attrOption{}) {
		o.attr.add(o.rec) // nothing is mounted below it
	}
	pm.Type, pm.Source, pm.Dir = m.Type, m.Source, true
	pm.Set = o.attr.set
	pm.Options = append(append(pm.Options, o.super...), o.data...)
	switch m.Type {
	case "proc", "sysfs":
		pm.NoLinks = true
	case "mqueue":
		if k.c.namespace(specs.IPCNamespace) == nil && k.inUserNS {
			return refusal(at, "a mqueue can't be mounted without an IPC namespace of the container's own")
		}
	case "tmpfs":
		if pm.Set&unix.MOUNT_ATTR_RDONLY != 0 {
			pm.Set &^= unix.MOUNT_ATTR_RDONLY
			pm.LateReadOnly = true
		}
		if o.copyUp && !hasPrefixed(pm.Options, "mode=") {
			if mode, ok := k.modeAt(pm.Dest); ok {
				pm.Options = append(pm.Options, fmt.Sprintf("mode=%o", mode))
			}
		}
	}
	if o.copyUp && m.Type != "tmpfs" {
		return refusal(at+".options", "tmpcopyup is for tmpfs")
	}
	if l := k.c.Linux.MountLabel; l != "" && (m.Type == "tmpfs" || m.Type == "mqueue" || m.Type == "devpts") && !hasPrefixed(pm.Options, "context=") {
		pm.Options = append(pm.Options, "context="+l)
	}
	return nil
}

func hasPrefixed(list []string, prefix string) bool {
	for _, s := range list {
		if strings.HasPrefix(s, prefix) {
			return true
		}
	}
	return false
}

// modeAt is the mode of a directory in the root file system.
func (k *compiler) modeAt(p string) (uint32, bool) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := host.Openat2(k.rootfs, p[1:], &how)
	if err != nil {
		return 0, false
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return 0, false
	}
	return st.Mode & 0o7777, true
}

// procFiles are the only files of /proc that something else may stand for; any other
// mount in there could have this or another program read from and write to it.
var procFiles = map[string]bool{
	"/proc/cpuinfo": true, "/proc/diskstats": true, "/proc/meminfo": true, "/proc/stat": true, "/proc/swaps": true, "/proc/uptime": true,
	"/proc/loadavg": true, "/proc/slabinfo": true, "/proc/net/dev": true, "/proc/sys/kernel/ns_last_pid": true, "/proc/sys/crypto/fips_enabled": true,
}

func checkProcDest(at string, m *specs.Mount, pm *plan.ContainerMount) error {
	if pm.Dest == "/proc" {
		if pm.Type == "proc" {
			return nil
		}
		var st unix.Statfs_t
		if pm.Type == "" && unix.Statfs(pm.Source, &st) == nil && st.Type == unix.PROC_SUPER_MAGIC {
			return nil
		}
		return refusal(at, "%q cannot be mounted because it is not of type proc", pm.Dest)
	}
	if !within(pm.Dest, "/proc") || procFiles[pm.Dest] {
		return nil
	}
	var st unix.Statfs_t
	if pm.Type == "" && unix.Statfs(pm.Source, &st) == nil && st.Type == unix.PROC_SUPER_MAGIC {
		return nil
	}
	return refusal(at, "%q cannot be mounted because it is inside /proc", pm.Dest)
}

// cgroupMount is /sys/fs/cgroup: the hierarchies as the container may see them. On
// v1 there is one directory for each; what has several controllers has a link for each.
func (k *compiler) cgroupMount(at, dest string, o *mountOptions, covered *[]string) error {
	l, err := cgroup.Detect()
	if err != nil {
		return err
	}
	own := k.c.makes(specs.CgroupNamespace)
	add := func(pm plan.ContainerMount) {
		pm.Origin = at
		k.findDest(&pm, *covered)
		*covered = append(*covered, pm.Dest)
		k.in.Mounts = append(k.in.Mounts, pm)
	}
	if len(l.Hierarchies) == 1 && l.Hierarchies[0].Version == 2 {
		if own || k.c.namespace(specs.CgroupNamespace) == nil && !k.userNS() && !k.inUserNS {
			add(plan.ContainerMount{Dest: dest, Dir: true, Type: "cgroup2", Source: "cgroup", Set: o.attr.set, Propagation: o.propagation})
			return nil
		}
	} else {
		add(plan.ContainerMount{
			Dest: dest, Dir: true, Type: "tmpfs", Source: "cgroup", Options: []string{"mode=755"}, Propagation: o.propagation,
			Set: o.attr.set&^unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC, LateReadOnly: o.attr.set&unix.MOUNT_ATTR_RDONLY != 0,
		})
	}
	if len(l.Hierarchies) == 0 {
		return refusal(at, "no cgroup file system is mounted here")
	}
	var links [][2]string
	for i := range l.Hierarchies {
		h := &l.Hierarchies[i]
		name := path.Base(h.Mount)
		target := path.Join(dest, name)
		if len(l.Hierarchies) == 1 && h.Version == 2 {
			target = dest
		}
		pm := plan.ContainerMount{Dest: target, Dir: true, Set: o.attr.set}
		switch {
		case own && h.Version == 2:
			pm.Type, pm.Source = "cgroup2", "cgroup"
		case own:
			pm.Type, pm.Source, pm.Options = "cgroup", "cgroup", []string{"none"}
			if len(h.Controllers) > 0 && !strings.HasPrefix(h.Controllers[0], "name=") {
				pm.Options = nil
			}
			pm.Options = append(pm.Options, h.Controllers...)
		default:
			dir := k.cgroupDir(h)
			if dir == "" {
				continue
			}
			k.facts.Stat(dir)
			f := k.facts.Paths[dir]
			if !f.Exists {
				return refusal(at, "the container's cgroup %s can't be looked at: %s", dir, f.Err)
			}
			pm.Source, pm.Fact, pm.Recursive = f.Real, f, true
		}
		add(pm)
		if h.Version == 1 && len(h.Controllers) > 1 {
			for _, c := range h.Controllers {
				if c != name && !strings.HasPrefix(c, "name=") {
					links = append(links, [2]string{c, name})
				}
			}
		}
	}
	if len(links) > 0 {
		k.in.Mounts = append(k.in.Mounts, plan.ContainerMount{Origin: at, Dest: dest, Dir: true, Links: links})
	}
	return nil
}

// cgroupDir is the container's directory in a hierarchy.
func (k *compiler) cgroupDir(h *cgroup.Hierarchy) string {
	for _, d := range k.cgroups.dirs {
		if d.Path == h.Mount || within(d.Path, h.Mount) {
			return d.Path
		}
	}
	return ""
}

// idMapping gives a mount ids of its own. Without mappings of its own it is the
// container's.
func (k *compiler) idMapping(at string, m *specs.Mount, o *mountOptions, pm *plan.ContainerMount) error {
	own := len(m.UIDMappings)+len(m.GIDMappings) > 0
	if !own && !o.idmap {
		return nil
	}
	if k.facts.CapEff&(1<<unix.CAP_SYS_ADMIN) == 0 || k.inUserNS {
		return refusal(at, "an id-mapped mount can be made by the host's root alone")
	}
	uids, gids := m.UIDMappings, m.GIDMappings
	if !own {
		uids, gids = k.c.Linux.UIDMappings, k.c.Linux.GIDMappings
		if n := k.c.namespace(specs.UserNamespace); n != nil && n.Path != "" {
			fd, err := openNamespace(n.Path, unix.CLONE_NEWUSER)
			if err != nil {
				return refusal(at, "%v", err)
			}
			k.toClose = append(k.toClose, fd)
			pm.IDMap = k.give(fd)
			pm.IDMapRecursive = o.idmapRecursive
			pm.Outside = pm.Type == ""
			return nil
		}
	}
	if len(uids) == 0 || len(gids) == 0 {
		return refusal(at, "an id-mapped mount needs uidMappings and gidMappings, of its own or of the container")
	}
	for _, l := range [][]specs.LinuxIDMapping{uids, gids} {
		for _, e := range l {
			if e.Size == 0 || uint64(e.ContainerID)+uint64(e.Size) > 1<<32 || uint64(e.HostID)+uint64(e.Size) > 1<<32 {
				return refusal(at, "a range of %d ids from %d on host id %d is none", e.Size, e.ContainerID, e.HostID)
			}
		}
	}
	if pm.Type != "" && k.userNS() {
		return refusal(at, "an id-mapped file system that is new can't be had in a user namespace; map a bind")
	}
	fd, err := userNamespaceFD(uids, gids)
	if err != nil {
		return refusal(at, "%v", err)
	}
	k.toClose = append(k.toClose, fd)
	pm.IDMap, pm.IDMapRecursive = k.give(fd), o.idmapRecursive
	pm.Outside = pm.Type == ""
	return nil
}
