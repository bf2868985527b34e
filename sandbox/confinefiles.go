package sandbox

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// Rights of landlock(7). allRights is cut to what the kernel knows.
const (
	noRights   = 0
	allRights  = ^uint64(0)
	listRights = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	readRights = listRights | unix.LANDLOCK_ACCESS_FS_EXECUTE
	// procRights are of a process's own directory: many of its files are written.
	procRights   = readRights | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	deviceRights = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
)

// place is a name in the host's tree, with what the policy says of it. Its path
// holds no symbolic link.
type place struct {
	path   string
	says   *policy.Mount // nil: nothing, it is on the way to another
	access uint64        // of says
	link   bool          // a link by which a guarded name is reached
	keep   bool          // the kernel forgets the rule unless a descriptor stays open
	inside map[string]*place
}

// allFilesWritable reports whether a policy protects no file at all.
func allFilesWritable(p *policy.Policy) bool {
	root := false
	for i := range p.Mounts {
		m := &p.Mounts[i]
		if m.Kind != policy.Write || m.Source != "" && m.Source != m.Path {
			return false
		}
		root = root || m.Path == "/"
	}
	return root
}

// places is the tree of what a policy says of the host's files.
func places(p *policy.Policy) (*place, error) {
	root := &place{path: "/"}
	for i := range p.Mounts {
		m := &p.Mounts[i]
		var err error
		switch m.Kind {
		case policy.Read:
			err = root.show(m, readRights)
		case policy.Write:
			err = root.show(m, allRights)
		case policy.Hide:
			err = root.hide(m)
		default:
			err = root.own(m)
		}
		if err != nil {
			return nil, err
		}
	}
	// Only now is it known what the policy says itself of names in them.
	for i := range p.Mounts {
		switch m := &p.Mounts[i]; m.Kind {
		case policy.Dev:
			root.dev(m)
		case policy.Proc:
			if err := root.proc(m); err != nil {
				return nil, err
			}
		}
	}
	return root, nil
}

// show is for a Read or Write entry.
func (root *place) show(m *policy.Mount, access uint64) error {
	real, links, err := follow(m.Path)
	if err != nil {
		return mountRefused(m, err.Error(), "correct the path")
	}
	if err := unix.Access(real, unix.F_OK); err != nil {
		if m.Optional && m.Kind == policy.Read {
			return root.say(m, real, access) // a name is protected before it exists
		}
		if m.Optional {
			return nil
		}
		return mountRefused(m, fmt.Sprintf("%s can't be looked at: %v", real, err), "create it, correct the path, or leave the entry out")
	}
	if m.Kind == policy.Read {
		if strings.HasPrefix(real, "/dev/") || real == "/dev" {
			access |= deviceRights // a read-only mount lets devices be written, too
		}
		root.guard(links)
	}
	return root.say(m, real, access)
}

// hide is for a Hide entry: what the name leads to is hidden, whether it exists
// yet or not.
func (root *place) hide(m *policy.Mount) error {
	real, links, err := follow(m.Path)
	if err != nil {
		return mountRefused(m, err.Error(), "correct the path")
	}
	root.guard(links)
	return root.say(m, real, noRights)
}

// own is for what a sandbox has of its own: the host's there is not shown. A link
// of the host's has nothing in it.
func (root *place) own(m *policy.Mount) error {
	dir, links, err := follow(path.Dir(m.Path))
	if err != nil {
		return mountRefused(m, err.Error(), "correct the path")
	}
	real := path.Join(dir, path.Base(m.Path))
	if fi, err := os.Lstat(real); err == nil && fi.Mode()&os.ModeSymlink != 0 {
		return nil
	}
	root.guard(links)
	return root.say(m, real, noRights)
}

// dev adds the devices that every program may expect, if they are what they are
// called.
func (root *place) dev(m *policy.Mount) {
	if m.Path != "/dev" {
		return
	}
	for _, d := range [...]struct {
		name         string
		major, minor uint32
	}{{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}} {
		var st unix.Stat_t
		if err := unix.Lstat("/dev/"+d.name, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(d.major, d.minor) {
			continue
		}
		root.sayUnlessSaid(m, "/dev/"+d.name, deviceRights)
	}
}

// readableProc is of /proc what programs look at beside processes. An allow-list:
// the rest tells of the machine and of others.
var readableProc = [...]string{
	"cgroups", "cpuinfo", "filesystems", "loadavg", "meminfo", "stat", "sys", "uptime", "version", "vmstat",
}

// proc adds the program's own directory. /proc itself is not granted: it shows
// the host's processes.
func (root *place) proc(m *policy.Mount) error {
	var fs unix.Statfs_t
	if err := unix.Statfs("/proc", &fs); m.Path != "/proc" || err != nil || fs.Type != unix.PROC_SUPER_MAGIC {
		return nil
	}
	self, err := os.Readlink("/proc/self")
	if err != nil {
		return mountRefused(m, err.Error(), "mount a proc of the program's own pid namespace at /proc")
	}
	root.sayUnlessSaid(m, "/proc/"+self, procRights)
	root.at("/proc/" + self).keep = true
	if m.Subset == "pid" {
		return nil
	}
	for _, name := range readableProc {
		root.sayUnlessSaid(m, "/proc/"+name, listRights)
		root.at("/proc/" + name).keep = true
	}
	return nil
}

// at is the place of a path without links; made if need be.
func (root *place) at(name string) *place {
	p := root
	for part := range strings.SplitSeq(strings.Trim(name, "/"), "/") {
		if part == "" {
			continue
		}
		next := p.inside[part]
		if next == nil {
			next = &place{path: path.Join(p.path, part)}
			if p.inside == nil {
				p.inside = map[string]*place{}
			}
			p.inside[part] = next
		}
		p = next
	}
	return p
}

func (root *place) say(m *policy.Mount, name string, access uint64) error {
	p := root.at(name)
	if p.says != nil && isShown(p.says) != isShown(m) {
		shown, hidden := p.says, m
		if isShown(m) {
			shown, hidden = m, p.says
		}
		if shown.Path == name || hidden.Path != name {
			return mountRefused(m, fmt.Sprintf("it is %s, of which %s %s says otherwise, and Landlock knows no two names of one file", name, p.says.Kind, p.says.Path), "leave one of the two out")
		}
		// What is shown by a link (/bin) is hidden with what it leads to (/usr/bin).
		p.says, p.access = hidden, noRights
		return nil
	}
	p.says = m
	p.access |= access // of two names of one file the better one counts, as in a sandbox
	return nil
}

func isShown(m *policy.Mount) bool { return m.Kind == policy.Read || m.Kind == policy.Write }

func (root *place) sayUnlessSaid(m *policy.Mount, name string, access uint64) {
	if p := root.at(name); p.says == nil {
		p.says, p.access = m, access
	}
}

// guard keeps links from being replaced where their directory is writable, as
// they lead to what is protected by a name.
func (root *place) guard(links []string) {
	for _, l := range links {
		root.at(l).link = true
	}
}

// follow is a path without links, and the links that were on the way. What does
// not exist or can't be looked at is taken as it is written.
func follow(name string) (real string, links []string, err error) {
	real = "/"
	rest := strings.Split(name, "/")
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			real = path.Dir(real)
			continue
		}
		next := path.Join(real, part)
		to, err := os.Readlink(next)
		if err != nil {
			real = next
			continue
		}
		if links = append(links, next); len(links) > 40 {
			return "", nil, fmt.Errorf("%s: too many symbolic links", name)
		}
		if path.IsAbs(to) {
			real = "/"
		}
		rest = append(strings.Split(to, "/"), rest...)
	}
	return real, links, nil
}

// beneath are the rights that all that the policy names below a place have.
func (p *place) beneath() uint64 {
	rights := allRights
	for _, in := range p.inside {
		if in.says != nil {
			rights &= in.access
		} else if in.link {
			rights &= readRights
		}
		rights &= in.beneath()
	}
	return rights
}

// names are those inside, sorted.
func (p *place) names() []string {
	names := make([]string, 0, len(p.inside))
	for n := range p.inside {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
