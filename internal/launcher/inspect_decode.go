package launcher

import (
	"encoding/binary"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

// name is a constant of the kernel's interface.
type name struct {
	value uint64
	name  string
}

// decoder says how an argument is read: as one of the names, as their bitwise
// or, as permission bits, as a directory's descriptor.
type decoder struct {
	kind  byte // 'e', 'f', 'o', 'd'
	names []name
}

// in words: those of the names that are in v, and what is left as a number.
func (d decoder) text(v uint64) (string, bool) {
	switch d.kind {
	case 'd':
		return "AT_FDCWD", int64(v) == unix.AT_FDCWD
	case 'o':
		return "0" + strconv.FormatUint(v, 8), v <= 0o177777
	case 'e':
		for _, n := range d.names {
			if n.value == v {
				return n.name, true
			}
		}
		return "", false
	}
	var parts []string
	zero := v == 0
	for _, n := range d.names {
		if zero && n.value == 0 {
			return n.name, true
		}
		if n.value != 0 && v&n.value == n.value {
			parts = append(parts, n.name)
			v &^= n.value
		}
	}
	if parts == nil {
		return "", false
	}
	if v != 0 {
		parts = append(parts, "0x"+strconv.FormatUint(v, 16))
	}
	return strings.Join(parts, "|"), true
}

var (
	dirfd = decoder{kind: 'd'}
	octal = decoder{kind: 'o'}
	// Without those whose numbers differ from one architecture to another.
	openFlags = decoder{'f', []name{
		{unix.O_PATH, "O_PATH"},
		{unix.O_WRONLY, "O_WRONLY"},
		{unix.O_RDWR, "O_RDWR"},
		{unix.O_CREAT, "O_CREAT"},
		{unix.O_EXCL, "O_EXCL"},
		{unix.O_NOCTTY, "O_NOCTTY"},
		{unix.O_NONBLOCK, "O_NONBLOCK"},
		{unix.O_CLOEXEC, "O_CLOEXEC"},
		{0, "O_RDONLY"},
	}}
	atFlags = decoder{'f', []name{
		{unix.AT_REMOVEDIR, "AT_REMOVEDIR"},
		{unix.AT_SYMLINK_NOFOLLOW, "AT_SYMLINK_NOFOLLOW"},
		{unix.AT_EMPTY_PATH, "AT_EMPTY_PATH"},
		{unix.AT_RECURSIVE, "AT_RECURSIVE"},
		{unix.OPEN_TREE_CLONE, "OPEN_TREE_CLONE"},
		{unix.OPEN_TREE_CLOEXEC, "OPEN_TREE_CLOEXEC"},
	}}
	resolve = decoder{'f', []name{
		{unix.RESOLVE_NO_XDEV, "RESOLVE_NO_XDEV"},
		{unix.RESOLVE_NO_MAGICLINKS, "RESOLVE_NO_MAGICLINKS"},
		{unix.RESOLVE_NO_SYMLINKS, "RESOLVE_NO_SYMLINKS"},
		{unix.RESOLVE_BENEATH, "RESOLVE_BENEATH"},
		{unix.RESOLVE_IN_ROOT, "RESOLVE_IN_ROOT"},
	}}
	mountAttr = decoder{'f', []name{
		{unix.MOUNT_ATTR_RDONLY, "MOUNT_ATTR_RDONLY"},
		{unix.MOUNT_ATTR_NOSUID, "MOUNT_ATTR_NOSUID"},
		{unix.MOUNT_ATTR_NODEV, "MOUNT_ATTR_NODEV"},
		{unix.MOUNT_ATTR_NOEXEC, "MOUNT_ATTR_NOEXEC"},
	}}
	signals = decoder{'e', []name{
		{uint64(unix.SIGKILL), "SIGKILL"}, {uint64(unix.SIGSTOP), "SIGSTOP"}, {uint64(unix.SIGCONT), "SIGCONT"}, {uint64(unix.SIGCHLD), "SIGCHLD"},
	}}
	newNamespaces = decoder{'f', []name{
		{unix.CLONE_PARENT, "CLONE_PARENT"},
		{unix.CLONE_VM, "CLONE_VM"},
		{unix.CLONE_VFORK, "CLONE_VFORK"},
		{unix.CLONE_FILES, "CLONE_FILES"},
		{unix.CLONE_NEWUSER, "CLONE_NEWUSER"},
		{unix.CLONE_NEWNS, "CLONE_NEWNS"},
		{unix.CLONE_NEWPID, "CLONE_NEWPID"},
		{unix.CLONE_NEWNET, "CLONE_NEWNET"},
		{unix.CLONE_NEWIPC, "CLONE_NEWIPC"},
		{unix.CLONE_NEWUTS, "CLONE_NEWUTS"},
		{unix.CLONE_NEWCGROUP, "CLONE_NEWCGROUP"},
		{uint64(unix.SIGCHLD), "SIGCHLD"},
	}}
)

func one(v uint64, n string) decoder     { return decoder{'f', []name{{v, n}}} }
func enum(n ...name) decoder             { return decoder{'e', n} }
func after(d decoder, n ...name) decoder { return decoder{d.kind, append(n, d.names...)} }

// decodersOf is how the arguments of c are read, by their index.
func decodersOf(c plan.Call) map[int]decoder {
	switch c {
	case plan.SysOpenat:
		return map[int]decoder{0: dirfd, 2: openFlags}
	case plan.SysOpenat2:
		return map[int]decoder{0: dirfd}
	case plan.SysStatx, plan.SysOpenTree, plan.SysUnlinkat, plan.SysMountSetattr:
		return map[int]decoder{0: dirfd, 2: after(atFlags, name{unix.OPEN_TREE_CLOEXEC, "OPEN_TREE_CLOEXEC"})}
	case plan.SysMkdirat, plan.SysFchmodat, plan.SysMknodat:
		return map[int]decoder{0: dirfd, 2: octal}
	case plan.SysSymlinkat:
		return map[int]decoder{1: dirfd}
	case plan.SysExecveat:
		return map[int]decoder{0: dirfd, 4: atFlags}
	case plan.SysFchmod:
		return map[int]decoder{1: octal}
	case plan.SysCloseRange:
		return map[int]decoder{2: one(unix.CLOSE_RANGE_CLOEXEC, "CLOSE_RANGE_CLOEXEC")}
	case plan.SysDup3:
		return map[int]decoder{2: openFlags}
	case plan.SysPipe2:
		return map[int]decoder{1: openFlags}
	case plan.SysFcntl:
		return map[int]decoder{1: enum(name{unix.F_SETFD, "F_SETFD"}, name{unix.F_DUPFD_CLOEXEC, "F_DUPFD_CLOEXEC"})}
	case plan.SysMoveMount:
		return map[int]decoder{0: dirfd, 2: dirfd, 4: {'f', []name{{unix.MOVE_MOUNT_F_EMPTY_PATH, "MOVE_MOUNT_F_EMPTY_PATH"}, {unix.MOVE_MOUNT_T_EMPTY_PATH, "MOVE_MOUNT_T_EMPTY_PATH"}}}}
	case plan.SysFsopen:
		return map[int]decoder{1: one(unix.FSOPEN_CLOEXEC, "FSOPEN_CLOEXEC")}
	case plan.SysFsconfig:
		return map[int]decoder{1: enum(name{unix.FSCONFIG_SET_FLAG, "FSCONFIG_SET_FLAG"}, name{unix.FSCONFIG_SET_STRING, "FSCONFIG_SET_STRING"}, name{unix.FSCONFIG_CMD_CREATE, "FSCONFIG_CMD_CREATE"})}
	case plan.SysFsmount:
		return map[int]decoder{1: one(unix.FSMOUNT_CLOEXEC, "FSMOUNT_CLOEXEC"), 2: mountAttr}
	case plan.SysMount:
		return map[int]decoder{3: {'f', []name{
			{unix.MS_RDONLY, "MS_RDONLY"},
			{unix.MS_NOSUID, "MS_NOSUID"},
			{unix.MS_NODEV, "MS_NODEV"},
			{unix.MS_NOEXEC, "MS_NOEXEC"},
			{unix.MS_REMOUNT, "MS_REMOUNT"},
			{unix.MS_BIND, "MS_BIND"},
			{unix.MS_REC, "MS_REC"},
			{unix.MS_PRIVATE, "MS_PRIVATE"},
		}}}
	case plan.SysUmount2:
		return map[int]decoder{1: one(unix.MNT_DETACH, "MNT_DETACH")}
	case plan.SysClone, plan.SysUnshare:
		return map[int]decoder{0: newNamespaces}
	case plan.SysWait4:
		return map[int]decoder{2: {'f', []name{{unix.WNOHANG, "WNOHANG"}, {unix.WUNTRACED, "WUNTRACED"}}}}
	case plan.SysKill:
		return map[int]decoder{1: signals}
	case plan.SysPrctl:
		return map[int]decoder{0: enum(
			name{unix.PR_SET_PDEATHSIG, "PR_SET_PDEATHSIG"}, name{unix.PR_SET_DUMPABLE, "PR_SET_DUMPABLE"}, name{unix.PR_SET_NAME, "PR_SET_NAME"},
			name{unix.PR_SET_KEEPCAPS, "PR_SET_KEEPCAPS"}, name{unix.PR_CAPBSET_DROP, "PR_CAPBSET_DROP"}, name{unix.PR_SET_SECUREBITS, "PR_SET_SECUREBITS"},
			name{unix.PR_CAP_AMBIENT, "PR_CAP_AMBIENT"}, name{unix.PR_SET_NO_NEW_PRIVS, "PR_SET_NO_NEW_PRIVS"}, name{unix.PR_SET_CHILD_SUBREAPER, "PR_SET_CHILD_SUBREAPER"},
		)}
	case plan.SysSeccomp:
		return map[int]decoder{0: enum(name{unix.SECCOMP_SET_MODE_FILTER, "SECCOMP_SET_MODE_FILTER"})}
	case plan.SysRtSigprocmask:
		return map[int]decoder{0: enum(name{unix.SIG_BLOCK, "SIG_BLOCK"}, name{unix.SIG_UNBLOCK, "SIG_UNBLOCK"}, name{unix.SIG_SETMASK, "SIG_SETMASK"})}
	case plan.SysSignalfd4:
		return map[int]decoder{3: one(unix.SFD_CLOEXEC, "SFD_CLOEXEC")}
	case plan.SysSetitimer:
		return map[int]decoder{0: enum(name{0, "ITIMER_REAL"})}
	case plan.SysSocket:
		return map[int]decoder{0: enum(name{unix.AF_INET, "AF_INET"}, name{unix.AF_UNIX, "AF_UNIX"}), 1: {'f', []name{{unix.SOCK_CLOEXEC, "SOCK_CLOEXEC"}, {unix.SOCK_DGRAM, "SOCK_DGRAM"}}}}
	case plan.SysLandlockAddRule:
		return map[int]decoder{1: enum(name{unix.LANDLOCK_RULE_PATH_BENEATH, "LANDLOCK_RULE_PATH_BENEATH"})}
	case plan.SysKeyctl:
		return map[int]decoder{0: enum(name{unix.KEYCTL_JOIN_SESSION_KEYRING, "KEYCTL_JOIN_SESSION_KEYRING"})}
	case plan.SysMadvise:
		return map[int]decoder{2: enum(name{unix.MADV_DONTNEED, "MADV_DONTNEED"})}
	case plan.SysPrlimit64:
		return map[int]decoder{1: enum(rlimitNames[:]...)}
	case plan.SysSetrlimit:
		return map[int]decoder{0: enum(rlimitNames[:]...)}
	}
	return nil
}

var rlimitNames = [...]name{
	{unix.RLIMIT_CPU, "RLIMIT_CPU"},
	{unix.RLIMIT_FSIZE, "RLIMIT_FSIZE"},
	{unix.RLIMIT_DATA, "RLIMIT_DATA"},
	{unix.RLIMIT_STACK, "RLIMIT_STACK"},
	{unix.RLIMIT_CORE, "RLIMIT_CORE"},
	{unix.RLIMIT_RSS, "RLIMIT_RSS"},
	{unix.RLIMIT_NPROC, "RLIMIT_NPROC"},
	{unix.RLIMIT_NOFILE, "RLIMIT_NOFILE"},
	{unix.RLIMIT_MEMLOCK, "RLIMIT_MEMLOCK"},
	{unix.RLIMIT_AS, "RLIMIT_AS"},
	{unix.RLIMIT_LOCKS, "RLIMIT_LOCKS"},
}

// structure is the structure that an argument points at, in words: of those calls
// whose structures decide what is allowed.
func (p *parsed) structure(c plan.Call, arg int, v uint64) (string, bool) {
	words := func(n int) []uint64 {
		at := v - BaseRO
		if v-BaseRW < uint64(p.rwFile) {
			at = v - BaseRW
		}
		if at < offsetData || at > uint64(len(p.elf)-8*n) {
			return nil
		}
		w := make([]uint64, n)
		for i := range w {
			w[i] = binary.LittleEndian.Uint64(p.elf[int(at)+8*i:])
		}
		return w
	}
	or := func(d decoder, v uint64) string {
		if s, ok := d.text(v); ok {
			return s
		}
		return "0x" + strconv.FormatUint(v, 16)
	}
	switch {
	case c == plan.SysOpenat2 && arg == 2:
		if w := words(3); w != nil {
			return "{flags=" + or(openFlags, w[0]) + ", resolve=" + or(resolve, w[2]) + "}", true
		}
	case c == plan.SysMountSetattr && arg == 3:
		if w := words(4); w != nil {
			return "{attr_set=" + or(mountAttr, w[0]) + ", attr_clr=" + strconv.FormatUint(w[1], 10) + "}", true
		}
	case c == plan.SysLandlockCreateRuleset && arg == 0, c == plan.SysLandlockAddRule && arg == 2:
		if w := words(1); w != nil {
			return "{access=0x" + strconv.FormatUint(w[0], 16) + ", …}", true
		}
	case c == plan.SysSeccomp && arg == 2:
		if w := words(1); w != nil {
			return "{len=" + strconv.Itoa(int(uint16(w[0]))) + ", filter=…}", true
		}
	case c == plan.SysCapset && arg == 1:
		if w := words(3); w != nil {
			// {effective, permitted, inheritable} of the low, then of the high 32 bits.
			return "{effective=" + plan.CapabilityText(w[0]&0xffffffff|w[1]>>32<<32) + ", …}", true
		}
	}
	return "", false
}
