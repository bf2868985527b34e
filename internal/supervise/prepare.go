package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/internal/launcher"
	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// Prepared is a sandbox of which everything is decided and nothing started.
type Prepared struct {
	Plan  *plan.Plan
	image *launcher.Image
	file  *memfd // that the image lies in, once there is one
	spec  *Spec
	input plan.Input
	group *cgroup.Group
	notes []string

	notify *Notify
	audit  *Audit
}

// Explain makes the plan of a spec without making anything on the host: what
// `cloche plan` shows. With a skip that is not negative it is the plan of Become,
// where nothing keeps Become from it. File descriptors have the numbers that they
// would have in a program with no others open.
func Explain(spec *Spec, skip int) (*Prepared, error) {
	pr, err := decide(spec, false)
	if err != nil {
		return nil, err
	}
	if skip >= 0 && (spec.Manner != nil || CanBecome(spec)) {
		first := pr.input.StatusFD
		in := pr.inPlace([2]int{first, first + 1}, first+2, skip)
		for i := range pr.input.EntryFDs {
			pr.input.EntryFDs[i] = first + 3 + i
		}
		if pr.input.CgroupFD >= 0 {
			pr.input.CgroupFD = first + 3 + len(pr.input.EntryFDs)
		}
		pr.input.Standalone = &plan.Standalone{InPlace: in}
	}
	if err := pr.compile(); err != nil {
		return nil, err
	}
	pr.addNotes()
	return pr, nil
}

// Prepare decides everything, makes the cgroup, and the image.
func Prepare(spec *Spec) (*Prepared, error) {
	pr, err := decide(spec, true)
	if err != nil {
		return nil, err
	}
	m, known := recall(&pr.input)
	if !known {
		if err := pr.compile(); err != nil {
			return nil, err
		}
		if m.image, err = assemble(pr.Plan); err != nil {
			pr.discard()
			return nil, err
		}
		m.input, m.plan = pr.input, pr.Plan
	}
	pr.Plan, pr.image, pr.file = m.plan, m.image, m.file
	if pr.file == nil {
		if pr.file, err = imageFile(pr.image.ELF); err != nil {
			pr.discard()
			return nil, err
		}
	}
	if !known {
		if pr.file.shared {
			m.file = pr.file
		}
		keep(m)
	}
	pr.addNotes()
	return pr, nil
}

func assemble(p *plan.Plan) (*launcher.Image, error) {
	return launcher.Assemble(launcher.Program{GOARCH: p.GOARCH, Ops: p.Ops, OnFatal: p.OnFatal, Vars: len(p.VarNames)})
}

// compile makes the plan; a cgroup that was made for it goes when there is none.
func (pr *Prepared) compile() error {
	var err error
	if pr.Plan, err = plan.Compile(pr.input); err != nil {
		pr.discard()
		return err
	}
	return nil
}

// addNotes says what was left out, in a plan of its own: others may share the first.
func (pr *Prepared) addNotes() {
	p := *pr.Plan
	p.Notes = slices.Concat(p.Notes, pr.notes, pr.spec.Policy.Notes)
	pr.Plan = &p
}

// decide finds the facts and makes the cgroup, or, with create false, only
// decides about it. (Two goroutines for the two, which wait for the kernel both,
// took longer: waking a thread costs more than either.)
func decide(spec *Spec, create bool) (*Prepared, error) {
	pr := &Prepared{spec: spec}
	if err := pr.lookAround(); err != nil {
		return nil, err
	}
	group, notes, err := makeCgroup(spec, create)
	if err != nil {
		return nil, err
	}
	pr.group, pr.notes = group, append(pr.notes, notes...)
	pr.number(&pr.input)
	return pr, nil
}

// lookAround finds what a plan needs to know of the host.
func (pr *Prepared) lookAround() error {
	spec := pr.spec
	facts, err := host.Quick()
	if err != nil {
		return err
	}
	p := spec.Policy
	if p.Landlock == policy.LandlockRequire && facts.LandlockABI == 0 {
		return &plan.Error{Setting: "landlock require", Origin: p.Origins["landlock.mode"], Why: "this kernel has no Landlock, or it is not in its lsm= list", Fix: "switch it on, or ask for it where-available"}
	}
	if spec.Sequence != nil {
		facts.Stat(plan.SequencePaths(spec.Sequence)...)
	} else {
		statPaths(&facts, p)
	}

	in := plan.Input{Policy: p, Sequence: spec.Sequence, Manner: spec.Manner, Programs: spec.Programs, Facts: facts, ExtraFiles: len(spec.ExtraFiles), ControlFD: -1, CgroupFD: -1, Terminal: spec.Terminal}
	f, err := filterOf(p, &facts)
	if err != nil {
		return err
	}
	in.Filter, in.FilterFlags = f.prog, f.flags
	pr.notes = append(pr.notes, f.notes...)
	pr.notify = spec.Notify
	if spec.Audit {
		if spec.Notify != nil {
			return errors.New("an audit and a Notify can't be had together: the kernel allows one listener; leave one out")
		}
		if pr.audit, err = newAudit(p, &facts); err != nil {
			return err
		}
		in.Filter = nil // the audited one stands in for it
		pr.notify = &Notify{Profile: seccomp.Audited(pr.audit.profile), Archs: pr.audit.archs, Handle: pr.audit.handle}
	}
	if in.Notify, err = notifyPlan(pr.notify, facts.GOARCH); err != nil {
		return err
	}
	in.InitFilter = seccomp.InitProgram(facts.GOARCH, spec.Manner.Reports())
	pr.input = in
	return nil
}

// statPaths finds out what is at the paths that a policy names: what was there when
// it was used last, mostly.
func statPaths(facts *host.Facts, p *policy.Policy) {
	if before := recallPaths(p); before != nil && host.Unchanged(before) {
		facts.Paths = before
		return
	}
	facts.Stat(plan.SourcePaths(p)...)
	facts.FollowLinks(plan.LinkedSources(p, *facts)...)
	look, resolve := plan.TargetPaths(p, *facts)
	facts.Stat(resolve...)
	facts.Look(look...)
}

// number gives the descriptors beyond the command's own their numbers in the
// launcher, in the order in which files lists them.
func (pr *Prepared) number(in *plan.Input) {
	next := 3 + len(pr.spec.ExtraFiles)
	take := func() int { next++; return next - 1 }
	in.StatusFD = take()
	if in.HasTerminal() || in.Policy.User.Mode == policy.UserRanges || in.Notify != nil {
		in.ControlFD = take()
	}
	if pr.group != nil {
		in.HasCgroup = true
		for range pr.group.Entries() {
			in.EntryFDs = append(in.EntryFDs, take())
		}
		if pr.group.DirFD() >= 0 {
			in.CgroupFD = take()
		}
	}
}

// decided tells who wants to know.
func (pr *Prepared) decided() {
	if pr.spec.Decided == nil {
		return
	}
	var dirs []string
	if pr.group != nil {
		dirs = pr.group.Paths()
	}
	pr.spec.Decided(pr.Plan, dirs)
}

// discard takes back what was made for a sandbox that did not start.
func (pr *Prepared) discard() {
	if pr.group != nil {
		_ = pr.group.Remove()
		pr.group = nil
	}
}

// start makes the image of the plan and executes it.
func (pr *Prepared) start(ctx context.Context) (*Process, error) {
	spec := pr.spec
	defer pr.file.release()
	pr.decided()
	p := &Process{spec: spec, plan: pr.Plan, group: pr.group, index: pr.image.Ops, notify: pr.notify, audit: pr.audit}
	p.quiet = spec.Straight && pr.input.ControlFD < 0 && spec.OnStopped == nil
	var w *os.File
	var err error
	if p.status, w, err = p.statusPipe(); err != nil {
		return nil, fmt.Errorf("status pipe: %w", err)
	}
	files, done, err := pr.files(p, w, pr.file.fd)
	if err != nil {
		done()
		w.Close()
		p.closePipes()
		return nil, err
	}

	attr := &syscall.ProcAttr{Env: spec.Env, Files: files}
	path := "/proc/self/fd/" + strconv.Itoa(len(files)-1)
	p.started = time.Now()
	fork := func() { p.launcher, err = syscall.ForkExec(path, spec.Args, attr) }
	if spec.Parked || p.quiet {
		fork()
	} else {
		onStarter(fork)
	}
	done() // at once: an end that is held here never comes to its end of file
	w.Close()
	if err != nil {
		p.closePipes()
		return nil, startError(err, spec)
	}
	if p.output != nil {
		p.output.started()
	}
	p.watch(ctx)
	if p.control != nil && (pr.input.HasTerminal() || pr.notify != nil) {
		p.watchers.Go(p.receive)
	}
	if !p.quiet {
		err = p.await()
	}
	// The launcher was only there to make pid 1.
	for {
		if _, werr := syscall.Wait4(p.launcher, nil, 0, nil); werr != syscall.EINTR {
			break
		}
	}
	if p.quiet {
		err = p.awaitPID()
	}
	if err != nil {
		p.closePipes()
		return nil, err
	}
	return p, nil
}

// closePipes closes what the image and its supervisor talked over.
func (p *Process) closePipes() {
	p.status.Close()
	if p.control != nil {
		p.control.Close()
	}
}

// startError explains why the image could not even be executed.
func startError(err error, spec *Spec) error {
	if errors.Is(err, syscall.E2BIG) {
		n := 0
		for _, s := range slices.Concat(spec.Args, spec.Env) {
			n += len(s) + 1
		}
		return fmt.Errorf("exec: E2BIG: arguments and environment are %d bytes together (or one of them is over 128 KiB), more than the kernel takes; pass less, or put the data in a file", n)
	}
	if errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM) {
		return fmt.Errorf("starting the launcher image: %w: memory files may not be executed here (vm.memfd_noexec, or a security module); `cloche doctor` tells more", err)
	}
	return fmt.Errorf("starting the launcher image: %w", err)
}

// files is what the launcher inherits, by number: 0, 1, 2, the extra files, and
// what number counted, with the image itself last.
func (pr *Prepared) files(p *Process, status *os.File, memfd int) (fds []uintptr, done func(), err error) {
	spec := pr.spec
	var toClose []*os.File
	done = func() {
		for _, f := range toClose {
			f.Close()
		}
	}
	std := [3]*os.File{spec.Stdin, spec.Stdout, spec.Stderr}
	if limit := int64(spec.Policy.Output); limit > 0 {
		p.output = &outputMeter{limit: limit, over: func() { p.kill(Output, "max-output") }}
		for i := 1; i < 3; i++ {
			if spec.Terminal[i] {
				continue // counted where the terminal is read
			}
			if i == 2 && spec.Stderr == spec.Stdout && std[1] != nil {
				std[2] = std[1]
				continue
			}
			if std[i], err = p.output.pipe(std[i]); err != nil {
				return nil, done, err
			}
		}
	}
	var null *os.File
	for _, f := range std {
		if f == nil {
			if null == nil {
				if null, err = os.OpenFile(os.DevNull, os.O_RDWR, 0); err != nil {
					return nil, done, err
				}
				toClose = append(toClose, null)
			}
			f = null
		}
		fds = append(fds, f.Fd())
	}
	for _, f := range spec.ExtraFiles {
		fds = append(fds, f.Fd())
	}
	fds = append(fds, status.Fd())
	if pr.input.ControlFD >= 0 {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, done, os.NewSyscallError("socketpair", err)
		}
		p.control = os.NewFile(uintptr(pair[0]), "control")
		theirs := os.NewFile(uintptr(pair[1]), "control")
		toClose = append(toClose, theirs)
		fds = append(fds, theirs.Fd())
	}
	if pr.group != nil {
		for _, e := range pr.group.Entries() {
			fds = append(fds, uintptr(e.FD))
		}
		if pr.group.DirFD() >= 0 {
			fds = append(fds, uintptr(pr.group.DirFD()))
		}
	}
	return append(fds, uintptr(memfd)), done, nil
}
