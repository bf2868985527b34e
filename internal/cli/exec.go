package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
	"github.com/cloche-sandbox/cloche/internal/named"
	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/internal/supervise"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/sandbox"
)

// Exec is `cloche exec`.
type Exec struct {
	Interactive, TTY bool
	User, Cwd        string
	Env              []string
	PID              int // instead of a name; 0: a name is given
}

// Run carries it out: args are the name, where no pid is given, and the command.
func (x *Exec) Run(args []string) error {
	if x.PID == 0 && len(args) == 0 {
		return errors.New("exec: name a sandbox: cloche exec NAME -- CMD, or any container's process: cloche exec --pid PID -- CMD")
	}
	var t *sandbox.Target
	var s *named.Sandbox
	var env []string
	var err error
	if x.PID != 0 {
		t, env, err = x.process()
	} else {
		t, s, err = joinNamed(args[0])
		args = args[1:]
	}
	if err != nil {
		return fmt.Errorf("exec: %w", err)
	}
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 || args[0] == "" {
		return errors.New("exec: no command; write it after the name: cloche exec NAME -- CMD [ARGS]")
	}
	if s != nil {
		env = s.Env
	}
	if err := x.change(t); err != nil {
		return fmt.Errorf("exec: %w", err)
	}
	for _, n := range t.Notes {
		complain("exec: " + n)
	}
	cmd := sandbox.Join(context.Background(), t, args[0], args[1:]...)
	set := x.Env
	if x.TTY {
		set = append([]string{"TERM"}, set...) // the terminal is the caller's, and so is its kind
	}
	if cmd.Env, err = withVariables(env, set); err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if x.Interactive || x.TTY {
		cmd.Stdin = os.Stdin
	}
	return follow(cmd, args[0], x.TTY, func() {
		if s != nil && x.plain() {
			keepJoin(s, t.Policy)
		}
	})
}

// plain reports whether no flag was given.
func (x *Exec) plain() bool {
	return !x.Interactive && !x.TTY && x.User == "" && x.Cwd == "" && len(x.Env) == 0 && x.PID == 0
}

// keepJoin makes the image that the next plain `cloche exec` joins the sandbox with, before there is
// a Go runtime. Without a prelude nobody would.
func keepJoin(s *named.Sandbox, p *policy.Policy) {
	if !supervise.HasPrelude() {
		return
	}
	command, err := s.Command()
	if err != nil {
		return
	}
	fd, err := command.Open()
	if err != nil {
		return
	}
	defer unix.Close(fd)
	dirs, err := cgroup.Of(command.Pid)
	if err != nil {
		return
	}
	spec := &supervise.JoinSpec{Spec: supervise.Spec{Policy: p, Env: s.Env}, PID: command.Pid, Pidfd: fd, Landlock: s.Landlock}
	image, err := supervise.JoinImage(spec, dirs)
	for _, d := range dirs {
		d.Close()
	}
	if err == nil && image != nil {
		s.KeepJoin(image)
	}
}

// joinNamed is a sandbox that runs.
func joinNamed(name string) (*sandbox.Target, *named.Sandbox, error) {
	s, err := named.Find(name)
	if err != nil {
		return nil, nil, err
	}
	command, err := s.Command()
	if err != nil {
		return nil, nil, err
	}
	p, err := s.Policy()
	if err != nil {
		return nil, nil, err
	}
	return &sandbox.Target{PID: command.Pid, Policy: p, Landlock: s.Landlock}, s, nil
}

func (x *Exec) process() (*sandbox.Target, []string, error) {
	t, err := sandbox.OfProcess(x.PID)
	if err != nil {
		return nil, nil, err
	}
	text, err := os.ReadFile("/proc/" + strconv.Itoa(x.PID) + "/environ")
	if err != nil {
		return nil, nil, fmt.Errorf("the environment of process %d: %w", x.PID, err)
	}
	return t, strings.FieldsFunc(string(text), func(r rune) bool { return r == 0 }), nil
}

// change applies the flags, none of which may leave the command with more than the
// sandbox's own has.
func (x *Exec) change(t *sandbox.Target) error {
	p := t.Policy.Clone()
	p.Terminal = policy.TerminalNever
	if x.TTY {
		p.Terminal = policy.TerminalAlways
	}
	if x.Cwd != "" {
		if !strings.HasPrefix(x.Cwd, "/") {
			return fmt.Errorf("--cwd %s: write the whole path inside, beginning with /", clip(x.Cwd))
		}
		p.Cwd = x.Cwd
	}
	if x.User != "" {
		uid, gid, err := userInside(t.PID, x.User)
		if err != nil {
			return fmt.Errorf("--user %s: %w", clip(x.User), err)
		}
		own, err := sandbox.OfProcess(t.PID)
		if err != nil {
			return err
		}
		if was := own.Policy.User; was.UID != 0 && (uid != was.UID || gid != was.GID) {
			return fmt.Errorf("--user %s: the sandbox's own command is user %d, group %d, and what joins is never more than that; start the sandbox as root inside (--map-root, or --user ranges) to have others in it", clip(x.User), was.UID, was.GID)
		}
		p.User = policy.User{Mode: policy.UserSingle, UID: uid, GID: gid}
	}
	t.Policy = p
	return nil
}

// userInside resolves UID[:GID] or a name, by the files of the sandbox.
func userInside(pid int, spec string) (uid, gid uint32, err error) {
	user, group, hasGroup := strings.Cut(spec, ":")
	if n, err := strconv.ParseUint(user, 10, 32); err == nil {
		uid = uint32(n)
		gid = uid
		if fields := lookUp(pid, "etc/passwd", 2, user); fields != nil {
			if n, err := strconv.ParseUint(fields[3], 10, 32); err == nil {
				gid = uint32(n)
			}
		}
	} else {
		fields := lookUp(pid, "etc/passwd", 0, user)
		if fields == nil {
			return 0, 0, errors.New("the sandbox's /etc/passwd has no such user; give a number: --user UID:GID")
		}
		u, err1 := strconv.ParseUint(fields[2], 10, 32)
		g, err2 := strconv.ParseUint(fields[3], 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return 0, 0, fmt.Errorf("the line of the sandbox's /etc/passwd is damaged: %w", err)
		}
		uid, gid = uint32(u), uint32(g)
	}
	if !hasGroup {
		return uid, gid, nil
	}
	if fields := lookUp(pid, "etc/group", 0, group); fields != nil {
		group = fields[2]
	}
	n, err := strconv.ParseUint(group, 10, 32)
	if err != nil {
		return 0, 0, errors.New("the sandbox's /etc/group has no such group; give a number: --user UID:GID")
	}
	return uid, uint32(n), nil
}

// lookUp is the line of passwd(5) or group(5) whose field is value. The file is the sandbox's:
// it is followed no further than its root.
func lookUp(pid int, file string, field int, value string) []string {
	root, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(root)
	fd, err := unix.Openat2(root, file, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return nil
	}
	f := os.NewFile(uintptr(fd), file)
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > maxPolicyFile {
		return nil
	}
	text, err := readFile("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(fields) >= 4 && fields[field] == value {
			return fields
		}
	}
	return nil
}

// withVariables sets variables of an environment; a name alone takes the caller's value.
func withVariables(env, set []string) ([]string, error) {
	for _, kv := range set {
		name, _, hasValue := strings.Cut(kv, "=")
		if name == "" || strings.ContainsRune(kv, 0) {
			return nil, fmt.Errorf("exec: --env %q: write NAME=VALUE, or NAME for your own value", clip(kv))
		}
		if !hasValue {
			value, ok := os.LookupEnv(name)
			if !ok {
				continue
			}
			kv = name + "=" + value
		}
		var rest []string
		for _, old := range env {
			if !strings.HasPrefix(old, name+"=") {
				rest = append(rest, old)
			}
		}
		env = append(rest, kv)
	}
	return env, nil
}

// follow runs a command that joins to its end; the error has its exit status. Meanwhile it
// does what started says.
func follow(cmd *sandbox.Cmd, name string, terminal bool, started func()) error {
	runtime.LockOSThread() // the command ends with the thread that starts it
	cmd.Parked = true
	forward := catchSignals(terminal)
	if err := cmd.Start(); err != nil {
		forward.giveUp()
		return joinFailure(name, err)
	}
	forward.to(cmd)
	started()
	err := cmd.Wait()
	forward.stop()
	var ee *sandbox.ExitError
	if err != nil && !errors.As(err, &ee) {
		return joinFailure(name, err)
	}
	if r := cmd.Result(); r.ExitCode != 0 {
		return &exitError{code: r.ExitCode}
	}
	return nil
}

// joinFailure gives a command that never ran the exit status that a shell would.
func joinFailure(name string, err error) error {
	var se *supervise.SetupError
	if errors.As(err, &se) && se.Failure != nil && se.Failure.Step.Kind == plan.KindExec {
		f := *se.Failure
		f.Step.Name = clip(name)
		code := exitCannotExec
		if f.Errno == unix.ENOENT {
			code = exitNotFound
		}
		return &exitError{code: code, err: &f}
	}
	return fmt.Errorf("exec: %w", err)
}
