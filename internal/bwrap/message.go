package bwrap

import (
	"errors"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/internal/supervise"
)

// worded says an error of the engine in bubblewrap's words, where it has any, and adds what
// the engine knows of the cause and the remedy.
func (b *program) worded(inv *Invocation, err error) error {
	var source *plan.SourceError
	var setup *supervise.SetupError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &source):
		return errors.New("Can't find source path " + source.Source + ": " + named(source.Errno))
	case !errors.As(err, &setup) || setup.Failure == nil:
		return err
	}
	f := setup.Failure
	text := words(inv, f)
	if checks(f) {
		return errors.New(text)
	}
	text += ": " + strerror(syscall.Errno(f.Errno))
	why := f.Cause
	if f.Remedy != "" && why != "" {
		why += "; " + f.Remedy
	}
	if why != "" {
		text += " (" + strings.ReplaceAll(why, "\n", " ") + ")"
	}
	if inv.Explain {
		text += " [" + f.Step.Name
		if f.Step.Origin != "" {
			text += ", asked for by " + f.Step.Origin
		}
		text += ": " + f.Op + "]"
	}
	return errors.New(text)
}

// named is strerror of an errno's name.
func named(name string) string {
	for e := syscall.Errno(1); e < 200; e++ {
		if unix.ErrnoName(e) == name {
			return strerror(e)
		}
	}
	return name
}

// checks reports whether f is no system call's failure.
func checks(f *plan.Failure) bool {
	return f.Step.Kind == plan.KindNoUserNS && f.Step.Path == "check" ||
		f.Step.Kind == plan.KindSymlink && (strings.HasPrefix(f.Op, "compare") || strings.HasPrefix(f.Op, "if "))
}

// words is what bubblewrap says when the step of f fails.
func words(inv *Invocation, f *plan.Failure) string {
	call, _, _ := strings.Cut(f.Op, "(")
	path := f.Step.Path
	switch f.Step.Kind {
	case plan.KindClone:
		switch {
		case f.Errno == unix.EPERM || f.Errno == unix.EACCES:
			return "No permissions to create a new namespace, likely because the kernel does not allow non-privileged user namespaces"
		case f.Errno == unix.ENOSPC:
			return "Creating new namespace failed: nesting depth or /proc/sys/user/max_*_namespaces exceeded (ENOSPC)"
		}
		return "Creating new namespace failed"
	case plan.KindIDs:
		switch {
		case strings.Contains(f.Op, "gid"):
			return "setting up gid map"
		case strings.Contains(f.Step.Name, "change ids"):
			return "unable to switch to uid"
		}
		return "setting up uid map"
	case plan.KindJoinBeside:
		switch path {
		case "user":
			return "Joining specified user namespace failed"
		case "pid":
			return "Setting pidns failed"
		}
		return "Setting userns2 failed"
	case plan.KindPropagation:
		return "Failed to make / slave"
	case plan.KindLoopback:
		return "loopback: Failed to bring it up"
	case plan.KindBind:
		what := strings.TrimPrefix(f.Step.Name, "bind ")
		what = strings.TrimPrefix(what, "clone ")
		return "Can't bind mount " + what
	case plan.KindPlace:
		switch call {
		case "mkdirat":
			return "Can't mkdir " + path
		case "mknodat":
			return "Can't create file at " + path
		}
		return "Can't mkdir parents for " + path
	case plan.KindTmpfs:
		return "Can't mount tmpfs on " + path
	case plan.KindProc:
		return "Can't mount proc on " + path
	case plan.KindDev, plan.KindDevpts:
		if f.Step.Kind == plan.KindDevpts {
			return "Can't mount devpts on " + path + "/pts"
		}
		return "Can't create file " + path
	case plan.KindMqueue:
		return "Can't mount mqueue on " + path
	case plan.KindOverlay:
		return "Can't make overlay mount on " + path
	case plan.KindFile:
		return "Can't create file " + path
	case plan.KindContent:
		return "Can't write data to file " + path
	case plan.KindSymlink:
		if checks(f) {
			return "Can't make symlink at " + path + ": existing destination is another one"
		}
		if call == "readlinkat" && f.Errno == unix.EINVAL {
			return "Can't make symlink at " + path + ": destination exists and is not a symlink"
		}
		return "Can't make symlink at " + path
	case plan.KindMode:
		return "Can't chmod " + path
	case plan.KindReadOnly:
		return "Can't remount readonly on " + path
	case plan.KindHostname:
		return "Can't set hostname to " + *inv.Hostname
	case plan.KindPivot:
		return "pivot_root"
	case plan.KindNoUserNS:
		if path == "check" {
			return "creation of new user namespaces was not disabled as requested"
		}
		return "sysctl user.max_user_namespaces = 1"
	case plan.KindCwd:
		return "Can't chdir to " + path
	case plan.KindCapabilities:
		return "capset failed"
	case plan.KindLockFile:
		if call == "fcntl" {
			return "Unable to lock file " + path
		}
		return "Unable to open lock file " + path
	case plan.KindReport:
		return "Write to info_fd"
	case plan.KindSeccomp:
		return "Unable to set up system call filtering as requested: prctl(PR_SET_SECCOMP)"
	case plan.KindLabel:
		return "label_exec " + inv.Command[0]
	case plan.KindTerminal:
		return "setsid"
	case plan.KindExec:
		return "execvp " + inv.Command[0]
	}
	return f.Step.Name
}
