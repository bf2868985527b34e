package bwrap

import (
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/policy"
)

// World is what the meaning of a command line depends on beside itself.
type World struct {
	UID, GID       int
	Capabilities   uint64   // effective ones of the caller
	UserNamespaces bool     // some more may be made
	Environ        []string // "NAME=value"
	Cwd            string   // as get_current_dir_name(3) has it
	Console        string   // path of the terminal that is stdout; "": it is none
}

// Sandbox is what a command line asks of the engine.
type Sandbox struct {
	Policy  *policy.Policy
	Acts    []plan.Act
	Manner  *plan.Manner
	Environ []string
	Command []string

	// The environment as changes to the caller's.
	clearEnv bool
	setEnv   map[string]string
	unsetEnv []string
}

// Convert says for the engine what a command line says. It is a pure function.
func Convert(i *Invocation, w *World) (*Sandbox, error) {
	p := &policy.Policy{
		Network: policy.NetworkHost, User: policy.User{Mode: policy.UserCurrent}, Seccomp: "none",
		Landlock: policy.LandlockOff, Terminal: policy.TerminalNever, Origins: map[string]string{},
	}
	user := i.UnshareUser || w.UID != 0 && i.UserNS < 0 || i.UnshareUserTry && w.UserNamespaces
	p.Unshare = policy.Namespaces{
		User: user, Mount: true, PID: i.UnsharePID, Net: i.UnshareNet, IPC: i.UnshareIPC, UTS: i.UnshareUTS,
		Cgroup: i.UnshareCgroup || i.UnshareCgroupTry,
	}
	if i.UnshareNet {
		p.Network = policy.NetworkPrivate
	}
	uid, gid := w.UID, w.GID
	if i.UID >= 0 {
		uid = i.UID
	}
	if i.GID >= 0 {
		gid = i.GID
	}
	if uid != w.UID || gid != w.GID {
		if !user && i.UserNS < 0 {
			which := "--uid"
			if uid == w.UID {
				which = "--gid"
			}
			return nil, errors.New("Specifying " + which + " requires --unshare-user or --userns")
		}
		p.User = policy.User{Mode: policy.UserSingle, UID: uint32(uid), GID: uint32(gid)}
	}
	if i.Hostname != nil {
		p.Hostname = *i.Hostname
	}
	p.Init = !i.AsPID1 && (i.UnsharePID || len(i.Locks) > 0 || i.SyncFD >= 0)
	for _, s := range i.Settings {
		if err := policy.FlagNamed(s.Flag).Apply(p, s.Value); err != nil {
			return nil, errors.New("--cloche-" + strings.TrimPrefix(err.Error(), "--"))
		}
	}

	m := &plan.Manner{
		Name: "bwrap", NewSession: i.NewSession, DieWithParent: i.DieWithParent,
		BlockFD: i.BlockFD, IDsFD: i.UserNSBlockFD,
		UserNamespace: i.UserNS, ThenUserNamespace: i.UserNS2, PIDNamespace: i.PIDNS,
		NoUserNamespaces: i.DisableUserNS, CheckNoUserNamespaces: i.AssertNoUserNS,
		Argv0: i.Argv0,
	}
	if i.ExecLabel != nil {
		m.ExecLabel = *i.ExecLabel
	}
	if i.FileLabel != nil {
		m.FileLabel = *i.FileLabel
	}
	i.capabilities(p, m, w)
	i.descriptors(m)

	s := &Sandbox{Policy: p, Manner: m, Command: i.Command, Acts: slices.Clone(i.Acts)}
	if s.Acts == nil {
		s.Acts = []plan.Act{} // an empty root is one as well
	}
	for k := range s.Acts {
		if s.Acts[k].Kind == plan.ActDev {
			s.Acts[k].Console = w.Console
		}
	}
	i.environment(s, w)
	return s, nil
}

// capabilities are the caller's, if that is root, with what was added and dropped.
func (i *Invocation) capabilities(p *policy.Policy, m *plan.Manner, w *World) {
	var set uint64
	all := uint64(1)<<(unix.CAP_LAST_CAP+1) - 1
	if !p.Unshare.User && i.UserNS < 0 {
		all &= w.Capabilities
	}
	if w.UID == 0 {
		set = w.Capabilities
		m.KeepCapabilities = len(i.Capabilities) == 0
	}
	for _, c := range i.Capabilities {
		which := all
		if c.Name != "ALL" {
			which = plan.CapabilitySet([]string{c.Name})
		}
		if c.Add {
			set |= which
		} else {
			set &^= which
		}
	}
	p.Capabilities = plan.CapabilityNames(set)
}

// descriptors says which are for whom.
func (i *Invocation) descriptors(m *plan.Manner) {
	m.Consumed = slices.Clone(i.Used)
	m.Consumed = append(m.Consumed, i.Seccomp...)
	for _, fd := range [...]int{i.BlockFD, i.UserNSBlockFD, i.InfoFD, i.StatusFD, i.UserNS, i.UserNS2, i.PIDNS} {
		if fd >= 0 {
			m.Consumed = append(m.Consumed, fd)
		}
	}
	if i.SyncFD >= 0 {
		m.Held = []int{i.SyncFD}
	}
	if i.InfoFD >= 0 {
		m.Report = &plan.Report{FD: i.InfoFD, Start: "{\n    \"child-pid\": ", Before: ",\n    \"", After: "-namespace\": ", End: "\n}\n"}
	}
	if i.StatusFD >= 0 {
		m.Status = &plan.Report{FD: i.StatusFD, Start: "{ \"child-pid\": ", Before: ", \"", After: "-namespace\": ", End: " }\n", Exit: "{ \"exit-code\": ", ExitEnd: " }\n"}
	}
	for _, path := range i.Locks {
		m.Locks = append(m.Locks, plan.Lock{Path: path, FD: -1})
	}
}

// environment is the caller's, changed in the order of the options. PWD says where the
// command starts.
func (i *Invocation) environment(s *Sandbox, w *World) {
	var env []string
	change := func(name, value string, set bool) {
		at := slices.IndexFunc(env, func(kv string) bool { return strings.HasPrefix(kv, name) && strings.HasPrefix(kv[len(name):], "=") })
		switch {
		case set && at >= 0:
			env[at] = name + "=" + value
		case set:
			env = append(env, name+"="+value)
		case at >= 0:
			env = slices.Delete(env, at, at+1)
		}
	}
	for _, kv := range w.Environ {
		if !strings.HasPrefix(kv, OptionsVariable+"=") {
			env = append(env, kv)
		}
	}
	for _, e := range i.Env {
		if e.Clear {
			env = env[:0]
			s.clearEnv, s.setEnv, s.unsetEnv = true, nil, nil
			continue
		}
		s.unsetEnv = slices.DeleteFunc(s.unsetEnv, func(n string) bool { return n == e.Name })
		delete(s.setEnv, e.Name)
		switch {
		case e.Set && s.setEnv == nil:
			s.setEnv = map[string]string{e.Name: e.Value}
		case e.Set:
			s.setEnv[e.Name] = e.Value
		default:
			s.unsetEnv = append(s.unsetEnv, e.Name)
		}
		change(e.Name, e.Value, e.Set)
	}
	switch {
	case i.Chdir != nil:
		s.Policy.Cwd = *i.Chdir
	case w.Cwd != "":
		s.Policy.Cwd = w.Cwd
		if home := lookup(env, "HOME"); home != "" {
			s.Manner.CwdElse = append(s.Manner.CwdElse, home)
		}
		s.Manner.CwdElse = append(s.Manner.CwdElse, "/")
	default:
		s.Policy.Cwd = "/"
	}
	change("PWD", s.Policy.Cwd, true)
	s.Environ = env
}

func lookup(env []string, name string) string {
	for _, kv := range env {
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			return value
		}
	}
	return ""
}
