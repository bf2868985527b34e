package bwrap

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/policy"
)

// TOML is the policy for `cloche run` that says what a command line says, as far as a policy
// can: its entries have no order, and what lies in the root of its own is read-only. What
// is said in other words, or can't be, is told in comments before it.
func (s *Sandbox) TOML() ([]byte, error) {
	p, notes := s.Fold()
	var b strings.Builder
	b.WriteString("# What bwrap was asked for, as a policy for cloche run --policy FILE -- CMD.\n")
	for _, n := range notes {
		b.WriteString("# - " + strings.Map(plain, n) + "\n")
	}
	b.WriteByte('\n')
	b.Write(policy.Format(p))
	return []byte(b.String()), nil
}

func plain(r rune) rune {
	if r < ' ' || r == 0x7f {
		return '?'
	}
	return r
}

// folder turns acts, each done to what those before it left, into entries, of which the last
// for a path counts and a directory comes before what lies in it.
type folder struct {
	p     *policy.Policy
	notes []string
}

// Fold is the policy, and what it does not say.
func (s *Sandbox) Fold() (*policy.Policy, []string) {
	f := &folder{p: s.Policy.Clone()}
	f.p.Init = true
	for i := range s.Acts {
		f.act(&s.Acts[i])
	}
	if !f.p.Unshare.PID && slices.ContainsFunc(s.Acts, func(a plan.Act) bool { return a.Kind == plan.ActProc }) {
		f.p.Mounts = slices.DeleteFunc(f.p.Mounts, func(m policy.Mount) bool { return m.Kind == policy.Proc })
		f.note("--proc without --unshare-pid shows the host's /proc; a policy's proc needs a pid namespace: it is left out")
	}
	if len(s.Manner.CwdElse) > 0 {
		f.note("the command starts where it was called from; cwd is that place now")
	}
	for _, c := range [...]struct {
		is   bool
		what string
	}{
		{s.Manner.Report != nil || s.Manner.Status != nil, "--info-fd and --json-status-fd: cloche run has --result"},
		{s.Manner.BlockFD >= 0 || s.Manner.IDsFD >= 0, "--block-fd and --userns-block-fd: nothing waits in cloche run"},
		{len(s.Manner.Held) > 0 || len(s.Manner.Locks) > 0, "--sync-fd and --lock-file: left out"},
		{s.Manner.UserNamespace >= 0 || s.Manner.PIDNamespace >= 0, "--userns, --userns2 and --pidns: a policy makes its namespaces"},
		{s.Manner.NoUserNamespaces, "--disable-userns: seccomp profile default refuses user namespaces, set below"},
		{!s.Manner.NewSession, "without --new-session the command shares the caller's terminal; cloche run gives it a session, and a terminal of its own where stdin is one"},
		{!s.Manner.DieWithParent, "without --die-with-parent the sandbox may outlive its caller; one of cloche run never does"},
		{s.Manner.Argv0 != nil, "--argv0: left out"},
	} {
		if c.is {
			f.note(c.what)
		}
	}
	if s.Manner.NoUserNamespaces && f.p.Seccomp == "none" {
		f.p.Seccomp = "default"
	}
	if s.Manner.KeepCapabilities {
		f.p.Capabilities = nil
		f.note("capabilities of the caller, root, are not kept; name those that are needed in capabilities")
	}
	f.environment(s)
	return f.p, f.notes
}

func (f *folder) note(s string) {
	if !slices.Contains(f.notes, s) {
		f.notes = append(f.notes, s)
	}
}

// environment is what differs from keeping all.
func (f *folder) environment(s *Sandbox) {
	f.p.Env = policy.Env{Inherit: true, Set: maps.Clone(s.setEnv), Unset: slices.Clone(s.unsetEnv)}
	if s.clearEnv {
		f.p.Env.Inherit, f.p.Env.Unset = false, nil
	}
}

// put adds an entry; those below it, which it covers, go.
func (f *folder) put(m policy.Mount) {
	f.p.Mounts = slices.DeleteFunc(f.p.Mounts, func(o policy.Mount) bool {
		return o.Path == m.Path || m.Path == "/" || strings.HasPrefix(o.Path, m.Path+"/")
	})
	f.p.Mounts = append(f.p.Mounts, m)
}

// over is the entry in whose tree a path lies.
func (f *folder) over(name string) *policy.Mount {
	var best *policy.Mount
	for i := range f.p.Mounts {
		m := &f.p.Mounts[i]
		if m.Path == "/" || m.Path == name || strings.HasPrefix(name, m.Path+"/") {
			if best == nil || len(m.Path) > len(best.Path) {
				best = m
			}
		}
	}
	return best
}

func (f *folder) act(a *plan.Act) {
	name := path.Clean("/" + a.Dest)
	m := policy.Mount{Path: name, Origin: a.Origin}
	switch a.Kind {
	case plan.ActBind:
		m.Kind, m.Source, m.Optional = policy.Write, a.Source, a.Optional
		if a.ReadOnly {
			m.Kind = policy.Read
		}
		if m.Source == name {
			m.Source = ""
		}
		if strings.HasPrefix(a.Source, "/proc/self/fd/") {
			f.note(a.Origin + ": a policy names paths; write the descriptor's in place of " + a.Source)
		}
		if a.Devices && a.Source != "/dev" && !strings.HasPrefix(a.Source, "/dev/") {
			f.note(a.Origin + ": devices can be opened below /dev alone")
		}
	case plan.ActTmpfs:
		m.Kind, m.Size, m.Mode = policy.Tmpfs, a.Size, a.Mode
	case plan.ActProc:
		m.Kind = policy.Proc
	case plan.ActDev:
		m.Kind = policy.Dev
	case plan.ActOverlay:
		m.Kind, m.Lower, m.Upper, m.Work = policy.Overlay, a.Lower, a.Upper, a.Work
		if a.ReadOnly {
			f.note(a.Origin + ": can be written inside; what is written is dropped at the end")
		}
	case plan.ActSymlink:
		m.Kind, m.Source = policy.Symlink, a.Source
	case plan.ActFile, plan.ActData:
		f.note(a.Origin + ": the content comes from a descriptor; give it as data of [[filesystem.file]]")
		return
	case plan.ActMqueue:
		f.note(a.Origin + ": message queues are at /dev/mqueue of a fresh /dev")
		return
	case plan.ActDir:
		if o := f.over(name); o != nil && o.Kind != policy.Tmpfs {
			f.note(a.Origin + ": a policy makes no directory in a tree that is shown")
			return
		}
		m.Kind, m.Mode = policy.Tmpfs, a.Mode
		f.note(a.Origin + ": an empty directory is a tmpfs")
		if f.over(name) != nil || f.holds(name) {
			return // there already, or made with what lies in it
		}
	case plan.ActChmod:
		for i := range f.p.Mounts {
			if o := &f.p.Mounts[i]; o.Path == name && (o.Kind == policy.Tmpfs || o.Kind == policy.File) {
				o.Mode = a.Mode
				return
			}
		}
		f.note(a.Origin + ": only a tmpfs or a file of the policy's own has a mode")
		return
	case plan.ActLock:
		switch o := f.over(name); {
		case o == nil && name == "/":
			return // the root of a policy is read-only anyway
		case o != nil && o.Path == name && o.Kind == policy.Write:
			o.Kind = policy.Read
			return
		}
		f.note(a.Origin + ": only what is bound can be made read-only")
		return
	}
	f.put(m)
}

// holds reports whether something is mounted below a directory.
func (f *folder) holds(name string) bool {
	return slices.ContainsFunc(f.p.Mounts, func(m policy.Mount) bool { return strings.HasPrefix(m.Path, name+"/") })
}
