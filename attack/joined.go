package attack

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/internal/supervise"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/sandbox"
)

// holderRole waits for the end of its stdin: the command of a sandbox that is only there
// to be joined.
const holderRole = "holder"

func hold() int {
	_, _ = os.Stdout.Write([]byte{'\n'})
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// holder is a sandbox to be joined.
type holder interface {
	// hold starts it; end ends it.
	hold(ctx context.Context, exe string) (t *sandbox.Target, end func(), err error)
}

// joined is a sandbox in which the attacker is not the first command, but one that joins,
// as by `cloche exec`.
type joined struct {
	holder
	env []string // the caller's beyond the program's own
}

func (s Sandboxed) hold(ctx context.Context, exe string) (t *sandbox.Target, end func(), err error) {
	first := sandbox.Command(ctx, s.Policy, exe, Arg, holderRole)
	first.Env = append(os.Environ(), s.Env...)
	first.Stderr = os.Stderr
	in, err := first.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	out, err := first.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := first.Start(); err != nil {
		return nil, nil, err
	}
	end = func() {
		in.Close()
		_ = first.Kill()
		_ = first.Wait()
	}
	if _, err = out.Read(make([]byte, 1)); err == nil {
		t, err = first.Target()
	}
	if err != nil {
		end()
		return nil, nil, err
	}
	return t, end, nil
}

// Run runs the attacker.
func (j joined) Run(ctx context.Context, argv []string, files []*os.File, stdout io.Writer) (Ended, error) {
	t, end, err := j.hold(ctx, argv[0])
	if err != nil {
		return Ended{}, err
	}
	defer end()
	c := sandbox.Join(ctx, t, argv[0], argv[1:]...)
	c.Stdout, c.ExtraFiles, c.Env = stdout, files, t.Policy.Environ(append(os.Environ(), j.env...))
	var words bytes.Buffer
	c.Stderr = &words
	err = c.Run()
	var e *sandbox.ExitError
	if !errors.As(err, &e) {
		return Ended{}, err
	}
	return Ended{Signal: e.Signal, Why: strings.TrimSpace(words.String())}, nil
}

// ExplainVariable is in the environment of who is to do what an image that joins could not.
const ExplainVariable = supervise.ExplainVariable

// joinedByImage is joined by the image that lies in a sandbox's record, which `cloche exec`
// executes before there is a Go runtime.
type joinedByImage joined

// ErrNotPlain is why an image is no way in.
var ErrNotPlain = errors.New("an image joins with plain commands alone")

// Run runs the attacker.
func (j joinedByImage) Run(ctx context.Context, argv []string, files []*os.File, stdout io.Writer) (Ended, error) {
	if len(files) > 0 {
		return Ended{}, ErrNotPlain
	}
	t, end, err := j.hold(ctx, argv[0])
	if err != nil {
		return Ended{}, err
	}
	defer end()
	image, err := imageToJoin(t, t.Policy.Environ(append(os.Environ(), j.env...)))
	if err != nil {
		return Ended{}, err
	}
	defer image.Close()
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		return Ended{}, err
	}
	defer exe.Close()
	const imageFD = plan.PreludeExeFD - 1
	cmd := exec.CommandContext(ctx, "/proc/self/fd/"+strconv.Itoa(imageFD))
	cmd.Args = append([]string{"cloche", "exec", "name", "--"}, argv...)
	cmd.ExtraFiles = make([]*os.File, plan.PreludeExeFD-2)
	cmd.ExtraFiles[imageFD-3], cmd.ExtraFiles[plan.PreludeExeFD-3] = image, exe
	cmd.Stdout = stdout
	var words bytes.Buffer
	cmd.Stderr = &words
	err = cmd.Run()
	var e *exec.ExitError
	if !errors.As(err, &e) {
		return Ended{}, err
	}
	ended := Ended{Why: strings.TrimSpace(words.String())}
	if code := e.ExitCode(); code > 128 && code <= 128+64 {
		ended.Signal = syscall.Signal(code - 128)
	}
	return ended, nil
}

// imageToJoin is the image in a memory file.
func imageToJoin(t *sandbox.Target, env []string) (*os.File, error) {
	fd, err := unix.PidfdOpen(t.PID, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	dirs, err := cgroup.Of(t.PID)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, d := range dirs {
			d.Close()
		}
	}()
	p := t.Policy.Clone()
	p.Terminal = policy.TerminalNever
	image, err := supervise.JoinImage(&supervise.JoinSpec{Spec: supervise.Spec{Policy: p, Env: env}, PID: t.PID, Pidfd: fd, Landlock: t.Landlock}, dirs)
	if err != nil {
		return nil, err
	}
	if image == nil {
		return nil, ErrNotPlain
	}
	fd, err = unix.MemfdCreate("cloche", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "image")
	_, err = f.Write(image)
	return f, err
}

// JoiningByImage is Joining by an image.
func (a *Attack) JoiningByImage(ctx context.Context, p *policy.Policy) (Outcome, error) {
	return a.joining(ctx, p, func(s Sandboxed) Box { return joinedByImage{s, s.Env} })
}

// Joining is Under for an attacker that joins a sandbox which is there already. It must be
// confined no less than that sandbox's first command.
func (a *Attack) Joining(ctx context.Context, p *policy.Policy) (Outcome, error) {
	return a.joining(ctx, p, func(s Sandboxed) Box { return joined{s, s.Env} })
}

func (a *Attack) joining(ctx context.Context, p *policy.Policy, join func(Sandboxed) Box) (Outcome, error) {
	out, err := a.try(ctx, func(o *Outside) (Box, error) {
		b, err := SandboxOf(p, o, slices.Concat(a.Limits, a.Given))
		if s, ok := b.(Sandboxed); ok {
			b = join(s)
		}
		return b, err
	}, p)
	if err != nil && len(a.Limits) > 0 {
		out.Verdict, out.Detail, err = NotTried, err.Error(), nil
	}
	return out, err
}
