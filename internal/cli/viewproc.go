package cli

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// proc is a file of a fresh proc(5). What does not belong to a process is what
// the host's /proc has, as it comes from the same kernel.
func (v *view) proc(pl *place, p string) (*node, error) {
	if p == pl.target {
		return &node{inode: inode{mode: unix.S_IFDIR | 0o555}, path: p, place: pl, noExec: true}, nil
	}
	rest := p[len(pl.target)+1:]
	first, tail, _ := strings.Cut(rest, "/")
	switch {
	case first == "self" || first == "thread-self":
		return v.ownProcess(pl, p, first, tail)
	case first == "1" && !v.p.Init:
		return v.ownProcess(pl, p, "self", tail)
	case first == "1" && v.p.Unshare.PID:
		return v.initProcess(pl, p, tail)
	case strings.Trim(first, "0123456789") == "":
		// Which numbers there are depends on what runs inside.
		return &node{inode: inode{mode: unix.S_IFLNK | 0o777}, path: p, place: pl}, nil
	case pl.Subset == "pid":
		return nil, unix.ENOENT
	}
	n, err := v.host.lstat("/proc/" + rest)
	if err != nil {
		return nil, err
	}
	f := &node{inode: n, path: p, place: pl, noExec: true}
	switch first {
	case "mounts":
		f.link = "self/mounts"
		return f, nil
	case "net":
		f.link = "self/net"
		return f, nil
	case "acpi", "scsi", "kcore", "keys", "latency_stats", "sched_debug", "timer_list":
		if tail != "" {
			return nil, unix.ENOENT
		}
		f = v.made(p, n.mode&unix.S_IFMT, pl, true)
		f.noExec = true
	case "bus", "fs", "irq", "sys", "sysrq-trigger":
		f.readOnly = true
	case "kmsg":
		if !v.who.syslog {
			f.refuse, f.why = mayRead|mayWrite, "the kernel's log needs CAP_SYSLOG over the whole machine"
		}
	case "mtrr":
		f.refuse, f.why = mayRead|mayWrite, "memory types need CAP_SYS_ADMIN over the whole machine"
	}
	if first == "sys" {
		// Sysctls ask for uid 0 or group 0 and for no capability.
		f.uid, f.gid, f.modeOnly = 0, 0, true
	}
	if f.is(unix.S_IFLNK) && f.link == "" {
		f.link, _ = v.host.readlink("/proc/" + rest)
	}
	return f, nil
}

// ownProcess is a file of the command's own directory. Cloche's own has the
// same files with the same modes, and the owner is whoever runs.
func (v *view) ownProcess(pl *place, p, dir, tail string) (*node, error) {
	n, err := v.host.lstat("/proc/" + dir)
	if err != nil {
		return nil, err
	}
	f := &node{inode: inode{mode: unix.S_IFDIR | 0o555, uid: v.who.uid, gid: v.who.gid}, path: p, place: pl, noExec: true}
	if tail == "" {
		return f, nil
	}
	// The kernel's own link is passed over: its text is a number.
	if n, err = v.host.lstat("/proc/" + dir + "/" + tail); err != nil {
		return nil, err
	}
	f.mode = n.mode
	if n.uid != v.maker.uid {
		f.uid, f.gid = n.uid, n.gid
	}
	v.setgroups(f, tail)
	if f.is(unix.S_IFLNK) {
		switch {
		case tail == "cwd":
			f.link = v.p.Cwd
		case tail == "root":
			f.link = "/"
		case strings.HasPrefix(tail, "ns/"):
			f.mode, f.uid, f.gid = unix.S_IFREG|0o444, 0, 0
		}
		// exe, fd/N, map_files/…: what they lead to is known when it runs.
	}
	return f, nil
}

// setgroups is a file that only a namespace's administrator opens for writing.
func (v *view) setgroups(f *node, name string) {
	if name == "setgroups" && !slices.Contains(v.p.Capabilities, "CAP_SYS_ADMIN") {
		f.refuse, f.why = mayWrite, "it needs CAP_SYS_ADMIN"
	}
}

// initProcess is a file of Cloche's own pid 1, which is undumpable: its files
// belong to root, and what needs ptrace access is refused.
func (v *view) initProcess(pl *place, p, tail string) (*node, error) {
	// gid= of proc(5) is 0: its members are not kept out by hidepid 1 and 2.
	if pl.Hidepid != "" && (pl.Hidepid == "ptraceable" || !v.who.in(0)) {
		if pl.Hidepid == "noaccess" && tail == "" {
			return &node{inode: inode{mode: unix.S_IFDIR}, path: p, place: pl}, nil
		}
		return nil, unix.ENOENT
	}
	f := &node{inode: inode{mode: unix.S_IFDIR | 0o555}, path: p, place: pl, noExec: true}
	if tail == "" {
		return f, nil
	}
	n, err := v.host.lstat("/proc/self/" + tail)
	if err != nil {
		return nil, err
	}
	f.mode = n.mode
	first, _, deeper := strings.Cut(tail, "/")
	switch first {
	case "environ", "mem", "maps", "numa_maps", "smaps", "smaps_rollup", "pagemap", "auxv", "cwd", "root", "exe", "fdinfo", "timers":
		if f.is(unix.S_IFLNK) || deeper {
			return nil, unix.EACCES
		}
		f.refuse, f.why = mayRead|mayWrite, "Cloche's pid 1 lets nothing inside look into it"
	case "fd", "ns", "map_files":
		if deeper {
			return nil, unix.EACCES
		}
	}
	v.setgroups(f, first)
	return f, nil
}

// describe names the kind of a file, for an answer.
func (n *node) describe() string {
	switch n.mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return "directory"
	case unix.S_IFSOCK:
		return "socket"
	case unix.S_IFIFO:
		return "pipe"
	case unix.S_IFCHR, unix.S_IFBLK:
		return "device"
	}
	if n.place != nil && n.place.kind == policy.Hide {
		return "hidden file"
	}
	return "file"
}
