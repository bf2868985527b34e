package plan

// Call names an operation: a system call, or a pseudo-operation of the
// interpreter (from Branch on).
type Call uint8

// The system calls that an image can make. All of them exist on every
// architecture of Linux 5.x: the *at forms, ppoll, and clone with flags.
const (
	SysRead Call = iota
	SysWrite
	SysOpenat
	SysOpenat2
	SysClose
	SysCloseRange
	SysDup3
	SysFcntl
	SysIoctl
	SysStatx
	SysMkdirat
	SysMknodat
	SysSymlinkat
	SysUnlinkat
	SysFchmod
	SysFchmodat
	SysFchown
	SysFchdir
	SysChdir
	SysGetcwd
	SysUmask
	SysMount
	SysUmount2
	SysPivotRoot
	SysOpenTree
	SysMoveMount
	SysMountSetattr
	SysFsopen
	SysFsconfig
	SysFsmount
	SysUnshare
	SysSetns
	SysClone
	SysClone3
	SysExecve
	SysExecveat
	SysExitGroup
	SysWait4
	SysWaitid
	SysKill
	SysGetpid
	SysGetppid
	SysGettid
	SysGetuid
	SysGetgid
	SysSetsid
	SysSetpgid
	SysSetuid
	SysSetgid
	SysSetresuid
	SysSetresgid
	SysSetgroups
	SysCapget
	SysCapset
	SysPrctl
	SysPrlimit64
	SysSetrlimit
	SysSethostname
	SysSocket
	SysSendmsg
	SysAccept4
	SysKeyctl
	SysLandlockCreateRuleset
	SysLandlockAddRule
	SysLandlockRestrictSelf
	SysSeccomp
	SysRtSigprocmask
	SysSignalfd4
	SysPpoll
	SysSetitimer
	SysClockGettime
	SysNanosleep
	SysMunmap
	SysMadvise
	SysPipe2
	SysPread64
	SysLseek
	SysFtruncate
	SysPersonality
	SysTimerfdCreate
	SysTimerfdSettime
	SysPidfdSendSignal
	SysPidfdOpen
	SysGetrandom
	SysMlockall
	SysSetpriority
	SysGetdents64
	SysFstatfs
	SysFaccessat
	SysReadlinkat
	SysGeteuid
	SysGetegid
	SysRtSigaction
	SysMemfdCreate
	SysFchownat
	SysChroot
	SysSetdomainname
	SysIoprioSet
	SysSchedSetattr
	SysSchedSetaffinity
	SysSetMempolicy

	// The pseudo-operations. A test that fails counts as an error (EPERM), so
	// the jumps of an Op serve them too.

	// Branch: args a, mask, b, cond. True when (a&mask) cond b, unsigned.
	Branch
	// Alu: args a, shift, mask, left, b. Result (((a>>shift)&mask)<<left)+b; never an error.
	Alu
	// Load: args address, size (1, 2, 4 or 8). Result the zero-extended number there; never an error.
	Load
	// Store: args address, value, size (1, 2, 4 or 8).
	Store
	// Copy: args dst, src, stop, max. Copies bytes up to, not including, a NUL or
	// the byte stop; result the number copied. ENAMETOOLONG when max bytes did not
	// end it. With dst 0 nothing is written: a strlen.
	Copy
	// Format: args dst, value. Writes value as decimal digits and a NUL; result the digits' number.
	Format
	// Compare: args a, b, n. Success when the n bytes at a and b are the same.
	Compare
	// Parse: args address. Result the decimal number that starts there (0 when none does); never an error.
	Parse
	// Enter: args address. Leaves the image for the program that begins there, with
	// the stack that the kernel made for it. Nothing follows.
	Enter

	numCalls
)

// Conditions of Branch.
const (
	CondEqual   = 0
	CondLess    = 1 // unsigned
	CondGreater = 2 // unsigned
)

// IsPseudo reports whether the interpreter itself carries c out.
func (c Call) IsPseudo() bool { return c >= Branch }

// PseudoNumber is the interpreter's number of a pseudo-operation, from 0.
func (c Call) PseudoNumber() uint16 { return uint16(c - Branch) }

// Name is the system call's name as in syscalls(2), or the pseudo-operation's.
func (c Call) Name() string { return calls[c].name }

// Number is the system call's number on goarch ("amd64", "arm64").
func (c Call) Number(goarch string) (nr uint16, ok bool) {
	if c.IsPseudo() || c >= numCalls {
		return 0, false
	}
	switch goarch {
	case "amd64":
		return calls[c].amd64, true
	case "arm64":
		return calls[c].arm64, true
	}
	return 0, false
}

// calls is kept in the order of the constants. call_test.go holds the numbers
// against golang.org/x/sys/unix.
var calls = [numCalls]struct {
	name         string
	amd64, arm64 uint16
}{
	SysRead:                  {"read", 0, 63},
	SysWrite:                 {"write", 1, 64},
	SysOpenat:                {"openat", 257, 56},
	SysOpenat2:               {"openat2", 437, 437},
	SysClose:                 {"close", 3, 57},
	SysCloseRange:            {"close_range", 436, 436},
	SysDup3:                  {"dup3", 292, 24},
	SysFcntl:                 {"fcntl", 72, 25},
	SysIoctl:                 {"ioctl", 16, 29},
	SysStatx:                 {"statx", 332, 291},
	SysMkdirat:               {"mkdirat", 258, 34},
	SysMknodat:               {"mknodat", 259, 33},
	SysSymlinkat:             {"symlinkat", 266, 36},
	SysUnlinkat:              {"unlinkat", 263, 35},
	SysFchmod:                {"fchmod", 91, 52},
	SysFchmodat:              {"fchmodat", 268, 53},
	SysFchown:                {"fchown", 93, 55},
	SysFchdir:                {"fchdir", 81, 50},
	SysChdir:                 {"chdir", 80, 49},
	SysGetcwd:                {"getcwd", 79, 17},
	SysUmask:                 {"umask", 95, 166},
	SysMount:                 {"mount", 165, 40},
	SysUmount2:               {"umount2", 166, 39},
	SysPivotRoot:             {"pivot_root", 155, 41},
	SysOpenTree:              {"open_tree", 428, 428},
	SysMoveMount:             {"move_mount", 429, 429},
	SysMountSetattr:          {"mount_setattr", 442, 442},
	SysFsopen:                {"fsopen", 430, 430},
	SysFsconfig:              {"fsconfig", 431, 431},
	SysFsmount:               {"fsmount", 432, 432},
	SysUnshare:               {"unshare", 272, 97},
	SysSetns:                 {"setns", 308, 268},
	SysClone:                 {"clone", 56, 220},
	SysClone3:                {"clone3", 435, 435},
	SysExecve:                {"execve", 59, 221},
	SysExecveat:              {"execveat", 322, 281},
	SysExitGroup:             {"exit_group", 231, 94},
	SysWait4:                 {"wait4", 61, 260},
	SysWaitid:                {"waitid", 247, 95},
	SysKill:                  {"kill", 62, 129},
	SysGetpid:                {"getpid", 39, 172},
	SysGetppid:               {"getppid", 110, 173},
	SysGettid:                {"gettid", 186, 178},
	SysGetuid:                {"getuid", 102, 174},
	SysGetgid:                {"getgid", 104, 176},
	SysSetsid:                {"setsid", 112, 157},
	SysSetpgid:               {"setpgid", 109, 154},
	SysSetuid:                {"setuid", 105, 146},
	SysSetgid:                {"setgid", 106, 144},
	SysSetresuid:             {"setresuid", 117, 147},
	SysSetresgid:             {"setresgid", 119, 149},
	SysSetgroups:             {"setgroups", 116, 159},
	SysCapget:                {"capget", 125, 90},
	SysCapset:                {"capset", 126, 91},
	SysPrctl:                 {"prctl", 157, 167},
	SysPrlimit64:             {"prlimit64", 302, 261},
	SysSetrlimit:             {"setrlimit", 160, 164},
	SysSethostname:           {"sethostname", 170, 161},
	SysSocket:                {"socket", 41, 198},
	SysSendmsg:               {"sendmsg", 46, 211},
	SysAccept4:               {"accept4", 288, 242},
	SysKeyctl:                {"keyctl", 250, 219},
	SysLandlockCreateRuleset: {"landlock_create_ruleset", 444, 444},
	SysLandlockAddRule:       {"landlock_add_rule", 445, 445},
	SysLandlockRestrictSelf:  {"landlock_restrict_self", 446, 446},
	SysSeccomp:               {"seccomp", 317, 277},
	SysRtSigprocmask:         {"rt_sigprocmask", 14, 135},
	SysSignalfd4:             {"signalfd4", 289, 74},
	SysPpoll:                 {"ppoll", 271, 73},
	SysSetitimer:             {"setitimer", 38, 103},
	SysClockGettime:          {"clock_gettime", 228, 113},
	SysNanosleep:             {"nanosleep", 35, 101},
	SysMunmap:                {"munmap", 11, 215},
	SysMadvise:               {"madvise", 28, 233},
	SysPipe2:                 {"pipe2", 293, 59},
	SysPread64:               {"pread64", 17, 67},
	SysLseek:                 {"lseek", 8, 62},
	SysFtruncate:             {"ftruncate", 77, 46},
	SysPersonality:           {"personality", 135, 92},
	SysTimerfdCreate:         {"timerfd_create", 283, 85},
	SysTimerfdSettime:        {"timerfd_settime", 286, 86},
	SysPidfdSendSignal:       {"pidfd_send_signal", 424, 424},
	SysPidfdOpen:             {"pidfd_open", 434, 434},
	SysGetrandom:             {"getrandom", 318, 278},
	SysMlockall:              {"mlockall", 151, 230},
	SysSetpriority:           {"setpriority", 141, 140},
	SysGetdents64:            {"getdents64", 217, 61},
	SysFstatfs:               {"fstatfs", 138, 44},
	SysFaccessat:             {"faccessat", 269, 48},
	SysReadlinkat:            {"readlinkat", 267, 78},
	SysGeteuid:               {"geteuid", 107, 175},
	SysGetegid:               {"getegid", 108, 177},
	SysRtSigaction:           {"rt_sigaction", 13, 134},
	SysMemfdCreate:           {"memfd_create", 319, 279},
	SysFchownat:              {"fchownat", 260, 54},
	SysChroot:                {"chroot", 161, 51},
	SysSetdomainname:         {"setdomainname", 171, 162},
	SysIoprioSet:             {"ioprio_set", 251, 30},
	SysSchedSetattr:          {"sched_setattr", 314, 274},
	SysSchedSetaffinity:      {"sched_setaffinity", 203, 122},
	SysSetMempolicy:          {"set_mempolicy", 238, 237},
	Branch:                   {name: "branch"},
	Alu:                      {name: "alu"},
	Load:                     {name: "load"},
	Store:                    {name: "store"},
	Copy:                     {name: "copy"},
	Format:                   {name: "format"},
	Compare:                  {name: "compare"},
	Parse:                    {name: "parse"},
	Enter:                    {name: "enter"},
}
