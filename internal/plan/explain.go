package plan

import (
	"strings"

	"golang.org/x/sys/unix"
)

// Failure is a failed operation in words: its step, what was called, why the
// kernel refuses such a call, and what can be done.
type Failure struct {
	Step   Step
	Op     string // the call as `cloche plan` prints it
	Errno  unix.Errno
	Cause  string
	Remedy string
}

// Error is one line.
func (f *Failure) Error() string {
	var s strings.Builder
	s.WriteString(f.Step.Name)
	if f.Step.Origin != "" {
		s.WriteString(" (" + f.Step.Origin + ")")
	}
	s.WriteString(": " + callName(f.Op) + ": " + errnoName(uint16(f.Errno)))
	if f.Cause != "" {
		s.WriteString(": " + f.Cause)
	}
	if f.Remedy != "" {
		s.WriteString("; " + f.Remedy)
	}
	return s.String()
}

// Unwrap is the errno.
func (f *Failure) Unwrap() error { return f.Errno }

func callName(op string) string {
	if i := strings.IndexByte(op, '('); i > 0 && !strings.HasPrefix(op, "if ") {
		return op[:i]
	}
	return "check"
}

func errnoName(e uint16) string {
	if n := unix.ErrnoName(unix.Errno(e)); n != "" {
		return n
	}
	return unix.Errno(e).Error()
}

// Explain says what the failure of operation i with errno means.
func (p *Plan) Explain(i int, errno unix.Errno) *Failure {
	if i < 0 || i >= len(p.Ops) {
		return &Failure{Step: Step{Name: "launcher image"}, Errno: errno, Cause: "it reported an operation that it does not have", Remedy: "this is a defect of Cloche: please report it"}
	}
	op := &p.Ops[i]
	f := &Failure{Step: p.Steps[op.Step], Op: p.OpText(i), Errno: errno}
	f.Cause, f.Remedy = reason(&f.Step, op.Call, errno)
	return f
}

// doctor is the remedy of what only the host's set-up can explain.
const doctor = "`cloche doctor` tells what this host allows"

// reasonBuilt is reason for an executable of `cloche build`: there what was so
// when the plan was made says nothing about the machine that it runs on.
func reasonBuilt(s *Step, call Call, e unix.Errno) (cause, remedy string) {
	again := "build it again here"
	switch s.Kind {
	case KindBind, KindOverlay, KindHide:
		switch {
		case e == unix.ENOENT:
			return "it is not there on this machine", "make it, or build with a policy that does without (optional = true)"
		case e == unix.ELOOP:
			return "a part of the path is a symbolic link here, and was none where the executable was built", again
		case call == Compare:
			return "it is of another kind here than where the executable was built", again
		}
	case KindLandlock:
		if e == unix.ENOENT {
			return "a path of the policy is not there on this machine", again
		}
	}
	return reason(s, call, e)
}

// reason is a table of what is known to go wrong where.
func reason(s *Step, call Call, e unix.Errno) (cause, remedy string) {
	switch e {
	case unix.ENOSYS:
		return "this kernel has no such call", "use a newer kernel; " + doctor
	case unix.ENOMEM:
		return "the kernel is out of memory", "free some, or raise the memory limit"
	}
	if s.Kind == KindPivot && call == Compare {
		return "the old root is still there above the new one", "this is a defect of Cloche: please report it; nothing was run"
	}
	if call == Alu { // stands for the search in remountlook.go
		switch s.Kind {
		case KindRoot, KindBind, KindOverlay:
			if cause, remedy := remountReason(e); cause != "" {
				return cause, remedy
			}
		}
	}
	switch s.Kind {
	case KindClone:
		switch e {
		case unix.EPERM:
			return "this user may not make these namespaces: user namespaces are switched off (kernel.unprivileged_userns_clone, AppArmor's kernel.apparmor_restrict_unprivileged_userns), or an outer sandbox's filter denies them", doctor
		case unix.EACCES:
			return "a security module, AppArmor as a rule, refuses user namespaces to this program", "load the profile packaging/apparmor/cloche of Cloche's source, as root: apparmor_parser --replace /etc/apparmor.d/cloche; " + doctor
		case unix.ENOSPC:
			return "a limit of user.max_*_namespaces is reached, or namespaces are nested 32 deep", "raise the sysctl; " + doctor
		case unix.EINVAL:
			return "this kernel lacks one of these namespaces", "leave it out with --share; " + doctor
		case unix.EAGAIN:
			return "the limit of processes is reached", "raise ulimit -u, or the pids limit of the surrounding cgroup"
		case unix.EBUSY:
			return "the cgroup that the sandbox should be born in has a domain-threaded or invalid type", "name another with limits.parent"
		}
	case KindJoin:
		switch {
		case call == SysChroot || call == SysFchdir:
			return "its root directory can't be entered by this user", "run as the one who started it"
		case e == unix.EPERM || e == unix.EACCES:
			return "this user may not enter it: it is another user's, or none of its processes may be looked at (not dumpable)", "run as the one who started it, or as root"
		case e == unix.ESRCH:
			return "it ended just now", "`cloche ps` tells what runs"
		case e == unix.EINVAL:
			return "this kernel's setns takes no pidfd (Linux 5.8), or lacks one of these namespaces", doctor
		}
	case KindCgroup:
		switch e {
		case unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.EROFS, unix.EEXIST, unix.ENODEV, unix.EINVAL:
			return ownCgroupReason(s, e)
		case unix.EACCES, unix.EPERM:
			return "the cgroup does not accept this process", "have the cgroup delegated to this user; " + doctor
		case unix.ENOSPC:
			return "the cpuset has no processors or memory nodes", "set limits.cpuset to processors that the parent cgroup has"
		case unix.EBUSY:
			return "the cgroup has controllers for its children, so no process may live in it", "name another with limits.parent"
		}
	case KindIDs:
		if s.Path != "" && e == unix.EPERM {
			return "what is mounted at /proc is no proc file system: something else could answer in its place", "mount one (mount -t proc proc /proc), or run Cloche where /proc is the kernel's"
		}
		switch e {
		case unix.ENOENT:
			return "/proc does not show this process: none is mounted there, or that of another pid namespace", "mount one (mount -t proc proc /proc)"
		case unix.EXDEV:
			return "something is mounted over a file of /proc/self", "unmount it"
		case unix.EPERM, unix.EACCES:
			return "the id map is refused: ids that this user may not map, uid 0 without CAP_SETFCAP (as inside another sandbox, since Linux 5.12), or an AppArmor restriction of user namespaces", "use --user current or --map-root; " + doctor
		case unix.EINVAL:
			return "an id is outside of what the user namespace maps", "choose ids within the ranges of /etc/subuid and /etc/subgid"
		}
	case KindPropagation, KindRoot, KindPivot, KindTmpfs:
		switch e {
		case unix.ELOOP:
			return bindReason(s, call, e)
		case unix.EPERM, unix.EACCES:
			return "mounting is denied here: an outer sandbox (Landlock, a container's seccomp profile or AppArmor) forbids it", "run Cloche outside of it, or allow mounts in its profile; " + doctor
		case unix.ENOSPC:
			return "the limit of mounts (fs.mount-max) is reached, or the tmpfs is full", "ask for fewer mounts"
		}
	case KindBind, KindOverlay:
		return bindReason(s, call, e)
	case KindProc:
		if e == unix.EPERM || e == unix.EACCES {
			return "this kernel lets no new proc be mounted when the host's own is covered in parts, as in a container whose /proc is masked", "run the outer container with its /proc unmasked (docker: --security-opt systempaths=unconfined), or show its own: --share pid --read /proc"
		}
		if e == unix.EINVAL {
			return "this kernel's proc does not know an option", "leave subset or hidepid out (Linux 5.8)"
		}
	case KindDev:
		switch {
		case call == Compare || call == Branch:
			return "the host's " + s.Path + " does not hold the device that belongs there", "repair the host's /dev"
		case e == unix.ENOENT:
			return "the host's /dev lacks a basic device", "make it (mknod), or run where /dev is complete"
		}
	case KindHide:
		if e == unix.ENOENT {
			return "it vanished since the plan was made", "run again"
		}
	case KindTerminal:
		return "the sandbox's terminal could not be opened", "use --tty=never"
	case KindLoopback:
		return "loopback could not be brought up", "use --net none"
	case KindHostname:
		return "the name is refused", "use at most 64 characters"
	case KindCwd:
		switch e {
		case unix.ENOENT:
			return s.Path + " is not there inside", "show it with --read " + s.Path + ", or choose another with --cwd"
		case unix.EACCES:
			return s.Path + " can't be entered by the ids inside", "choose another with --cwd"
		case unix.ENOTDIR:
			return s.Path + " is not a directory", "choose another with --cwd"
		case unix.EPERM:
			return s.Path + " is not below the root", "choose another with --cwd"
		}
	case KindRlimit:
		if e == unix.EPERM {
			return "a hard limit can't be raised without CAP_SYS_RESOURCE", "ask for no more than the caller has (ulimit -H)"
		}
		if e == unix.EINVAL {
			return "the soft limit is above the hard one", "lower it"
		}
	case KindKeyring:
		if e == unix.EDQUOT {
			return "this user's quota of keys is used up", "raise kernel.keys.maxkeys, or set keyring = false: the default filter denies keyctl anyway"
		}
	case KindLandlock:
		switch e {
		case unix.EOPNOTSUPP:
			return "Landlock is built in but not switched on", "add it to the kernel's lsm= list, or use --landlock off"
		case unix.E2BIG:
			return "16 Landlock domains are stacked already", "use --landlock off in the inner sandboxes"
		case unix.ENOENT:
			return "a path of the policy vanished since the plan was made", "run again"
		}
	case KindSeccomp:
		switch e {
		case unix.EINVAL:
			return "the kernel refuses the filter", "this is a defect of Cloche: please report it with `cloche seccomp` output"
		case unix.EACCES:
			return "a filter needs no_new_privs or CAP_SYS_ADMIN", "this is a defect of Cloche: please report it"
		case unix.EBUSY:
			return "something around this sandbox answers system calls already, and the kernel lets one listener do that", "leave out --audit here, or use it there"
		}
	case KindExec:
		return execReason(e)
	case KindCapabilities:
		if e == unix.EPERM {
			return "it is to have capabilities that this process has not itself", "ask for fewer (see CapPrm in /proc/self/status)"
		}
	default:
		return containerReason(s, call, e)
	}
	return "", ""
}

// ownCgroupReason is of a cgroup that an executable makes: the step's path is
// limits.parent, or the files that the limit of the step could be in.
func ownCgroupReason(s *Step, e unix.Errno) (cause, remedy string) {
	const elsewhere = "set limits.parent to a cgroup directory that is there, and build it again"
	if !strings.HasPrefix(s.Path, "/") {
		switch {
		case e == unix.ENOENT && s.Path == "cgroup.procs":
			return "it is no directory of a cgroup file system", elsewhere
		case e == unix.ENOENT && s.Path != "":
			return "a cgroup made there has no " + s.Path + ": the controller is in another hierarchy, or not given to this part of the tree",
				"set limits.parent to a directory of its hierarchy; on cgroup v2 write +NAME of the controller to cgroup.subtree_control there; or put a limit that may be left out in limits.where-available"
		case e == unix.ENODEV:
			return "the cgroup was removed meanwhile", "run again"
		case e == unix.EINVAL && s.Path != "":
			return "the kernel refuses this value", "choose another limit"
		}
		return "", ""
	}
	switch e {
	case unix.ENOENT, unix.ENOTDIR:
		return "there is no such directory here", "make it (mkdir, as its hierarchy's owner), or " + elsewhere
	case unix.ELOOP:
		return "a part of its path is a symbolic link", "write it as `readlink -f` does, and build it again"
	case unix.EROFS:
		return "cgroups are mounted read-only here, as in most containers", "mount them writable, or " + elsewhere
	case unix.EEXIST:
		return "a sandbox of another pid namespace has a cgroup of this name", "run again"
	}
	return "", ""
}

func bindReason(s *Step, call Call, e unix.Errno) (cause, remedy string) {
	switch {
	case call == Compare:
		return "it is not the file any more that the plan was made for", "run again; something replaces it meanwhile"
	case e == unix.ENOENT:
		return "it vanished since the plan was made", "run again"
	case e == unix.ELOOP:
		return "a symbolic link is on the way, in a tree that the command may write, or has come there since the plan was made", "name the place that it leads to; if it is none of yours, something replaces it meanwhile"
	case e == unix.EAGAIN:
		return "its directories are being renamed all the time", "run again when they rest"
	case e == unix.EACCES:
		return "the ids inside may not reach it: a directory on the way is closed to them", "open it (chmod o+x), or run as its owner"
	case e == unix.EPERM:
		return "its mount flags are locked, or mounting is denied here", doctor
	case e == unix.ENOSPC:
		return "the limit of mounts (fs.mount-max) is reached", "ask for fewer mounts"
	case e == unix.EINVAL && s.Kind == KindOverlay:
		return "overlayfs refuses these layers: they overlap, or the upper one's file system can't hold its marks", "use directories that do not contain each other; upper and work on one local file system"
	case e == unix.EMFILE:
		return "too many open files", "raise ulimit -n"
	}
	return "", ""
}

func execReason(e unix.Errno) (cause, remedy string) {
	switch e {
	case unix.ENOENT:
		return "no such command inside", "check its name and PATH"
	case unix.EACCES:
		return "not executable: no permission, a directory, or on a mount without exec", "chmod +x, or name a program"
	case unix.ENOEXEC:
		return "neither a program of this machine's kind nor a script that begins with #!", "give scripts a first line such as #!/bin/sh"
	case unix.E2BIG:
		return "arguments and environment are together longer than the kernel allows", "pass less, or put the data in a file"
	case unix.ETXTBSY:
		return "somebody has it open for writing", "close it first"
	case unix.ELOOP:
		return "its interpreter is a script whose interpreter is a script, or its links go in circles", "name a program as the interpreter"
	case unix.EIO, unix.ELIBBAD:
		return "its interpreter (dynamic loader) is damaged", "reinstall it"
	case unix.EINVAL:
		return "the program's header is damaged", "rebuild it"
	case unix.ENOTDIR:
		return "a part of its path is not a directory", "correct the path"
	case unix.EPERM:
		return "executing it is forbidden here", "look for a noexec mount or a security module"
	}
	return "", ""
}
