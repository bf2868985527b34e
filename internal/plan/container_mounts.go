package plan

import (
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
)

// ContainerMount is an entry of mounts, or one that such an entry stands for.
type ContainerMount struct {
	Origin string // "mounts[3]"
	Dest   string // absolute and clean, in the container
	Dir    bool   // what it is mounted on is a directory
	// There says that something was at Dest when the plan was made, and that no
	// other mount covers it. Else what is missing on the way is made.
	There bool
	// NoLinks has a destination refused that a symbolic link leads to: proc and
	// sysfs elsewhere than at their own names would let the masks miss them.
	NoLinks bool

	Type   string // of the file system; "": a bind of Source
	Source string // bind: on the host, without symbolic links; else what mount(2) calls the source
	Fact   host.PathFact
	// Recursive: what is mounted below the source comes along.
	Recursive bool
	Options   []string // of the file system, "name" or "name=value"

	Set, Clear       uint64 // MOUNT_ATTR_*
	RecSet, RecClear uint64 // the same for all that is mounted below as well
	Propagation      []MountPropagation

	// Outside has the launcher clone the tree with the caller's own rights.
	Outside bool
	// IDMap is the descriptor of a user namespace whose map the mount gets; 0: none.
	IDMap          int
	IDMapRecursive bool

	// CopyUp has the supervisor fill it with what it covers.
	CopyUp bool
	// LateReadOnly makes it read-only when everything in it is made.
	LateReadOnly bool
	// Links are made in it, and nothing is mounted: a link's name, and where to.
	Links [][2]string
}

// MountPropagation is a change, mount_namespaces(7).
type MountPropagation struct {
	Type      uint64 // MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE
	Recursive bool
}

// ContainerDevice is a device node.
type ContainerDevice struct {
	Origin       string
	Path         string
	Kind         uint32 // S_IFCHR, S_IFBLK, S_IFIFO
	Major, Minor uint32
	Mode         uint32
	UID, GID     uint32
	// Bind shows the host's node, for users who may make none.
	Bind bool
}

// cloneOutside clones trees as the caller, before there is a user namespace in
// which their paths may be closed, or where an id map is not the container's to
// give. A detached tree may be mounted from inside.
func (b *containerBuilder) cloneOutside() {
	for i := range b.c.Mounts {
		m := &b.c.Mounts[i]
		if !m.Outside {
			continue
		}
		b.mountStep(m, "clone "+m.Source+" for ")
		tree := b.tmp("tree")
		b.cloneSource(m, tree)
		if m.IDMap > 0 {
			b.idMap(m, tree)
		}
		b.op(SysDup3, Slot(tree), Num(uint64(b.c.EarlyFD+i)), Flags(cCloexec))
		b.op(SysClose, Slot(tree))
	}
}

func (b *containerBuilder) mountStep(m *ContainerMount, what string) {
	name := what + m.Dest
	if m.Type == "" && !m.Outside {
		name += " from " + m.Source
	}
	b.begin(Step{Process: Init, Name: name, Kind: KindContainerMount, Path: m.Dest, Origin: m.Origin})
}

// cloneSource clones the tree of a bind's source: what the plan saw, and nothing
// that came to its place since.
func (b *containerBuilder) cloneSource(m *ContainerMount, tree Var) {
	src := b.tmp("source")
	b.op(SysOpenat2, atFDCWD, b.str(m.Source), Ref(howNoLinks), Num(24)).to(src)
	b.sameFile(src, &mountNode{fact: m.Fact, real: m.Source})
	flags := []Const{cTreeClone, cTreeCloex, cEmptyPath}
	if m.Recursive {
		flags = append(flags, cRecursive)
	}
	b.op(SysOpenTree, Slot(src), b.str(""), Flags(flags...)).to(tree)
	b.op(SysClose, Slot(src))
}

// mountAttr is mount_setattr(2) of a tree by its descriptor.
func (b *containerBuilder) mountAttr(fd Arg, recursive bool, set, clr, propagation uint64, userns int) {
	flags := Flags(cEmptyPath)
	if recursive {
		flags = Flags(cEmptyPath, cRecursive)
	}
	attr := b.words(showContainerAttr, set, clr, propagation, uint64(userns))
	b.op(SysMountSetattr, fd, b.str(""), flags, Ref(attr), Num(32))
}

func showContainerAttr(d *Data) string {
	s := strings.TrimSuffix(showAttr(d), "}")
	for _, w := range []struct {
		name string
		n    uint64
	}{{"attr_clr", d.word(1)}, {"propagation", d.word(2)}, {"userns_fd", d.word(3)}} {
		if w.n != 0 {
			s += ", " + w.name + "=0x" + strconv.FormatUint(w.n, 16)
		}
	}
	return s + "}"
}

func (b *containerBuilder) idMap(m *ContainerMount, tree Var) {
	b.mountAttr(Slot(tree), m.IDMapRecursive, unix.MOUNT_ATTR_IDMAP, 0, 0, m.IDMap)
}

// buildContainerRoot mounts everything at and below the root.
func (b *containerBuilder) buildContainerRoot() {
	r := &b.c.Root
	b.begin(Step{Process: Init, Name: "propagation of the mounts", Kind: KindPropagation, Origin: "linux.rootfsPropagation"})
	switch {
	case r.Propagation != 0:
		b.op(SysMount, null, b.str("/"), null, propagationArg(r.Propagation|unix.MS_REC), null)
	case r.PrivateParent != "":
		b.op(SysMount, null, b.str(r.PrivateParent), null, propagationArg(unix.MS_PRIVATE), null)
	}
	b.op(SysUmask, Num(0)).to(b.umask)

	b.begin(Step{Process: Init, Name: "root " + r.Path, Kind: KindContainerRoot, Path: r.Path, Origin: "root.path"})
	m := ContainerMount{Source: r.Path, Fact: r.Fact, Recursive: true}
	b.cloneSource(&m, b.root)
	b.op(SysMoveMount, Slot(b.root), b.str(""), atFDCWD, b.str(r.Path), Flags(cMoveEmpty))

	for i := range b.c.Mounts {
		b.containerMount(&b.c.Mounts[i], i)
	}
	if b.c.SetupDev {
		b.devLinks()
	}
	for i := range b.c.Devices {
		b.device(&b.c.Devices[i])
	}
	b.makeCwd()
	b.console()
	if b.c.Hooks {
		b.holdNamespaces()
		b.begin(Step{Process: Init, Name: "hooks", Origin: "hooks"})
		b.sendNamespaces()
		b.ask(RecordHooks)
	} else {
		b.holdNamespaces()
	}
}

func propagationArg(flags uint64) Arg {
	name := ""
	for _, f := range [...]struct {
		name string
		n    uint64
	}{{"MS_REC", unix.MS_REC}, {"MS_PRIVATE", unix.MS_PRIVATE}, {"MS_SLAVE", unix.MS_SLAVE}, {"MS_SHARED", unix.MS_SHARED}, {"MS_UNBINDABLE", unix.MS_UNBINDABLE}} {
		if flags&f.n != 0 {
			if name != "" {
				name += "|"
			}
			name += f.name
		}
	}
	return named(name, flags)
}

// containerMount does one entry.
func (b *containerBuilder) containerMount(m *ContainerMount, i int) {
	b.mountStep(m, "mount ")
	tree := b.tmp("tree")
	if len(m.Links) > 0 {
		at := b.openDest(m)
		for _, l := range m.Links {
			b.op(SysSymlinkat, b.str(l[1]), Slot(at), b.str(l[0])).on(int(unix.EEXIST), Following)
		}
		b.op(SysClose, Slot(at))
		return
	}
	switch {
	case m.Outside:
		b.set(tree, Num(uint64(b.c.EarlyFD+i)))
		b.restrictContainer(m, tree)
	case m.Type == "":
		b.cloneSource(m, tree)
		b.restrictContainer(m, tree)
	default:
		b.newFilesystem(m, tree)
	}
	at := b.openDest(m)
	if m.CopyUp {
		b.sendDescriptor(at, SentCopyUp, "target")
		b.sendDescriptor(tree, SentCopyUp, "tree")
		b.ask(RecordCopyUp)
	}
	b.op(SysMoveMount, Slot(tree), b.str(""), Slot(at), b.str(""), Flags(cMoveEmpty, cMoveTEmpty))
	for _, p := range m.Propagation {
		b.mountAttr(Slot(tree), p.Recursive, 0, 0, p.Type, 0)
	}
	b.op(SysClose, Slot(at))
	b.op(SysClose, Slot(tree))
}

// restrictContainer gives a cloned tree its flags while nobody can reach it. What
// is not named keeps the flags of the source.
func (b *containerBuilder) restrictContainer(m *ContainerMount, tree Var) {
	set, clr := m.Set, m.Clear
	if set|clr != 0 {
		b.mountAttr(Slot(tree), false, set, clr, 0, 0)
	}
	if m.RecSet|m.RecClear != 0 {
		b.mountAttr(Slot(tree), true, m.RecSet, m.RecClear, 0, 0)
	}
}

// newFilesystem makes a file system that is mounted nowhere yet.
func (b *containerBuilder) newFilesystem(m *ContainerMount, tree Var) {
	fs := b.tmp("fs")
	b.op(SysFsopen, b.str(m.Type), Flags(cFsCloexec)).to(fs)
	if m.Source != "" {
		b.op(SysFsconfig, Slot(fs), Flags(cfgString), b.str("source"), b.str(m.Source), Num(0)).on(int(unix.EINVAL), Following)
	}
	for _, o := range m.Options {
		name, value, has := strings.Cut(o, "=")
		if has {
			b.op(SysFsconfig, Slot(fs), Flags(cfgString), b.str(name), b.str(value), Num(0))
		} else {
			b.op(SysFsconfig, Slot(fs), Flags(cfgFlag), b.str(name), null, Num(0))
		}
	}
	b.op(SysFsconfig, Slot(fs), Flags(cfgCreate), null, null, Num(0))
	b.op(SysFsmount, Slot(fs), Flags(cFsmCloexec), attrArg(m.Set)).to(tree)
	b.op(SysClose, Slot(fs))
	if m.IDMap > 0 {
		b.idMap(m, tree)
	}
}

func attrArg(set uint64) Arg {
	text := strings.TrimSuffix(strings.TrimPrefix(showAttr(&Data{Bytes: wordBytes([]uint64{set})}), "{attr_set="), "}")
	if text == "" {
		text = "0"
	}
	return named(text, set)
}

// openDest opens the place of a mount, and makes it where it may be missing: one
// directory after the other, each in the one above, opened without leaving the root.
func (b *containerBuilder) openDest(m *ContainerMount) Var {
	how := howInRoot
	if m.NoLinks {
		how = howInRootNoLinks
	}
	if m.There {
		return b.openInRoot(m.Dest, how)
	}
	return b.makeInRoot(m.Dest, m.Dir, how)
}

// makeInRoot opens a path, which it makes where it is missing.
func (b *containerBuilder) makeInRoot(p string, dir bool, how *Data) Var {
	if p == "/" {
		return b.openInRoot(p, how)
	}
	at, above := b.tmp("target"), b.tmp("above")
	done := b.label()
	b.op(SysOpenat2, Slot(b.root), b.str(p[1:]), Ref(how), Num(24)).to(at).on(int(unix.ENOENT), Following).then(done).orElse(Following)
	for end := 1; end <= len(p); end++ {
		if end < len(p) && p[end] != '/' {
			continue
		}
		part := p[:end]
		last := end == len(p)
		// It is there more often than not, and then nothing needs to be made.
		next := b.label()
		if !last {
			b.op(SysOpenat2, Slot(b.root), b.str(part[1:]), Ref(how), Num(24)).to(at).on(int(unix.ENOENT), Following).then(next).orElse(Following)
		}
		b.set(above, Slot(b.openInRoot(path.Dir(part), how)))
		if last && !dir {
			b.op(SysMknodat, Slot(above), b.str(path.Base(part)), named("S_IFREG|0755", unix.S_IFREG|0o755), Num(0)).on(int(unix.EEXIST), Following)
		} else {
			b.op(SysMkdirat, Slot(above), b.str(path.Base(part)), octal(0o755)).on(int(unix.EEXIST), Following)
		}
		b.op(SysClose, Slot(above))
		b.openInRoot(part, how)
		b.mark(next)
		if !last {
			b.op(SysClose, Slot(at))
		}
	}
	b.mark(done)
	return at
}

// makeCwd makes the working directory where it is missing, as engines expect.
func (b *containerBuilder) makeCwd() {
	if b.c.Cwd == "/" {
		return
	}
	b.begin(Step{Process: Init, Name: "make the working directory", Kind: KindContainerMount, Path: b.c.Cwd, Origin: "process.cwd"})
	b.op(SysClose, Slot(b.makeInRoot(b.c.Cwd, true, howInRoot)))
}
