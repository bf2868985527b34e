package plan

import (
	"path"
	"strings"

	"github.com/cloche-sandbox/cloche/policy"
)

// overlayTree makes an overlayfs whose layers are mounts in the scratch, so that
// each was checked before overlayfs resolves it, and no path of the host's
// is given to the kernel as text (whose ':' and ',' it would read as syntax).
// In a user namespace overlayfs keeps its marks in user.* attributes (Linux 5.11).
func (b *builder) overlayTree(n *mountNode, v Var) {
	layer := b.tmp("layer")
	var lower []string
	for _, l := range overlayLower(&n.Mount) {
		name := b.scratchName()
		b.layer(n, l, name, layer, true)
		lower = append(lower, name)
	}
	upper, work := "", ""
	if n.Upper == "" {
		upper, work = b.droppedUpper()
	} else {
		// Both must lie in one mount: that of the directory which holds them.
		w := overlayWork(&n.Mount)
		top := commonDir(n.Upper, w)
		name := b.scratchName()
		b.layer(n, top, name, layer, false)
		upper, work = path.Join(name, n.Upper[len(top):]), path.Join(name, w[len(top):])
	}

	b.overlayFS(lower, upper, work, b.ownUsers(), v)
}

// droppedUpper makes an upper layer and its work directory, which end with the scratch.
func (b *builder) droppedUpper() (upper, work string) {
	name := b.scratchName()
	upper, work = name+"/upper", name+"/work"
	for _, dir := range [...]string{name, upper, work} {
		b.op(SysMkdirat, Slot(b.scratch), b.str(dir), octal(0o755))
	}
	return upper, work
}

// overlayFS makes an overlayfs of directories of the scratch; with no upper one it
// is read-only.
func (b *builder) overlayFS(lower []string, upper, work string, userxattr bool, tree Var) {
	fs := b.tmp("fs")
	b.op(SysFchdir, Slot(b.scratch))
	b.op(SysFsopen, b.str("overlay"), Flags(cFsCloexec)).to(fs)
	set := func(key, value string) {
		b.op(SysFsconfig, Slot(fs), Flags(cfgString), b.str(key), b.str(value), Num(0))
	}
	set("lowerdir", strings.Join(lower, ":"))
	if upper != "" {
		set("upperdir", upper)
		set("workdir", work)
	}
	if userxattr {
		b.op(SysFsconfig, Slot(fs), Flags(cfgFlag), b.str("userxattr"), null, Num(0))
	}
	b.op(SysFsconfig, Slot(fs), Flags(cfgCreate), null, null, Num(0))
	b.op(SysFsmount, Slot(fs), Flags(cFsmCloexec), Flags(cAttrNosuid, cAttrNodev)).to(tree)
	b.op(SysClose, Slot(fs))
}

// layer mounts the host directory dir on a directory of the scratch.
func (b *builder) layer(n *mountNode, dir, name string, v Var, readOnly bool) {
	b.op(SysMkdirat, Slot(b.scratch), b.str(name), octal(0o755))
	l := mountNode{Mount: policy.Mount{Kind: policy.Write, Path: dir, Origin: n.Origin}, real: dir, dir: true}
	if readOnly {
		l.Kind = policy.Read
	}
	l.fact = b.in.Facts.Paths[dir]
	l.real = l.fact.Real
	if l.real == "/" {
		l.early = n.early
	}
	b.bindTree(&l, v)
	b.op(SysMoveMount, Slot(v), b.str(""), Slot(b.scratch), b.str(name), Flags(cMoveEmpty))
	b.op(SysClose, Slot(v))
}

// commonDir is the deepest directory that both paths lie in.
func commonDir(a, c string) string {
	dir := path.Dir(a)
	for dir != "/" && !within(c, dir) {
		dir = path.Dir(dir)
	}
	return dir
}
