package plan

import (
	"strings"

	"golang.org/x/sys/unix"
)

// Kernels before 5.12 have no mount_setattr(2). There the flags of a mount are
// changed by mount(2) with MS_REMOUNT|MS_BIND, one mount at a time, and only when
// it is mounted somewhere: a tree is first put in a place of its own in the scratch
// (stage), changed there, and then moved to where it belongs. What is not
// restricted yet is never where the command will find it, and the command
// does not run yet.
//
// Nothing here is part of a plan for a kernel that has the call. An executable
// of `cloche build` holds both ways, and takes this one on ENOSYS.

// remounting is what these operations share.
type remounting struct {
	always bool // this kernel has no mount_setattr
	late   bool // it is not needed, or not known, before there is a scratch

	fds    Var   // /proc/self/fd: paths to descriptors, also when /proc is covered
	table  Var   // /proc/self/mountinfo
	number *Data // a descriptor's name in fds

	// Of the search, which is a routine with several callers.
	routine           Label
	callers           []remountCaller
	caller            Var // index of the caller's operation: who is to blame
	set, keep, staged Var
}

// remountCaller is a place that has a tree restricted.
type remountCaller struct{ call, back Label }

// The places in the scratch, by names of one length that no procfs has, and
// how mountinfo shows them.
const (
	stageDir    = "stage.d"
	stageFile   = "stage.f"
	scratchPath = "/proc/"
)

// checkKernel refuses a kernel that lacks what has no substitute. It decides how
// the flags of mounts are set, too.
func (b *builder) checkKernel() error {
	f := &b.in.Facts
	b.remounts.always = !b.builds() && !f.MountAPI.MountSetattr
	b.remounts.late = b.builds() || b.remounts.always
	if b.builds() {
		return nil // it may run elsewhere; there ENOSYS says the same
	}
	var lacks []string
	need := func(name string, there bool) {
		if !there {
			lacks = append(lacks, name)
		}
	}
	if b.policy.Unshare.Mount {
		need("open_tree", f.MountAPI.OpenTree)
		need("move_mount", f.MountAPI.MoveMount)
		need("fsopen", f.MountAPI.Fsopen)
		need("fsmount", f.MountAPI.Fsmount)
		need("openat2", f.Openat2)
	}
	need("close_range", f.CloseRange)
	if lacks == nil {
		return nil
	}
	return &Error{
		Setting: "kernel",
		Why:     "it has no system call " + strings.Join(lacks, " nor ") + ", or a filter hides it, and nothing can stand in for it",
		Fix:     "use Linux 5.9 or later; in a container allow the call; `cloche doctor` tells what is there",
	}
}

// prepareRemounts opens what is needed while /proc is still the host's.
func (b *builder) prepareRemounts() {
	r := &b.remounts
	if !r.late {
		return
	}
	r.fds, r.table = b.newVar("descriptors"), b.newVar("mountinfo")
	r.number = buffer("number", 24)
	b.begin(Step{Process: Init, Name: "prepare for a kernel without mount_setattr", Kind: KindPropagation})
	there := b.label()
	if !r.always {
		b.set(r.fds, Int(-1))
		b.set(r.table, Int(-1))
		missing := b.label()
		b.op(SysMountSetattr, Int(-1), null, Int(-1), null, Num(0)).on(int(unix.ENOSYS), missing).orElse(there).then(there)
		b.mark(missing)
	}
	b.op(SysOpenat, atFDCWD, b.str("/proc/self/fd"), Flags(cPath, cCloexec), Num(0)).to(r.fds)
	b.op(SysOpenat, atFDCWD, b.str("/proc/self/mountinfo"), Flags(cRdonly, cCloexec), Num(0)).to(r.table)
	if !r.always {
		b.mark(there)
	}
}

// endRemounts closes it.
func (b *builder) endRemounts() {
	if r := &b.remounts; r.late {
		b.op(SysClose, Slot(r.fds)).ignoring()
		b.op(SysClose, Slot(r.table)).ignoring()
	}
}

// stage mounts a detached tree in a place of its own.
func (b *builder) stage(v Var, where place) {
	name := stageDir
	if where == detachedDir {
		b.op(SysMkdirat, Slot(b.scratch), b.str(name), octal(0o700)).on(int(unix.EEXIST), Next)
	} else {
		name = stageFile
		b.op(SysMknodat, Slot(b.scratch), b.str(name), named("S_IFREG", unix.S_IFREG), Num(0)).on(int(unix.EEXIST), Next)
	}
	b.op(SysMoveMount, Slot(v), b.str(""), Slot(b.scratch), b.str(name), Flags(cMoveEmpty))
}

// msFlag is what mount(2) calls an attribute.
func msFlag(attr Const) Const {
	switch attr {
	case cAttrRdonly:
		return cMsRdonly
	case cAttrNosuid:
		return cMsNosuid
	case cAttrNodev:
		return cMsNodev
	default:
		return cMsNoexec
	}
}

// remountOwn changes the flags of one mount that this set-up made: its own flags
// are nosuid and nodev, as everything that lies in the scratch has them, and
// they stay. (Without a word about atime a remount leaves that as it is.)
func (b *builder) remountOwn(v Var, set []Const) {
	flags := []Const{cMsRemount, cMsBind, cMsNosuid, cMsNodev}
	for _, c := range set {
		if c != cAttrNosuid && c != cAttrNodev {
			flags = append(flags, msFlag(c))
		}
	}
	r := &b.remounts
	b.op(SysFchdir, Slot(r.fds))
	b.op(Format, Ref(r.number), Slot(v))
	b.op(SysMount, null, Ref(r.number), null, Flags(flags...), null)
}

// remountTree calls the search for all mounts of the tree that was staged.
// It goes on at back.
func (b *builder) remountTree(where place, set []Const, back Label) {
	r := &b.remounts
	if r.routine == 0 {
		r.routine = b.label()
		r.caller, r.staged = b.newVar("caller"), b.newVar("stage")
		r.set, r.keep = b.newVar("set"), b.newVar("keep")
	}
	var flags []Const
	for _, c := range set {
		flags = append(flags, msFlag(c))
	}
	name := stageDir
	if where == detachedFile {
		name = stageFile
	}
	c := remountCaller{b.here(), back}
	r.callers = append(r.callers, c)
	b.set(r.caller, Target(c.call))
	b.set(r.staged, b.str(scratchPath+name))
	b.set(r.set, Flags(flags...))
	b.set(r.keep, Num(^Flags(flags...).value))
	b.jump(r.routine)
}

// remountReason explains the errors of the search.
func remountReason(e unix.Errno) (cause, remedy string) {
	const newer = "show less of it, or use Linux 5.12 or later, where one call is enough"
	switch e {
	case unix.EPERM, unix.EACCES:
		return "a mount in it can't be restricted: its flags are locked, or mounting is denied here", newer + "; " + doctor
	case unix.EBUSY:
		return "a mount in it could not be found again to be restricted, which this kernel (without mount_setattr) makes necessary: its directories are being renamed", "run again when they rest, or " + newer
	case unix.E2BIG:
		return "this host has more mounts than can be looked through, which this kernel (without mount_setattr) makes necessary", newer
	}
	return "", ""
}
