package supervise

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/launcher"
	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/policy"
)

// ExplainVariable is plan.ExplainVariable, for front ends.
const ExplainVariable = plan.ExplainVariable

// CanBecome reports whether nothing in spec needs a Go program beside the
// sandbox: no terminal, no meter, no clock, no reading of what was used.
func CanBecome(spec *Spec) bool {
	p, times := spec.Policy, spec.Policy.Time
	others := p.Limits // than of processes, which nobody has to watch
	others.Drop("pids")
	if spec.Tell {
		others, times = policy.Limits{}, policy.TimeLimits{} // nobody waits to be told of the others, and the launcher keeps these
	}
	return spec.Terminal == [3]bool{} && p.Output == 0 && times == (policy.TimeLimits{}) && len(others.Set()) == 0 &&
		p.User.Mode != policy.UserRanges && spec.Notify == nil && !spec.Audit && len(spec.ExtraFiles) == 0 && p.Unshare.PID
}

// Become executes the sandbox's image in place of the calling program, whose
// arguments are argv with the command's own from skip on. It returns only when
// that is not possible; then nothing is left behind. What goes wrong afterwards
// is explained by the same program, started again with the same arguments and
// plan.ExplainVariable set: see Unexplained.
func Become(spec *Spec, argv []string, skip int) error {
	pr, err := decide(spec, true)
	if err != nil {
		return err
	}
	err = pr.become(argv, skip)
	pr.discard()
	return err
}

func (pr *Prepared) become(argv []string, skip int) error {
	var pipe [2]int
	how := unix.O_CLOEXEC | unix.O_NONBLOCK
	if pr.spec.Manner != nil {
		how = unix.O_CLOEXEC // the launcher waits for what comes by it
	}
	if err := unix.Pipe2(pipe[:], how); err != nil {
		return os.NewSyscallError("pipe2", err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	exe, err := unix.Open("/proc/self/exe", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening this program's own file: %w", os.NewSyscallError("open", err))
	}
	defer unix.Close(exe)
	in := pr.inPlace(pipe, exe, skip)
	im, err := pr.assembleInPlace(in)
	if err != nil {
		return err
	}
	pr.decided()
	file, err := imageFile(im.ELF)
	if err != nil {
		return err
	}
	defer file.release()

	keep := []int{pipe[0], pipe[1], exe}
	keep = append(keep, pr.input.EntryFDs...)
	for _, fd := range [...]int{pr.input.CgroupFD, in.CPUTimeFD} {
		if fd >= 0 {
			keep = append(keep, fd)
		}
	}
	for _, fd := range keep {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return os.NewSyscallError("fcntl", err)
		}
	}
	err = syscall.Exec("/proc/self/fd/"+strconv.Itoa(file.fd), argv, pr.spec.Env)
	return startError(err, pr.spec)
}

// inPlace is the plan's part about executing in place. When a failure is looked
// up afterwards the numbers differ and the operations are the same.
func (pr *Prepared) inPlace(pipe [2]int, exe, skip int) *plan.InPlace {
	in := &plan.InPlace{ArgvSkip: skip, ReadFD: pipe[0], ExeFD: exe, Env: os.Environ(), Tell: pr.spec.Tell, CPUTimeFD: -1, CPUs: runtime.NumCPU()}
	in.Env = slices.DeleteFunc(in.Env, func(kv string) bool { return strings.HasPrefix(kv, plan.ExplainVariable+"=") })
	pr.input.StatusFD = pipe[1]
	if pr.group != nil {
		in.Remove, in.CPUTimeFD = pr.group.Paths(), pr.group.CPUTimeFD()
		for i, e := range pr.group.Entries() {
			pr.input.EntryFDs[i] = e.FD
		}
		if pr.input.CgroupFD >= 0 {
			pr.input.CgroupFD = pr.group.DirFD()
		}
	}
	return in
}

func (pr *Prepared) assembleInPlace(in *plan.InPlace) (*launcher.Image, error) {
	pr.input.Standalone = &plan.Standalone{InPlace: in}
	if err := pr.compile(); err != nil {
		return nil, err
	}
	return assemble(pr.Plan)
}

// Unexplained is what a sandbox that was executed in place wants explained.
type Unexplained struct {
	Op       int // the image's operation that failed
	Errno    syscall.Errno
	ExitCode int    // of the command, as a shell says it; 125 when it did not run; 0: see Again
	Told     bool   // the report was asked for, whatever the end was: Spec.Tell
	Reason   Reason // WallTime or CPUTime, where the launcher ended it; else Exited
}

// Again reports whether there is nothing to explain: a prelude could not make the
// sandbox, took everything back, and wants it made as if there were no prelude.
func (u Unexplained) Again() bool { return u.ExitCode == 0 && !u.Told }

// ParseUnexplained reads plan.ExplainVariable's value. It ends with the pid of
// the image, which is that of the program that it executes to explain: what was
// inherited from somewhere else, or made up, is not ok.
func ParseUnexplained(s string) (u Unexplained, ok bool) {
	var n [4]int
	for i := range n {
		word, rest, more := strings.Cut(s, ":")
		v, err := strconv.ParseUint(word, 10, 31)
		if err != nil || more != (i < len(n)-1) {
			return u, false
		}
		n[i], s = int(v), rest
	}
	reasons := [...]Reason{Exited, Exited, WallTime, CPUTime}
	told := n[2] / plan.ToldBase
	if n[3] != os.Getpid() || told >= len(reasons) {
		return u, false
	}
	return Unexplained{Op: n[0], Errno: syscall.Errno(n[1]), ExitCode: n[2] % plan.ToldBase, Told: told > 0, Reason: reasons[told]}, true
}

// Failure finds the words for u by making spec's plan once more; nil when no
// operation failed.
func (u Unexplained) Failure(spec *Spec, skip int) error {
	if u.Errno == 0 {
		return nil
	}
	pr, err := decide(spec, false)
	if err != nil {
		return err
	}
	im, err := pr.assembleInPlace(pr.inPlace([2]int{}, 0, skip))
	if err != nil {
		return err
	}
	i := -1
	if u.Op < len(im.Ops) {
		i = im.Ops[u.Op]
	}
	f := explain(pr.Plan, i, u.Errno)
	return &SetupError{Failure: f, Err: f}
}
