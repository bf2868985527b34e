package plan

import "golang.org/x/sys/unix"

// Const is a named constant that is combined with others, so that a plan reads
// as strace would print it. It is an index into constants: an argument holds a
// dozen of them without anything to allocate.
type Const uint8

// The constants that operations combine.
const (
	fDetach Const = iota + 1
	cCloexec
	cNonblock
	cPath
	cRdonly
	cWronly
	cRdwr
	cCreat
	cExcl
	cNoctty
	cTreeClone
	cTreeCloex
	cRecursive
	cEmptyPath
	cMoveEmpty
	cMoveTEmpty
	cMsRec
	cMsPrivate
	cMsSlave
	cMsRemount
	cMsBind
	cMsRdonly
	cMsNosuid
	cMsNodev
	cMsNoexec
	cAttrRdonly
	cAttrNosuid
	cAttrNodev
	cAttrNoexec
	cFsCloexec
	cFsmCloexec
	cfgString
	cfgFlag
	cfgCreate
	cSigchld
	cCloneParent
	cCloneIntoCgroup
	cNewUser
	cNewNS
	cNewPID
	cNewIPC
	cNewUTS
	cNewNet
	cNewCgroup
	cNewTime
	cCloneVM
	cCloneVfork
	cCloneFiles
	cClonePidfd
	cWnohang
	cWuntraced
	cSockDgram
	cSockCloexec
)

// constants is static data: nothing runs at start-up for it.
var constants = [...]struct {
	name  string
	value uint64
}{
	fDetach:          {"MNT_DETACH", unix.MNT_DETACH},
	cCloexec:         {"O_CLOEXEC", unix.O_CLOEXEC},
	cNonblock:        {"O_NONBLOCK", unix.O_NONBLOCK},
	cPath:            {"O_PATH", unix.O_PATH},
	cRdonly:          {"O_RDONLY", unix.O_RDONLY},
	cWronly:          {"O_WRONLY", unix.O_WRONLY},
	cRdwr:            {"O_RDWR", unix.O_RDWR},
	cCreat:           {"O_CREAT", unix.O_CREAT},
	cExcl:            {"O_EXCL", unix.O_EXCL},
	cNoctty:          {"O_NOCTTY", unix.O_NOCTTY},
	cTreeClone:       {"OPEN_TREE_CLONE", unix.OPEN_TREE_CLONE},
	cTreeCloex:       {"OPEN_TREE_CLOEXEC", unix.OPEN_TREE_CLOEXEC},
	cRecursive:       {"AT_RECURSIVE", unix.AT_RECURSIVE},
	cEmptyPath:       {"AT_EMPTY_PATH", unix.AT_EMPTY_PATH},
	cMoveEmpty:       {"MOVE_MOUNT_F_EMPTY_PATH", unix.MOVE_MOUNT_F_EMPTY_PATH},
	cMoveTEmpty:      {"MOVE_MOUNT_T_EMPTY_PATH", unix.MOVE_MOUNT_T_EMPTY_PATH},
	cMsRec:           {"MS_REC", unix.MS_REC},
	cMsPrivate:       {"MS_PRIVATE", unix.MS_PRIVATE},
	cMsSlave:         {"MS_SLAVE", unix.MS_SLAVE},
	cMsRemount:       {"MS_REMOUNT", unix.MS_REMOUNT},
	cMsBind:          {"MS_BIND", unix.MS_BIND},
	cMsRdonly:        {"MS_RDONLY", unix.MS_RDONLY},
	cMsNosuid:        {"MS_NOSUID", unix.MS_NOSUID},
	cMsNodev:         {"MS_NODEV", unix.MS_NODEV},
	cMsNoexec:        {"MS_NOEXEC", unix.MS_NOEXEC},
	cAttrRdonly:      {"MOUNT_ATTR_RDONLY", unix.MOUNT_ATTR_RDONLY},
	cAttrNosuid:      {"MOUNT_ATTR_NOSUID", unix.MOUNT_ATTR_NOSUID},
	cAttrNodev:       {"MOUNT_ATTR_NODEV", unix.MOUNT_ATTR_NODEV},
	cAttrNoexec:      {"MOUNT_ATTR_NOEXEC", unix.MOUNT_ATTR_NOEXEC},
	cFsCloexec:       {"FSOPEN_CLOEXEC", unix.FSOPEN_CLOEXEC},
	cFsmCloexec:      {"FSMOUNT_CLOEXEC", unix.FSMOUNT_CLOEXEC},
	cfgString:        {"FSCONFIG_SET_STRING", unix.FSCONFIG_SET_STRING},
	cfgFlag:          {"FSCONFIG_SET_FLAG", unix.FSCONFIG_SET_FLAG},
	cfgCreate:        {"FSCONFIG_CMD_CREATE", unix.FSCONFIG_CMD_CREATE},
	cSigchld:         {"SIGCHLD", uint64(unix.SIGCHLD)},
	cCloneParent:     {"CLONE_PARENT", unix.CLONE_PARENT},
	cCloneIntoCgroup: {"CLONE_INTO_CGROUP", unix.CLONE_INTO_CGROUP},
	cNewUser:         {"CLONE_NEWUSER", unix.CLONE_NEWUSER},
	cNewNS:           {"CLONE_NEWNS", unix.CLONE_NEWNS},
	cNewPID:          {"CLONE_NEWPID", unix.CLONE_NEWPID},
	cNewIPC:          {"CLONE_NEWIPC", unix.CLONE_NEWIPC},
	cNewUTS:          {"CLONE_NEWUTS", unix.CLONE_NEWUTS},
	cNewNet:          {"CLONE_NEWNET", unix.CLONE_NEWNET},
	cNewCgroup:       {"CLONE_NEWCGROUP", unix.CLONE_NEWCGROUP},
	cNewTime:         {"CLONE_NEWTIME", unix.CLONE_NEWTIME},
	cCloneVM:         {"CLONE_VM", unix.CLONE_VM},
	cCloneVfork:      {"CLONE_VFORK", unix.CLONE_VFORK},
	cCloneFiles:      {"CLONE_FILES", unix.CLONE_FILES},
	cClonePidfd:      {"CLONE_PIDFD", unix.CLONE_PIDFD},
	cWnohang:         {"WNOHANG", unix.WNOHANG},
	cWuntraced:       {"WUNTRACED", unix.WUNTRACED},
	cSockDgram:       {"SOCK_DGRAM", unix.SOCK_DGRAM},
	cSockCloexec:     {"SOCK_CLOEXEC", unix.SOCK_CLOEXEC},
}

var (
	atFDCWD = Arg{value: ^uint64(99), name: "AT_FDCWD"}
	null    = Arg{name: "NULL"}
)

// named is a constant that is used once or alone.
func named(name string, v uint64) Arg { return Arg{value: v, name: name} }
