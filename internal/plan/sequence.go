package plan

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/policy"
)

// A root can be made by a sequence of acts, too, each done to what those before it have
// left: what a caller says who knows the order and means it. A policy's mounts have none.
//
// The trees that are shown may hold any name, and what an act makes may lie in them: so
// every name is looked up below the new root (openat2 with RESOLVE_IN_ROOT), each
// directory is made in one that is open, and no link leads out. Where every name on
// the way was made by the sequence itself there is nothing to look up.

// ActKind is what an Act does at its Dest.
type ActKind uint8

// The kinds of Act.
const (
	ActBind    ActKind = iota // show the host's Source
	ActTmpfs                  // mount a fresh tmpfs(5)
	ActProc                   // mount proc(5): a fresh one for a pid namespace of the sandbox's own, else the host's
	ActDev                    // mount a fresh /dev that can be written
	ActMqueue                 // mount mqueue, mq_overview(7)
	ActOverlay                // mount overlayfs of Lower, and of Upper or of what is dropped at the end
	ActDir                    // make a directory, unless it is there
	ActFile                   // write a file, from FD
	ActData                   // show a file that holds what FD gives
	ActSymlink                // make a symbolic link to Source, unless it is there
	ActChmod                  // change the mode of what is there
	ActLock                   // make what is mounted there read-only, and it alone
)

// Act is one entry of a Sequence.
type Act struct {
	Kind   ActKind
	Source string // ActBind: host path. ActSymlink: the link's text
	Dest   string // inside: absolute; need not be clean
	FD     int    // ActFile, ActData: where the content is read from, to its end

	ReadOnly bool   // ActBind, ActData, ActOverlay
	Devices  bool   // ActBind: devices in it may be opened
	Optional bool   // ActBind: nothing is done where there is no Source
	Mode     uint32 // permission bits of what is made: ActTmpfs, ActDir, ActFile, ActData, ActChmod
	Tight    uint32 // permission bits that directories made on the way do not get
	Size     policy.Size
	Console  string // ActDev: host path of the terminal that /dev/console shows; may be empty

	Lower       []string // ActOverlay: host directories, the topmost first
	Upper, Work string   // ActOverlay: host directories; both or neither

	Origin string // how it was asked for
}

// SourceError is an Act whose source is not there.
type SourceError struct {
	Act    Act
	Source string
	Errno  string // by name
}

func (e *SourceError) Error() string {
	return (&Error{Setting: e.Source, Origin: e.Act.Origin, Why: "it can't be looked at: " + e.Errno, Fix: "create it, correct the path, or leave the entry out"}).Error()
}

// SequencePaths lists the host paths that a sequence shows: their facts are looked up first.
func SequencePaths(acts []Act) (paths []string) {
	for i := range acts {
		switch a := &acts[i]; a.Kind {
		case ActBind:
			paths = append(paths, a.Source)
		case ActProc:
			paths = append(paths, "/proc")
		case ActDev:
			if a.Console != "" {
				paths = append(paths, a.Console)
			}
		case ActOverlay:
			paths = append(paths, a.Lower...)
			if a.Upper != "" {
				paths = append(paths, a.Upper, a.Work)
			}
		}
	}
	return paths
}

// nameKind is what a sequence knows of a name below the root that it made.
type nameKind uint8

const (
	nameUnknown nameKind = iota
	nameDir              // a directory in a tree of the sandbox's own
	nameOther            // a tree that others fill, a link, a file
)

// sequence is the state of building a root by acts.
type sequence struct {
	nodes   []mountNode // of the acts that show a host path; by act
	extra   []mountNode // of further paths of theirs
	names   map[string]nameKind
	opaque  bool  // a name was made by a path with "..": nothing is known any more
	way     *Data // a path on the way to being made
	content *Data // of a file, a part at a time
}

// checkSequence finds what the acts show on the host.
func (b *builder) checkSequence() error {
	acts := b.in.Sequence
	b.seq.nodes = make([]mountNode, len(acts))
	for i := range acts {
		a := &acts[i]
		n := &b.seq.nodes[i]
		n.Origin = a.Origin
		source := a.Source
		switch a.Kind {
		case ActBind:
		case ActProc:
			if b.freshProc() {
				continue
			}
			source = "/proc"
		default:
			if err := b.checkLayers(a); err != nil {
				return err
			}
			continue
		}
		f := b.facts[source]
		if !f.Exists {
			if a.Optional && f.Err == "ENOENT" {
				n.skip = true
				continue
			}
			return &SourceError{*a, source, f.Err}
		}
		n.Path, n.fact, n.real, n.dir = source, f, f.Real, f.Mode&unix.S_IFMT == unix.S_IFDIR
	}
	return nil
}

func (b *builder) checkLayers(a *Act) error {
	for _, l := range append([]string{a.Upper, a.Work}, a.Lower...) {
		if f := b.facts[l]; l != "" && !f.Exists {
			return &SourceError{*a, l, f.Err}
		}
	}
	return nil
}

// freshProc reports whether the sandbox's processes are in a pid namespace that a
// fresh proc can show.
func (b *builder) freshProc() bool {
	m := b.in.Manner
	return b.policy.Unshare.PID || m != nil && m.PIDNamespace >= 0
}

// buildSequence makes the root by acts. Everything made here lives in the scratch, as in
// buildRoot.
func (b *builder) buildSequence() {
	b.begin(Step{Process: Init, Name: "keep mounts to itself", Kind: KindPropagation})
	b.op(SysMount, null, b.str("/"), null, named("MS_REC|MS_SLAVE", unix.MS_REC|unix.MS_SLAVE), null)
	b.op(SysUmask, Num(0)).to(b.umask)
	b.keepProc()
	for i := range b.in.Sequence {
		n := &b.seq.nodes[i]
		if n.real != "/" && n.real != "/proc" && !within(n.real, "/proc") {
			b.earlyLayers(&b.in.Sequence[i])
			continue
		}
		// A later clone would hold the scratch, or not find what it covers.
		b.begin(b.actStep(&b.in.Sequence[i], KindBind, "clone "+n.real))
		v := b.newVar("tree" + strconv.Itoa(i))
		b.cloneTree(n, v)
		n.early = v
	}
	if b.argv() != nil {
		b.cloneHost()
	}
	b.prepareRemounts()

	b.begin(Step{Process: Init, Name: "scratch", Kind: KindTmpfs})
	b.newTmpfs(b.scratch, "0755", 0)
	b.op(SysMoveMount, Slot(b.scratch), b.str(""), atFDCWD, b.str("/proc"), Flags(cMoveEmpty))
	b.begin(Step{Process: Init, Name: "root", Kind: KindRoot})
	b.scratchTree("root", 0o755, b.root)
	b.op(SysMoveMount, Slot(b.root), b.str(""), Slot(b.scratch), b.str("root"), Flags(cMoveEmpty))
	b.seq.names = map[string]nameKind{"/": nameDir}
	for i := range b.in.Sequence {
		if n := &b.seq.nodes[i]; !n.skip {
			b.act(&b.in.Sequence[i], n)
		}
	}
	if b.argv() != nil {
		b.actsSaid()
	}
	b.remountTrees()
}

func (b *builder) earlyLayers(a *Act) {
	for _, l := range append([]string{a.Upper}, a.Lower...) {
		if f := b.facts[l]; a.Kind == ActOverlay && l != "" && f.Real == "/" {
			b.begin(b.actStep(a, KindOverlay, "clone /"))
			n := mountNode{Mount: policy.Mount{Path: l, Origin: a.Origin}, fact: f, real: "/", dir: true, early: b.newVar("layer /" + strconv.Itoa(len(b.seq.extra)))}
			b.cloneTree(&n, n.early)
			b.seq.extra = append(b.seq.extra, n)
		}
	}
}

func (b *builder) actStep(a *Act, kind Kind, name string) Step {
	return Step{Process: Init, Name: name, Kind: kind, Path: a.Dest, Origin: a.Origin}
}

// act does one thing.
func (b *builder) act(a *Act, n *mountNode) {
	tree := b.tmp("tree")
	switch a.Kind {
	case ActBind:
		b.begin(b.actStep(a, KindBind, "bind "+n.real+" on "+a.Dest))
		if n.early != Void {
			b.set(tree, Slot(n.early))
		} else {
			b.cloneTree(n, tree)
		}
		attrs := []Const{cAttrNosuid}
		if !a.Devices {
			attrs = append(attrs, cAttrNodev)
		}
		b.limitTree(tree, n.dir, a.ReadOnly, attrs)
		b.mountAct(a, n.dir, tree, nameOther)
	case ActTmpfs:
		b.begin(b.actStep(a, KindTmpfs, "tmpfs "+a.Dest))
		if a.Size > 0 {
			b.newTmpfs(tree, strconv.FormatUint(uint64(a.Mode), 8), a.Size)
		} else {
			b.scratchTree(b.scratchName(), uint64(a.Mode), tree)
		}
		b.mountAct(a, true, tree, nameDir)
	case ActProc:
		b.actProc(a, n)
	case ActDev:
		b.actDev(a)
	case ActMqueue:
		b.begin(b.actStep(a, KindMqueue, "message queues "+a.Dest))
		fs := b.tmp("fs")
		b.op(SysFsopen, b.str("mqueue"), Flags(cFsCloexec)).to(fs)
		b.op(SysFsconfig, Slot(fs), Flags(cfgCreate), null, null, Num(0))
		b.op(SysFsmount, Slot(fs), Flags(cFsmCloexec), Flags(cAttrNosuid, cAttrNodev, cAttrNoexec)).to(tree)
		b.op(SysClose, Slot(fs))
		b.mountAct(a, true, tree, nameOther)
	case ActOverlay:
		b.begin(b.actStep(a, KindOverlay, "overlay "+a.Dest))
		b.actOverlay(a, tree)
		b.mountAct(a, true, tree, nameOther)
	case ActDir:
		b.begin(b.actStep(a, KindPlace, "directory "+a.Dest))
		b.makePlace(a, true, uint64(a.Mode), nil)
	case ActFile:
		b.actFile(a)
	case ActData:
		b.actData(a, tree)
	case ActSymlink:
		b.actSymlink(a)
	case ActChmod:
		b.begin(b.actStep(a, KindMode, "mode of "+a.Dest))
		at := b.openInRoot(cleanDest(a.Dest), howToChange)
		b.op(SysFchmod, Slot(at), octal(uint64(a.Mode)))
		b.op(SysClose, Slot(at))
	case ActLock:
		b.begin(b.actStep(a, KindReadOnly, "read-only "+a.Dest))
		at := b.openInRoot(cleanDest(a.Dest), howInRoot)
		b.setAttr(at, attached, cAttrRdonly, cAttrNosuid, cAttrNodev)
		b.op(SysClose, Slot(at))
	}
}

// howToChange is the open_how of a file whose mode is going to be changed.
var howToChange = words("{flags=O_RDONLY|O_NONBLOCK|O_NOCTTY|O_CLOEXEC, resolve=RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS}",
	unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)

// limitTree takes from a cloned tree what it must not have, in one call: there is no
// moment at which a part of it could be written. What is mounted in it outside later
// comes along to a tree that can be written, and not to one that can't, where it would be
// writable.
func (b *builder) limitTree(v Var, dir, readOnly bool, attrs []Const) {
	where := detachedFile
	if dir {
		where = detachedDir
	}
	if readOnly {
		attrs = append(attrs, cAttrRdonly)
	}
	if b.remounts.late || !readOnly {
		b.setTreeAttr(v, where, attrs...)
		return
	}
	f := Flags(attrs...)
	attr := b.words(showPrivateAttr, f.value, 0, unix.MS_PRIVATE, 0)
	b.op(SysMountSetattr, Slot(v), b.str(""), Flags(cEmptyPath, cRecursive), Ref(attr), Num(32))
}

func showPrivateAttr(d *Data) string {
	return strings.TrimSuffix(showAttr(d), "}") + ", propagation=MS_PRIVATE}"
}

// nodeOf is a host path that an act shows beside its source.
func (b *builder) nodeOf(a *Act, p string, f host.PathFact) mountNode {
	for _, n := range b.seq.extra {
		if n.Path == p {
			return n
		}
	}
	return mountNode{Mount: policy.Mount{Path: p, Origin: a.Origin}, fact: f, real: f.Real, dir: f.Mode&unix.S_IFMT == unix.S_IFDIR}
}
