package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/internal/supervise"
	"github.com/cloche-sandbox/cloche/policy"
)

// Target is a sandbox or a container that runs, for a command that is to join it.
type Target struct {
	// PID is a process inside, by its number outside.
	PID int
	// Policy is what the command that joins is confined to; its paths are those inside. Of a
	// sandbox it is the sandbox's own, of a process of another's what OfProcess found.
	// Its mounts and namespaces are there already, its limits are the cgroup's.
	Policy *policy.Policy
	// Landlock holds the rules that the sandbox's own command was given.
	Landlock []LandlockRule
	// Notes say what of the confinement inside can't be had again.
	Notes []string
}

// LandlockRule allows rights (LANDLOCK_ACCESS_FS_*, landlock(7)) below a path inside.
type LandlockRule = plan.LandlockPath

// Target is the sandbox of a command that runs, to be joined by others.
func (c *Cmd) Target() (*Target, error) {
	if c.proc == nil {
		return nil, errors.New("sandbox: not started")
	}
	if c.joining != nil {
		return c.joining, nil
	}
	pid, err := c.proc.Command()
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	p, rules := c.proc.Made()
	return &Target{PID: pid, Policy: p, Landlock: rules}, nil
}

// decided tells of a sandbox that is about to be made.
func (c *Cmd) decided(pl *plan.Plan, dirs []string) {
	c.Decided(&Target{Policy: pl.Policy, Landlock: pl.Landlock}, dirs)
}

// OfProcess finds out how a process is confined, whoever made its container. A
// command that joins gets the namespaces, the root and the cgroups, the ids, the capabilities
// and no more resources than the process. A filter and a Landlock domain can't be read back:
// where there is a filter the command gets Docker's, and the notes say so.
func OfProcess(pid int) (*Target, error) {
	status, err := readStatus(pid)
	if err != nil {
		return nil, err
	}
	p := policy.New()
	p.Name = "of process " + strconv.Itoa(pid)
	p.Terminal = policy.TerminalAuto
	t := &Target{PID: pid, Policy: p}
	uid, gid, err := insideIDs(pid, status)
	if err != nil {
		return nil, err
	}
	p.User = policy.User{Mode: policy.UserSingle, UID: uid, GID: gid}
	permitted, err := strconv.ParseUint(status["CapPrm"], 16, 64)
	if err != nil {
		return nil, fmt.Errorf("process %d: capabilities in /proc: %w", pid, err)
	}
	bounding, err := strconv.ParseUint(status["CapBnd"], 16, 64)
	if err != nil {
		return nil, fmt.Errorf("process %d: capabilities in /proc: %w", pid, err)
	}
	p.Capabilities = plan.CapabilityNames(permitted & bounding)
	p.Landlock, p.Seccomp = policy.LandlockOff, "none"
	if status["Seccomp"] != "0" && status["Seccomp"] != "" {
		p.Seccomp = "docker"
		t.Notes = append(t.Notes, "its seccomp filter can't be read back: the command gets the profile docker instead")
	}
	p.Cwd = "/"
	if dir, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/cwd"); err == nil && strings.HasPrefix(dir, "/") && !strings.HasSuffix(dir, " (deleted)") {
		p.Cwd = dir
	}
	p.Rlimits = noMoreThan(pid)
	return t, nil
}

// readStatus is /proc/PID/status by its keys.
func readStatus(pid int) (map[string]string, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return nil, fmt.Errorf("process %d: there is none: %w", pid, os.ErrProcessDone)
	}
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	status := map[string]string{}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		status[key] = strings.TrimSpace(value)
	}
	if strings.HasPrefix(status["State"], "Z") || strings.HasPrefix(status["State"], "X") {
		return nil, fmt.Errorf("process %d: %w", pid, os.ErrProcessDone)
	}
	return status, nil
}

// insideIDs are the ids of a process as its own user namespace has them.
func insideIDs(pid int, status map[string]string) (uid, gid uint32, err error) {
	for _, w := range []struct {
		key, file string
		to        *uint32
	}{{"Uid", "uid_map", &uid}, {"Gid", "gid_map", &gid}} {
		fields := strings.Fields(status[w.key])
		if len(fields) < 2 {
			return 0, 0, fmt.Errorf("process %d: no ids in /proc", pid)
		}
		id, err := strconv.ParseUint(fields[1], 10, 32)
		if err != nil {
			return 0, 0, fmt.Errorf("process %d: ids in /proc: %w", pid, err)
		}
		text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/" + w.file)
		if err != nil {
			return 0, 0, fmt.Errorf("process %d: %w", pid, err)
		}
		inside, ok := mappedBack(string(text), id)
		if !ok {
			return 0, 0, fmt.Errorf("process %d: its id %d is not mapped in its own user namespace; name another process of the same container", pid, id)
		}
		*w.to = inside
	}
	return uid, gid, nil
}

// mappedBack finds an id in a map as this user namespace sees it, user_namespaces(7).
func mappedBack(text string, id uint64) (uint32, bool) {
	for line := range strings.Lines(text) {
		var n [3]uint64
		f := strings.Fields(line)
		if len(f) != len(n) {
			continue
		}
		for i := range n {
			n[i], _ = strconv.ParseUint(f[i], 10, 64)
		}
		if id >= n[1] && id-n[1] < n[2] {
			return uint32(n[0] + id - n[1]), true
		}
	}
	return 0, false
}

// resources are those of getrlimit(2), by the names of a policy.
var resources = [...]struct {
	name string
	n    int
}{
	{"as", unix.RLIMIT_AS},
	{"core", unix.RLIMIT_CORE},
	{"cpu", unix.RLIMIT_CPU},
	{"data", unix.RLIMIT_DATA},
	{"fsize", unix.RLIMIT_FSIZE},
	{"locks", unix.RLIMIT_LOCKS},
	{"memlock", unix.RLIMIT_MEMLOCK},
	{"msgqueue", unix.RLIMIT_MSGQUEUE},
	{"nofile", unix.RLIMIT_NOFILE},
	{"nproc", unix.RLIMIT_NPROC},
	{"rss", unix.RLIMIT_RSS},
	{"sigpending", unix.RLIMIT_SIGPENDING},
	{"stack", unix.RLIMIT_STACK},
}

// noMoreThan are the resource limits of a process where they are lower than the caller's.
func noMoreThan(pid int) map[string]policy.Rlimit {
	limits := map[string]policy.Rlimit{}
	for _, r := range resources {
		var its, own unix.Rlimit
		if unix.Prlimit(pid, r.n, nil, &its) != nil || unix.Prlimit(0, r.n, nil, &own) != nil {
			continue
		}
		hard := min(its.Max, own.Max)
		if its.Cur < own.Cur || hard < own.Max {
			limits[r.name] = policy.Rlimit{Soft: min(its.Cur, hard), Hard: hard}
		}
	}
	return limits
}

// Join returns a Cmd that runs name with args in a sandbox that runs: in its namespaces,
// root and cgroups, confined by the target's policy. A Landlock domain can't be
// joined: the command gets an equal one, so it and the sandbox's other processes can
// neither trace nor (Landlock ABI 6) signal each other.
func Join(ctx context.Context, t *Target, name string, args ...string) *Cmd {
	return &Cmd{ctx: ctx, Policy: t.Policy, Args: append([]string{name}, args...), joining: t}
}

// start is supervise.Start for a command that joins.
func (t *Target) start(ctx context.Context, spec *supervise.Spec) (*supervise.Process, error) {
	fd, err := unix.PidfdOpen(t.PID, 0)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w: %w", t.PID, err, os.ErrProcessDone)
	}
	defer unix.Close(fd)
	j := &supervise.JoinSpec{Spec: *spec, PID: t.PID, Pidfd: fd, Landlock: t.Landlock, Cgroup: -1}
	dirs, err := cgroup.Of(t.PID)
	if err != nil {
		return nil, fmt.Errorf("the cgroup of process %d: %w", t.PID, err)
	}
	defer func() {
		for _, d := range dirs {
			d.Close()
		}
		for _, fd := range j.Entries {
			unix.Close(fd)
		}
	}()
	for _, d := range dirs {
		if frozen, err := d.Frozen(); err == nil && frozen {
			return nil, fmt.Errorf("%w: a command that joined would not run; resume it first", ErrPaused)
		}
		if d.V2 && cgroup.CloneInto() {
			j.Cgroup = d.FD()
			continue
		}
		e, err := d.Entry()
		if err != nil {
			return nil, err
		}
		j.Entries = append(j.Entries, e.FD)
	}
	return supervise.Join(ctx, j)
}

// ErrPaused is why a command can't join: the sandbox is frozen.
var ErrPaused = errors.New("the sandbox is paused")

// joinSpec is the internal form of a command that joins.
func (c *Cmd) joinSpec() (*supervise.Spec, error) {
	if c.Audit || c.Notify != nil {
		return nil, errors.New("sandbox: a command that joins can't have Audit or Notify: run it in a sandbox of its own")
	}
	env := c.Env
	if env == nil {
		env = c.Policy.Environ(nil)
	}
	return &supervise.Spec{Policy: c.Policy, Args: c.Args, Env: env, ExtraFiles: c.ExtraFiles, Parked: c.Parked}, nil
}
