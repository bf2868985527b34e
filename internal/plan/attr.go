package plan

import (
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// What a mount lets happen: writing, setuid, devices, execution.

// place tells how a mount whose flags are changed can be reached.
type place uint8

const (
	detachedDir  place = iota // a tree that is mounted nowhere yet, with a directory on top
	detachedFile              // the same with a file
	attached                  // mounted where it belongs
)

// restrict makes a cloned tree read-only, where that was asked for, and without
// devices and setuid.
func (b *builder) restrict(n *mountNode, v Var) {
	attrs := []Const{cAttrNosuid}
	if n.Kind == policy.Read {
		attrs = append(attrs, cAttrRdonly)
	}
	if n.real != "/dev" && !within(n.real, "/dev") {
		attrs = append(attrs, cAttrNodev)
	}
	where := detachedFile
	if n.dir {
		where = detachedDir
	}
	b.setTreeAttr(v, where, attrs...)
}

// showAttr is a struct mount_attr.
func showAttr(d *Data) string {
	var s []byte
	for _, c := range [...]Const{cAttrRdonly, cAttrNosuid, cAttrNodev, cAttrNoexec} {
		if d.word(0)&constants[c].value == 0 {
			continue
		}
		if s != nil {
			s = append(s, '|')
		}
		s = append(s, constants[c].name...)
	}
	return "{attr_set=" + string(s) + "}"
}

// setAttr changes the flags of one mount of our own, mount_setattr(2), Linux 5.12.
func (b *builder) setAttr(v Var, where place, set ...Const) {
	b.mountSetattr(v, where, false, set)
}

// setTreeAttr changes those of a whole tree: in one call, so there is no moment
// at which a part of it is writable.
func (b *builder) setTreeAttr(v Var, where place, set ...Const) {
	b.mountSetattr(v, where, true, set)
}

func (b *builder) mountSetattr(v Var, where place, recursive bool, set []Const) {
	if !b.remounts.late {
		b.oneCall(v, recursive, set)
		return
	}
	done := b.label()
	if !b.remounts.always { // whether there is the call shows where this runs
		old := b.label()
		b.oneCall(v, recursive, set).on(int(unix.ENOSYS), old).then(done)
		b.mark(old)
	}
	if where != attached {
		b.stage(v, where)
	}
	if recursive {
		b.remountTree(where, set, done)
	} else {
		b.remountOwn(v, set)
	}
	b.mark(done)
}

func (b *builder) oneCall(v Var, recursive bool, set []Const) opRef {
	f := Flags(set...)
	flags := Flags(cEmptyPath)
	if recursive {
		flags = Flags(cEmptyPath, cRecursive)
	}
	return b.op(SysMountSetattr, Slot(v), b.str(""), flags, Ref(b.words(showAttr, f.value, 0, 0, 0)), Num(32))
}
