package inspect

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Namespace is one of the eight namespaces(7) of a process.
type Namespace struct {
	Type   string `json:"type"`             // as in policies: "user", "mount", …
	Inode  uint64 `json:"inode"`            // its number; 0: not known
	Init   Answer `json:"shared_with_init"` // with pid 1 of the caller's /proc
	Caller Answer `json:"shared_with_caller"`
	Owner  uint64 `json:"owner,omitempty"` // number of the user namespace whose capabilities rule it; 0: out of the caller's sight
	// Children is set where a child gets another one: a pid or time namespace that was
	// unshared and not entered.
	Children uint64 `json:"children,omitempty"`
}

// Own reports that neither init nor the caller is in it.
func (n *Namespace) Own() bool { return n.Init == No && n.Caller == No }

// nsTypes are the types as policies and as /proc/PID/ns name them.
var nsTypes = [...][2]string{
	{"user", "user"},
	{"mount", "mnt"},
	{"pid", "pid"},
	{"net", "net"},
	{"ipc", "ipc"},
	{"uts", "uts"},
	{"cgroup", "cgroup"},
	{"time", "time"},
}

// firstDynamic is where the numbers of namespaces that are made begin; below are the fixed
// ones of those that the machine started with (linux/proc_ns.h).
const (
	firstDynamic = 0xF0000000
	firstFixed   = 0xEFFFFFF0
)

func initial(inode uint64) bool { return inode >= firstFixed && inode < firstDynamic }

// nsNumber reads the number out of "net:[4026531833]".
func nsNumber(link string) uint64 {
	_, rest, _ := strings.Cut(link, ":[")
	n, _ := strconv.ParseUint(strings.TrimSuffix(rest, "]"), 10, 64)
	return n
}

func nsOf(file string) uint64 {
	s, err := os.Readlink(file)
	if err != nil {
		return 0
	}
	return nsNumber(s)
}

func (t *target) namespaces() []Namespace {
	all := make([]Namespace, 0, len(nsTypes))
	// Pid 1 of the machine is in the namespaces that it started with.
	machine := initial(nsOf("/proc/self/ns/pid"))
	for _, n := range nsTypes {
		ns := Namespace{Type: n[0], Init: Unknown, Caller: Unknown}
		link, err := t.readlink("ns/" + n[1])
		switch {
		case err == unix.ENOENT: // this kernel has no such type
			continue
		case err != nil:
			t.missed("its namespaces", err)
			all = append(all, ns)
			continue
		}
		ns.Inode = nsNumber(link)
		ns.Owner = t.owner(n[1])
		mine, inits := nsOf("/proc/self/ns/"+n[1]), nsOf("/proc/1/ns/"+n[1])
		if mine != 0 {
			ns.Caller = answer(ns.Inode == mine)
		}
		switch {
		case inits != 0:
			ns.Init = answer(ns.Inode == inits)
		case machine && initial(ns.Inode):
			ns.Init = Yes
		case machine && fixedNumbers(n[1], mine):
			ns.Init = No
		case machine && ns.Owner >= firstDynamic: // init's belong to the first user namespace
			ns.Init = No
		}
		if n[1] == "pid" || n[1] == "time" {
			if link, err := t.readlink("ns/" + n[1] + "_for_children"); err == nil && nsNumber(link) != ns.Inode {
				ns.Children = nsNumber(link)
			}
		}
		all = append(all, ns)
	}
	return all
}

// fixedNumbers reports whether this kernel gives the first namespace of a type a fixed
// number. Mount and network namespaces have one since Linux 6.18.
func fixedNumbers(kind string, mine uint64) bool {
	return kind != "mnt" && kind != "net" || initial(mine)
}

// owner asks for the user namespace that owns a namespace, ioctl_nsfs(2). One that is not
// the caller's own nor below it is not told.
func (t *target) owner(kind string) uint64 {
	fd, err := unix.Openat(t.dir, "ns/"+kind, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	request := uint(unix.NS_GET_USERNS)
	if kind == "user" {
		request = unix.NS_GET_PARENT
	}
	owner, err := unix.IoctlRetInt(fd, request)
	if err != nil {
		return 0
	}
	defer unix.Close(owner)
	var st unix.Stat_t
	if unix.Fstat(owner, &st) != nil {
		return 0
	}
	return st.Ino
}

// inode is the number of one of the process's namespaces; 0: not known.
func inode(all []Namespace, kind string) uint64 {
	for i := range all {
		if all[i].Type == kind {
			return all[i].Inode
		}
	}
	return 0
}
