package profile

import (
	"fmt"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/document"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// ociActions are libseccomp's names. Constants: nothing of this package is to run before main.
var ociActions = [...]struct {
	name   string
	action seccomp.Action
}{
	{"SCMP_ACT_ALLOW", seccomp.Allow},
	{"SCMP_ACT_ERRNO", unix.SECCOMP_RET_ERRNO},
	{"SCMP_ACT_KILL_PROCESS", seccomp.KillProcess},
	{"SCMP_ACT_KILL_THREAD", seccomp.KillThread},
	{"SCMP_ACT_KILL", seccomp.KillThread},
	{"SCMP_ACT_TRAP", seccomp.Trap},
	{"SCMP_ACT_TRACE", unix.SECCOMP_RET_TRACE},
	{"SCMP_ACT_LOG", seccomp.Log},
	{"SCMP_ACT_NOTIFY", seccomp.UserNotify},
}

// action reads an action with its value, which is EPERM where none is given, for
// SCMP_ACT_TRACE too: that is what runc does.
func (r *ociReader) action(v *document.Value, key string, errnoRet, errnoName *document.Value) (seccomp.Action, error) {
	if err := r.want(v, key, document.String); err != nil {
		return 0, err
	}
	var names []string
	for _, a := range ociActions {
		names = append(names, a.name)
	}
	i := slices.Index(names, v.Text)
	if i < 0 {
		return 0, r.fail(v.Line, key, document.OneOf("action", v.Text, names))
	}
	a := ociActions[i].action
	most := uint64(maxErrno)
	switch a {
	case seccomp.Errno(0):
	case seccomp.Trace(0):
		most = 0xffff
	default:
		for _, extra := range []*document.Value{errnoRet, errnoName} {
			if extra != nil {
				r.warn(extra.Line, "%s takes no errno: it says nothing here", v.Text)
			}
		}
		return a, nil
	}
	n := uint64(unix.EPERM)
	if errnoRet != nil {
		var err error
		if n, err = r.number(errnoRet, "errnoRet", most); err != nil {
			return 0, err
		}
	}
	if errnoName != nil { // of containers-common, and stronger there
		if err := r.want(errnoName, "errno", document.String); err != nil {
			return 0, err
		}
		e, ok := errnoNamed(errnoName.Text)
		if !ok && errnoName.Text != "" {
			return 0, r.fail(errnoName.Line, "errno", fmt.Errorf("there is no errno %s: see errno(3)", document.Clip(errnoName.Text)))
		}
		if ok && errnoRet != nil && n != uint64(e) {
			r.warn(errnoName.Line, "errno %s and errnoRet %d are two answers: the name's is taken, but runc takes the number's", errnoName.Text, n)
		}
		if ok {
			n = uint64(e)
		}
	}
	return a | seccomp.Action(n), nil
}

func (r *ociReader) number(v *document.Value, key string, most uint64) (uint64, error) {
	if err := r.want(v, key, document.Integer); err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(v.Text, 10, 64)
	if err != nil || n > most {
		return 0, r.fail(v.Line, key, fmt.Errorf("%s: write a number from 0 to %d", document.Clip(v.Text), most))
	}
	return n, nil
}
