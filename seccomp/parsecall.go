package seccomp

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ParseCall reads a call as a person writes it, "socket(AF_VSOCK, SOCK_STREAM, 0)"
// or just "ptrace": a name, and arguments that are numbers or the constants of
// their man pages, joined by |. What is not given is 0.
func ParseCall(s string, a Arch) (Data, error) {
	name, rest, call := strings.Cut(strings.TrimSpace(s), "(")
	name = strings.TrimSpace(name)
	d := Data{Arch: a.Audit}
	nr, ok := a.Number(name)
	if n, err := strconv.ParseUint(name, 0, 31); !ok && err == nil {
		nr, ok = int32(n), true
	}
	if !ok {
		if Known(name) {
			return d, fmt.Errorf("%s is not a system call of %s", name, a.GOARCH)
		}
		if n := Nearest(name); n != "" {
			return d, fmt.Errorf("there is no system call %q; do you mean %s?", name, n)
		}
		return d, fmt.Errorf("there is no system call %q", name)
	}
	d.NR = nr
	if !call {
		return d, nil
	}
	list, ok := strings.CutSuffix(strings.TrimSpace(rest), ")")
	if !ok {
		return d, fmt.Errorf("%s: the closing parenthesis is missing", s)
	}
	if strings.TrimSpace(list) == "" {
		return d, nil
	}
	args := strings.Split(list, ",")
	if len(args) > 6 {
		return d, fmt.Errorf("%s: %d arguments; a call has at most six", s, len(args))
	}
	for i, arg := range args {
		for _, word := range strings.Split(arg, "|") {
			v, err := parseArgument(strings.TrimSpace(word))
			if err != nil {
				return d, fmt.Errorf("%s: argument %d: %w", s, i, err)
			}
			d.Args[i] |= v
		}
	}
	return d, nil
}

func parseArgument(word string) (uint64, error) {
	if v, ok := Constant(word); ok {
		return v, nil
	}
	if v, err := strconv.ParseUint(word, 0, 64); err == nil {
		return v, nil
	}
	if v, err := strconv.ParseInt(word, 0, 64); err == nil {
		return uint64(v), nil
	}
	return 0, fmt.Errorf("%q is neither a number nor a constant that is known here; write its number", word)
}

// Constant is the value of a constant that arguments are given by, as its man page
// names it: "AF_UNIX", "CLONE_NEWUSER", "TIOCSTI".
func Constant(name string) (uint64, bool) {
	for i := range constants {
		if constants[i].name == name {
			return constants[i].value, true
		}
	}
	return 0, false
}

// ConstantName writes an argument of a call by the constants of its man page, joined
// by | where they are bits, or "" where no name is known.
func ConstantName(call string, arg int, value uint64) string {
	prefixes, bits := constantsOf(call, arg)
	var names []string
	rest := value
	for i := range constants {
		c := &constants[i]
		if !hasPrefix(c.name, prefixes) {
			continue
		}
		if c.value == value {
			return c.name
		}
		if bits && c.value != 0 && rest&c.value == c.value {
			names, rest = append(names, c.name), rest&^c.value
		}
	}
	if rest == 0 && len(names) > 0 {
		return strings.Join(names, "|")
	}
	return ""
}

func hasPrefix(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// constantsOf are how the names of an argument's constants begin, and whether they are
// bits that are joined.
func constantsOf(call string, arg int) (prefixes []string, bits bool) {
	switch call + " " + strconv.Itoa(arg) {
	case "socket 0", "socketpair 0":
		return []string{"AF_"}, false
	case "socket 1", "socketpair 1":
		return []string{"SOCK_"}, true
	case "socket 2":
		return []string{"NETLINK_"}, false
	case "ioctl 1":
		return []string{"TIOC", "TC", "FION"}, false
	case "clone 0", "unshare 0":
		return []string{"CLONE_"}, true
	case "open 1", "openat 2":
		return []string{"O_"}, true
	case "ptrace 0":
		return []string{"PTRACE_"}, false
	case "prctl 0":
		return []string{"PR_"}, false
	case "personality 0":
		return []string{"ADDR_"}, false
	case "seccomp 0":
		return []string{"SECCOMP_SET_"}, false
	case "seccomp 1":
		return []string{"SECCOMP_FILTER_FLAG_"}, true
	}
	return nil, false
}

var constants = [...]struct {
	name  string
	value uint64
}{
	{"NULL", 0},
	{"AT_FDCWD", ^uint64(99)},
	{"AF_UNSPEC", unix.AF_UNSPEC},
	{"AF_UNIX", unix.AF_UNIX},
	{"AF_LOCAL", unix.AF_UNIX},
	{"AF_INET", unix.AF_INET},
	{"AF_INET6", unix.AF_INET6},
	{"AF_NETLINK", unix.AF_NETLINK},
	{"AF_PACKET", unix.AF_PACKET},
	{"AF_ALG", unix.AF_ALG},
	{"AF_VSOCK", unix.AF_VSOCK},
	{"AF_BLUETOOTH", unix.AF_BLUETOOTH},
	{"AF_XDP", unix.AF_XDP},
	{"AF_KEY", unix.AF_KEY},
	{"AF_CAN", unix.AF_CAN},
	{"AF_TIPC", unix.AF_TIPC},
	{"AF_RDS", unix.AF_RDS},
	{"SOCK_STREAM", unix.SOCK_STREAM},
	{"SOCK_DGRAM", unix.SOCK_DGRAM},
	{"SOCK_RAW", unix.SOCK_RAW},
	{"SOCK_SEQPACKET", unix.SOCK_SEQPACKET},
	{"SOCK_CLOEXEC", unix.SOCK_CLOEXEC},
	{"SOCK_NONBLOCK", unix.SOCK_NONBLOCK},
	{"NETLINK_ROUTE", unix.NETLINK_ROUTE},
	{"NETLINK_NETFILTER", unix.NETLINK_NETFILTER},
	{"NETLINK_SOCK_DIAG", unix.NETLINK_SOCK_DIAG},
	{"TIOCSTI", unix.TIOCSTI},
	{"TIOCLINUX", 0x541c},
	{"TIOCSETD", 0x5423},
	{"TCGETS", unix.TCGETS},
	{"TCSETS", unix.TCSETS},
	{"TIOCGWINSZ", unix.TIOCGWINSZ},
	{"FIONREAD", 0x541b},
	{"CLONE_NEWUSER", unix.CLONE_NEWUSER},
	{"CLONE_NEWNS", unix.CLONE_NEWNS},
	{"CLONE_NEWPID", unix.CLONE_NEWPID},
	{"CLONE_NEWNET", unix.CLONE_NEWNET},
	{"CLONE_NEWIPC", unix.CLONE_NEWIPC},
	{"CLONE_NEWUTS", unix.CLONE_NEWUTS},
	{"CLONE_NEWCGROUP", unix.CLONE_NEWCGROUP},
	{"CLONE_NEWTIME", unix.CLONE_NEWTIME},
	{"CLONE_VM", unix.CLONE_VM},
	{"CLONE_FS", unix.CLONE_FS},
	{"CLONE_FILES", unix.CLONE_FILES},
	{"CLONE_SIGHAND", unix.CLONE_SIGHAND},
	{"CLONE_THREAD", unix.CLONE_THREAD},
	{"CLONE_VFORK", unix.CLONE_VFORK},
	{"SIGCHLD", uint64(unix.SIGCHLD)},
	{"O_RDONLY", unix.O_RDONLY},
	{"O_WRONLY", unix.O_WRONLY},
	{"O_RDWR", unix.O_RDWR},
	{"O_CREAT", unix.O_CREAT},
	{"O_TRUNC", unix.O_TRUNC},
	{"O_APPEND", unix.O_APPEND},
	{"O_CLOEXEC", unix.O_CLOEXEC},
	{"PTRACE_TRACEME", unix.PTRACE_TRACEME},
	{"PTRACE_ATTACH", unix.PTRACE_ATTACH},
	{"PTRACE_SEIZE", unix.PTRACE_SEIZE},
	{"PR_SET_DUMPABLE", unix.PR_SET_DUMPABLE},
	{"PR_SET_NO_NEW_PRIVS", unix.PR_SET_NO_NEW_PRIVS},
	{"PR_SET_PDEATHSIG", unix.PR_SET_PDEATHSIG},
	{"PR_SET_NAME", unix.PR_SET_NAME},
	{"PR_SET_MM", unix.PR_SET_MM},
	{"ADDR_NO_RANDOMIZE", 0x0040000},
	{"SECCOMP_SET_MODE_STRICT", unix.SECCOMP_SET_MODE_STRICT},
	{"SECCOMP_SET_MODE_FILTER", unix.SECCOMP_SET_MODE_FILTER},
	{"SECCOMP_FILTER_FLAG_NEW_LISTENER", unix.SECCOMP_FILTER_FLAG_NEW_LISTENER},
	{"SECCOMP_FILTER_FLAG_TSYNC", unix.SECCOMP_FILTER_FLAG_TSYNC},
}
