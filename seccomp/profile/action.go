package profile

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/document"
	"github.com/cloche-sandbox/cloche/seccomp"
)

const (
	maxErrno = 4095 // MAX_ERRNO: the kernel answers no higher one
	enosys   = seccomp.Action(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS))
)

// plainActions are those without a value of their own; their names are
// [seccomp.Action.String]'s.
var plainActions = [...]seccomp.Action{
	seccomp.Allow, seccomp.KillProcess, seccomp.KillThread, seccomp.Trap, seccomp.Log, seccomp.UserNotify,
}

// parseAction reads an action as [seccomp.Action.String] writes it.
func parseAction(s string) (seccomp.Action, error) {
	for _, a := range plainActions {
		if a.String() == s {
			return a, nil
		}
	}
	if word, number, ok := strings.Cut(s, " "); ok && (word == "errno" || word == "trace") {
		most := uint64(maxErrno)
		if word == "trace" {
			most = 0xffff
		}
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil || n > most {
			return 0, fmt.Errorf("%s: write a number from 0 to %d after %s", document.Clip(s), most, word)
		}
		if word == "trace" {
			return seccomp.Trace(uint16(n)), nil
		}
		return seccomp.Errno(unix.Errno(n)), nil
	}
	if e, ok := errnoNamed(s); ok {
		return seccomp.Errno(e), nil
	}
	return 0, document.Unknown("action", s, document.Nearest(s, actionNames()),
		`write "allow", "kill-process", "kill-thread", "trap", "log", "notify", an errno such as "EPERM", "errno 38" or "trace 1"`)
}

func actionNames() []string {
	var names []string
	for _, a := range plainActions {
		names = append(names, a.String())
	}
	for e := unix.Errno(1); e <= lastErrno; e++ {
		if name := unix.ErrnoName(e); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// lastErrno is EHWPOISON, the highest that has a name.
const lastErrno = unix.EHWPOISON

// errnoNamed finds an errno by its name. EWOULDBLOCK and EDEADLOCK are second names.
func errnoNamed(name string) (unix.Errno, bool) {
	switch name {
	case "EWOULDBLOCK":
		return unix.EAGAIN, true
	case "EDEADLOCK":
		return unix.EDEADLK, true
	case "ENOTSUP":
		return unix.EOPNOTSUPP, true
	case "":
		return 0, false
	}
	for e := unix.Errno(1); e <= lastErrno; e++ {
		if unix.ErrnoName(e) == name {
			return e, true
		}
	}
	return 0, false
}
