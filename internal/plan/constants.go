package plan

import "golang.org/x/sys/unix"

// The constants that operations are printed with. Static data: nothing runs at
// start-up for them.
var (
	atFDCWD     = Arg{value: ^uint64(99), names: []Const{{"AT_FDCWD", ^uint64(99)}}}
	null        = Arg{names: []Const{{"NULL", 0}}}
	fDetach     = Const{"MNT_DETACH", unix.MNT_DETACH}
	cCloexec    = Const{"O_CLOEXEC", unix.O_CLOEXEC}
	cPath       = Const{"O_PATH", unix.O_PATH}
	cRdonly     = Const{"O_RDONLY", unix.O_RDONLY}
	cWronly     = Const{"O_WRONLY", unix.O_WRONLY}
	cRdwr       = Const{"O_RDWR", unix.O_RDWR}
	cCreat      = Const{"O_CREAT", unix.O_CREAT}
	cExcl       = Const{"O_EXCL", unix.O_EXCL}
	cNoctty     = Const{"O_NOCTTY", unix.O_NOCTTY}
	cTreeClone  = Const{"OPEN_TREE_CLONE", unix.OPEN_TREE_CLONE}
	cTreeCloex  = Const{"OPEN_TREE_CLOEXEC", unix.OPEN_TREE_CLOEXEC}
	cRecursive  = Const{"AT_RECURSIVE", unix.AT_RECURSIVE}
	cEmptyPath  = Const{"AT_EMPTY_PATH", unix.AT_EMPTY_PATH}
	cMoveEmpty  = Const{"MOVE_MOUNT_F_EMPTY_PATH", unix.MOVE_MOUNT_F_EMPTY_PATH}
	cMoveTEmpty = Const{"MOVE_MOUNT_T_EMPTY_PATH", unix.MOVE_MOUNT_T_EMPTY_PATH}
	cMsRec      = Const{"MS_REC", unix.MS_REC}
	cMsPrivate  = Const{"MS_PRIVATE", unix.MS_PRIVATE}
	cAttrRdonly = Const{"MOUNT_ATTR_RDONLY", unix.MOUNT_ATTR_RDONLY}
	cAttrNosuid = Const{"MOUNT_ATTR_NOSUID", unix.MOUNT_ATTR_NOSUID}
	cAttrNodev  = Const{"MOUNT_ATTR_NODEV", unix.MOUNT_ATTR_NODEV}
	cAttrNoexec = Const{"MOUNT_ATTR_NOEXEC", unix.MOUNT_ATTR_NOEXEC}
	cFsCloexec  = Const{"FSOPEN_CLOEXEC", unix.FSOPEN_CLOEXEC}
	cFsmCloexec = Const{"FSMOUNT_CLOEXEC", unix.FSMOUNT_CLOEXEC}
	cfgString   = Const{"FSCONFIG_SET_STRING", unix.FSCONFIG_SET_STRING}
	cfgFlag     = Const{"FSCONFIG_SET_FLAG", unix.FSCONFIG_SET_FLAG}
	cfgCreate   = Const{"FSCONFIG_CMD_CREATE", unix.FSCONFIG_CMD_CREATE}
	cSigchld    = Const{"SIGCHLD", uint64(unix.SIGCHLD)}
)

// names of prctl(2) options and the like, used once each, are given where they are used.
func named(name string, v uint64) Arg { return Arg{value: v, names: []Const{{name, v}}} }
