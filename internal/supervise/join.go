package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/internal/launcher"
	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// JoinSpec is a command that joins a sandbox that runs, or a container. Of Spec it has
// what says what to run; its policy says what it is confined to, see plan.Join.
type JoinSpec struct {
	Spec

	PID      int                 // of a process inside, as the caller sees it
	Pidfd    int                 // of the same
	Landlock []plan.LandlockPath // of the sandbox's own command
	Filter   []unix.SockFilter   // that of the sandbox's own command, when FilterKnown; else the policy says
	Flags    uint                // SECCOMP_FILTER_FLAG_* of it
	Entries  []int               // v1 `tasks` files, or cgroup.procs, of its cgroup
	Cgroup   int                 // directory for CLONE_INTO_CGROUP; -1: none

	FilterKnown bool
	// Outlive lets the command go on when this program ends.
	Outlive bool
}

// NamespaceTypes are those that a process can enter, with their names below /proc/PID/ns.
var NamespaceTypes = [...]struct {
	Name string
	Type uint64
}{
	{"user", unix.CLONE_NEWUSER},
	{"mnt", unix.CLONE_NEWNS},
	{"pid", unix.CLONE_NEWPID},
	{"net", unix.CLONE_NEWNET},
	{"ipc", unix.CLONE_NEWIPC},
	{"uts", unix.CLONE_NEWUTS},
	{"cgroup", unix.CLONE_NEWCGROUP},
	{"time", unix.CLONE_NEWTIME},
}

// foreignNamespaces are the namespaces of a process that are not the caller's own.
func foreignNamespaces(pid int) (types uint64, err error) {
	for _, n := range NamespaceTypes {
		var own, its unix.Stat_t
		if err := unix.Stat("/proc/self/ns/"+n.Name, &own); err == unix.ENOENT {
			continue // not in this kernel
		} else if err != nil {
			return 0, fmt.Errorf("/proc/self/ns/%s: %w", n.Name, err)
		}
		name := procDir(pid) + "/ns/" + n.Name
		if n.Name == "pid" {
			name += "_for_children"
		}
		if err := unix.Stat(name, &its); err != nil {
			return 0, joinError(pid, err)
		}
		if own.Ino != its.Ino || own.Dev != its.Dev {
			types |= n.Type
		}
	}
	return types, nil
}

// joinError says why a process can't be looked at, as to enter it.
func joinError(pid int, err error) error {
	switch err {
	case unix.ENOENT, unix.ESRCH:
		return fmt.Errorf("process %d has ended: %w", pid, os.ErrProcessDone)
	case unix.EACCES, unix.EPERM:
		return fmt.Errorf("process %d: %w: its namespaces may not be looked at: it is another user's, or not dumpable (its program can't be read, or it said so); run as the one who started it, or as root", pid, err)
	}
	return fmt.Errorf("process %d: %w", pid, err)
}

// rootOf opens the root directory of a process, where it is not that of its mount
// namespace, which setns(2) enters by itself.
func rootOf(pid int) (*os.File, error) {
	fd, err := unix.Open(procDir(pid)+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, joinError(pid, err)
	}
	return os.NewFile(uintptr(fd), procDir(pid)+"/root"), nil
}

// Join starts a command in a sandbox that runs. It returns when the command runs, or when
// it is known why it can't.
func Join(ctx context.Context, spec *JoinSpec) (*Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	j, files, err := prepareJoin(spec)
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	if err != nil {
		return nil, err
	}
	if len(spec.ExtraFiles) > 0 {
		j.ExtraFiles = len(spec.ExtraFiles)
	}
	return startJoin(ctx, spec, j, files)
}

// prepareJoin finds what a plan needs to know; files are those of the plan's
// descriptors that are opened for it, in order: the root.
func prepareJoin(spec *JoinSpec) (*plan.Join, []*os.File, error) {
	facts, err := host.Quick()
	if err != nil {
		return nil, nil, err
	}
	j := &plan.Join{
		Policy: spec.Policy, Facts: facts, Landlock: spec.Landlock, InitFilter: seccomp.InitProgram(facts.GOARCH, false),
		Filter: spec.Filter, FilterFlags: spec.Flags,
		Terminal: spec.Terminal, Outlive: spec.Outlive, RootFD: -1, ControlFD: -1, CgroupFD: -1,
	}
	if spec.Policy.Landlock == policy.LandlockRequire && facts.LandlockABI == 0 {
		return nil, nil, errors.New("landlock require: this kernel has no Landlock any more; it had when the sandbox was made")
	}
	if j.Namespaces, err = foreignNamespaces(spec.PID); err != nil {
		return nil, nil, err
	}
	if !spec.FilterKnown {
		f, err := filterOf(spec.Policy, &facts)
		if err != nil {
			return nil, nil, err
		}
		j.Filter, j.FilterFlags = f.prog, f.flags
	}
	root, err := rootOf(spec.PID)
	if err != nil {
		return nil, nil, err
	}
	// All that was looked at by its pid belongs to the process of the pidfd, if that lives still.
	if err := unix.PidfdSendSignal(spec.Pidfd, 0, nil, 0); err != nil && err != unix.EPERM {
		root.Close()
		return nil, nil, joinError(spec.PID, err)
	}
	return j, []*os.File{root}, nil
}

// startJoin gives the descriptors their numbers, makes the image, and executes it.
func startJoin(ctx context.Context, spec *JoinSpec, j *plan.Join, files []*os.File) (*Process, error) {
	own := *spec.Policy
	own.Init, own.Unshare.PID, own.Time, own.Limits = true, true, policy.TimeLimits{}, policy.Limits{}
	spec.Policy = &own
	p := &Process{spec: &spec.Spec, joined: true}

	next := 3 + len(spec.ExtraFiles)
	take := func() int { next++; return next - 1 }
	j.ExtraFiles, j.StatusFD = len(spec.ExtraFiles), take()
	if spec.Terminal != [3]bool{} {
		j.ControlFD = take()
	}
	j.PidFD, j.RootFD = take(), take()
	for range spec.Entries {
		j.EntryFDs = append(j.EntryFDs, take())
	}
	if spec.Cgroup >= 0 {
		j.CgroupFD = take()
	}
	var err error
	if p.plan, err = plan.CompileJoin(j); err != nil {
		return nil, err
	}
	im, err := launcher.Assemble(launcher.Program{GOARCH: p.plan.GOARCH, Ops: p.plan.Ops, OnFatal: p.plan.OnFatal, Vars: len(p.plan.VarNames)})
	if err != nil {
		return nil, err
	}
	p.index = im.Ops
	image, err := imageFile(im.ELF)
	if err != nil {
		return nil, err
	}
	defer image.release()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	p.status = r
	pr := &Prepared{spec: &spec.Spec}
	pr.input.ControlFD = j.ControlFD
	fds, done, err := pr.files(p, w, image.fd)
	if err == nil {
		fds = fds[:len(fds)-1] // the image comes last
		fds = append(fds, uintptr(spec.Pidfd), files[0].Fd())
		for _, fd := range spec.Entries {
			fds = append(fds, uintptr(fd))
		}
		if spec.Cgroup >= 0 {
			fds = append(fds, uintptr(spec.Cgroup))
		}
		fds = append(fds, uintptr(image.fd))
		p.started = time.Now()
		fork := func() {
			p.launcher, err = syscall.ForkExec("/proc/self/fd/"+strconv.Itoa(len(fds)-1), spec.Args, &syscall.ProcAttr{Env: spec.Env, Files: fds})
		}
		if spec.Parked {
			fork()
		} else {
			onStarter(fork)
		}
		if err != nil {
			err = startError(err, &spec.Spec)
		}
	}
	done()
	w.Close()
	if err != nil {
		p.closePipes()
		return nil, err
	}
	p.init = p.launcher
	if p.output != nil {
		p.output.started()
	}
	p.watch(ctx)
	if p.control != nil {
		p.watchers.Go(p.receive)
	}
	if err := p.await(); err != nil {
		p.closePipes()
		return nil, err
	}
	return p, nil
}
