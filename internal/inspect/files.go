package inspect

import (
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// File is an open descriptor that leads out of what confines the process, or may.
type File struct {
	FD     int    `json:"fd"`
	Kind   string `json:"kind"`   // "file", "directory", "device", "pipe", "socket", "namespace", "process", "memory", "object"
	Target string `json:"target"` // what proc_pid_fd(5) calls it
	Access string `json:"access"` // "read", "write", "read and write", "path" (O_PATH)
	Out    Answer `json:"out"`    // Yes or Unknown
	Why    string `json:"why"`
}

// look is what the files of a process are judged by.
type look struct {
	t          *target
	root       string
	mounts     map[string]bool // ids of those that the process can reach; nil: not known
	namespaces []Namespace
	sockets    map[string]bool // inodes of sockets in its network namespace
}

// files looks at each descriptor; n is how many there are, -1 when that is not known.
func (t *target) files(mounts []*mountinfo.Info, namespaces []Namespace, root string) (out []File, n int) {
	out = []File{}
	fds, err := t.numbers("fd")
	if err != nil {
		t.missed("its open descriptors", err)
		return out, -1
	}
	l := look{t: t, root: root, namespaces: namespaces}
	if mounts != nil {
		l.mounts = make(map[string]bool, len(mounts))
		for _, m := range mounts {
			l.mounts[strconv.Itoa(m.ID)] = true
		}
	}
	for _, fd := range fds {
		if f, ok := l.file(fd); ok && f.Out != No {
			out = append(out, f)
		}
	}
	return out, len(fds)
}

// file judges a descriptor; ok is false when it was closed meanwhile.
func (l *look) file(fd int) (f File, ok bool) {
	number := strconv.Itoa(fd)
	link, err := l.t.readlink("fd/" + number)
	if err != nil {
		if err != unix.ENOENT {
			l.t.missed("its open descriptors", err)
		}
		return f, false
	}
	info, err := l.t.read("fdinfo/" + number)
	if err != nil && err != unix.ENOENT {
		l.t.missed("how its descriptors are open", err)
	}
	f = File{FD: fd, Target: link, Access: access(infoField(info, "flags"))}
	kind, _, _ := strings.Cut(link, ":")
	switch {
	case strings.HasPrefix(link, "/memfd:"):
		f.Kind, f.Out, f.Why = "memory", Unknown, "memory that another process may have open as well"
	case strings.HasPrefix(link, "/"):
		l.path(&f, infoField(info, "mnt_id"))
	case kind == "pipe":
		f.Kind, f.Out, f.Why = "pipe", Unknown, "its other end may be outside"
	case kind == "socket":
		f.Kind = "socket"
		l.socket(&f)
	case kind == "anon_inode" && strings.Contains(link, "[pidfd]"):
		l.process(&f, infoField(info, "Pid"))
	case kind == "anon_inode":
		f.Kind = "object"
		f.Out, f.Why = object(strings.Trim(strings.TrimPrefix(link, "anon_inode:"), "[]"))
	default:
		l.namespace(&f, kind)
	}
	return f, true
}

// path judges a file that has a name. A mount that is not in the list of the process is
// one of another namespace, lies outside of its root, or is in no namespace at all.
func (l *look) path(f *File, mount string) {
	f.Kind = "file"
	var st unix.Stat_t
	if unix.Fstatat(l.t.dir, "fd/"+strconv.Itoa(f.FD), &st, 0) == nil {
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			f.Kind = "directory"
		case unix.S_IFCHR, unix.S_IFBLK:
			f.Kind = "device"
		}
	}
	f.Out = No
	switch {
	case l.mounts == nil || mount == "":
		f.Out, f.Why = Unknown, "its mount is not known"
	case !l.mounts[mount]:
		f.Out, f.Why = Yes, "it lies in a mount that the process does not have"
	case l.root != "" && l.root != "/" && f.Target != l.root && !strings.HasPrefix(f.Target, l.root+"/"):
		f.Out, f.Why = Yes, "it lies outside of the root directory "+l.root
	}
	if f.Out == Yes && f.Kind == "directory" {
		f.Why += "; all that is below it can be reached by openat(2)"
	}
}

func (l *look) namespace(f *File, kind string) {
	f.Kind, f.Out, f.Why = "object", Unknown, "a kind of file that this program does not know"
	for _, n := range nsTypes {
		if n[1] != kind {
			continue
		}
		f.Kind, f.Out, f.Why = "namespace", Yes, "another namespace, which setns(2) may enter"
		if nsNumber(f.Target) == inode(l.namespaces, n[0]) {
			f.Out = No
		}
	}
}

// process judges a pidfd.
func (l *look) process(f *File, pid string) {
	f.Kind, f.Out, f.Why = "process", Unknown, "a process that has ended, or that the caller can't see"
	if n, err := strconv.Atoi(pid); err != nil || n <= 0 {
		return
	}
	f.Why = l.whoIs(pid, "it stands for")
	f.Out = l.outside(pid)
}

// outside reports whether a process is in another pid namespace.
func (l *look) outside(pid string) Answer {
	its, own := nsOf("/proc/"+pid+"/ns/pid"), inode(l.namespaces, "pid")
	if its == 0 || own == 0 {
		return Unknown
	}
	return answer(its != own)
}

// whoIs is such as "its peer is pid 812 (dbus-daemon)".
func (l *look) whoIs(pid, what string) string {
	s := what + " pid " + pid
	if t, err := filepath.EvalSymlinks("/proc/" + pid + "/exe"); err == nil {
		s += " (" + filepath.Base(t) + ")"
	}
	return s
}

// object judges what has no name but that of its kind.
func object(kind string) (Answer, string) {
	switch kind {
	case "eventpoll", "timerfd", "signalfd", "inotify":
		return No, ""
	case "eventfd":
		return Unknown, "another process may have it open as well"
	case "io_uring":
		return Unknown, "what it is asked to do passes no seccomp filter"
	case "perf_event":
		return Unknown, "it may count or sample other processes, perf_event_open(2)"
	case "userfaultfd":
		return Unknown, "it may be that of another process, userfaultfd(2)"
	case "seccomp notify":
		return Unknown, "it decides the system calls of another process, seccomp_unotify(2)"
	case "fscontext", "mount":
		return Unknown, "a mount or file system that is in no namespace, fsopen(2)"
	}
	switch {
	case strings.HasPrefix(kind, "bpf"):
		return Unknown, "a program or map in the kernel, bpf(2)"
	case strings.HasPrefix(kind, "kvm"):
		return Unknown, "a virtual machine"
	}
	return Unknown, "a kind of kernel object that this program does not know"
}

// access tells from the flags of fdinfo, octal.
func access(flags string) string {
	n, err := strconv.ParseUint(flags, 8, 64)
	switch {
	case err != nil:
		return "unknown"
	case n&unix.O_PATH != 0:
		return "path"
	}
	switch n & unix.O_ACCMODE {
	case unix.O_RDONLY:
		return "read"
	case unix.O_WRONLY:
		return "write"
	}
	return "read and write"
}

// infoField is a field of proc_pid_fdinfo(5).
func infoField(info, key string) string {
	for line := range strings.Lines(info) {
		if name, value, ok := strings.Cut(line, ":"); ok && name == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
