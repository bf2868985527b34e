package cli

import (
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/program"
	"github.com/cloche-sandbox/cloche/policy"
)

// stillborn is for a command that the kernel killed while it loaded it, which
// looks like any other death by a signal: what is wrong with its file, or which
// limit leaves it no room. The exit status is then that of a command that can't
// be executed; where nothing shows, message is "".
func stillborn(p *policy.Policy, inv *invocation, code int) (status int, message string) {
	switch unix.Signal(code - 128) {
	case unix.SIGSEGV, unix.SIGBUS, unix.SIGKILL:
	default:
		return code, ""
	}
	v, err := insideOf(p, inv)
	if err != nil {
		return code, ""
	}
	name := inv.args[0]
	s := &search{v: v, inside: pathOf(v.p.Environ(os.Environ()))}
	n := s.find(name)
	for range maxInterpreters {
		if n == nil || n.hostPath == "" {
			return code, ""
		}
		next, what := interpreterOf(v.host, n.hostPath)
		if what != "script interpreter" || !path.IsAbs(next) {
			break
		}
		name = next
		n, _ = v.walk(next)
	}
	e := elfAt(v.host, n)
	if e == nil {
		return code, ""
	}
	if d := e.Damage(); d != "" {
		return exitCannotExec, clip(name) + ": " + d + "; copy it again, or build it again"
	}
	all, writable := e.Memory()
	if i := e.Interpreter(); i != "" {
		if l, err := v.walk(i); err == nil {
			if loader := elfAt(v.host, l); loader != nil {
				a, w := loader.Memory()
				all, writable = all+a, writable+w
			}
		}
	}
	for _, need := range [...]struct {
		rlimit string
		bytes  uint64
	}{{"as", all}, {"data", writable}} {
		if r, ok := p.Rlimits[need.rlimit]; ok && r.Soft < need.bytes {
			return exitCannotExec, clip(name) + ": loading it takes " + policy.Size(need.bytes).String() + " of rlimits." + need.rlimit + ", which is " +
				policy.Size(r.Soft).String() + from(p, "rlimits."+need.rlimit) + "; raise it"
		}
	}
	// Below this there may be no room for the arguments and the environment.
	const smallStack = 64 << 10
	if r, ok := p.Rlimits["stack"]; ok && r.Soft < smallStack {
		return code, clip(name) + ": it was killed, and rlimits.stack is " + policy.Size(r.Soft).String() + from(p, "rlimits.stack") + ", which few programs can start in; raise it"
	}
	return code, ""
}

func elfAt(h hostFS, n *node) *program.ELF {
	if n == nil || n.hostPath == "" {
		return nil
	}
	f, err := h.open(n.hostPath)
	if err != nil {
		return nil
	}
	// It stays open for what is read of it later; the program is about to end.
	return program.ReadELF(f)
}

// tooSmallToStart names the limits that may have kept the set-up itself from
// coming to its end, for an error that can't tell; or "".
func tooSmallToStart(p *policy.Policy, errno unix.Errno) string {
	const memory, files, moment = 1 << 20, 16, 100 * time.Millisecond
	switch {
	case errno == unix.EMFILE:
		if r, ok := p.Rlimits["nofile"]; ok && r.Soft < files {
			return "; rlimits.nofile leaves no room for the set-up" + from(p, "rlimits.nofile") + ": give at least 16"
		}
	case errno != 0:
	case p.Limits.Memory != 0 && p.Limits.Memory < memory:
		return "; limits.memory is " + p.Limits.Memory.String() + from(p, "limits.memory") + ": give at least 1M"
	case p.Time.Wall != 0 && p.Time.Wall < moment:
		return "; time.wall is " + policy.FormatDuration(p.Time.Wall) + from(p, "time.wall") + ": give at least 100ms"
	case p.Time.CPU != 0 && p.Time.CPU < moment:
		return "; time.cpu is " + policy.FormatDuration(p.Time.CPU) + from(p, "time.cpu") + ": give at least 100ms"
	}
	return ""
}
