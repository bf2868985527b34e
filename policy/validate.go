package policy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cloche-sandbox/cloche/internal/document"
)

// Validate refuses an expanded policy that says two things at once, or that
// no host could carry out. What depends on the host (whether a path exists,
// which namespaces and cgroups this user may make) is for the plan. The error
// is one line: where the setting came from, what is wrong, what to write.
func Validate(p *Policy) error {
	checks := [...]func(*Policy) error{
		validateModes, validateSeccomp, validateNamespaces, validateUser, validateNames,
		validateLimits, validateEnv, validateMounts, validateCwd, validateCapabilities,
	}
	for _, check := range checks {
		if err := check(p); err != nil {
			return err
		}
	}
	return nil
}

func validateModes(p *Policy) error {
	// The setters know the names; a copy, so that p stays as it is.
	var scratch Policy
	for _, m := range [...]struct{ key, value string }{
		{"network.mode", string(p.Network)},
		{"user.mode", string(p.User.Mode)},
		{"landlock.mode", string(p.Landlock)},
		{"terminal", string(p.Terminal)},
	} {
		if err := settingFor(m.key).set(&scratch, m.value, ""); err != nil {
			return at(p, m.key, err)
		}
	}
	if p.SeccompProfile == nil {
		if err := setSeccomp(&scratch, p.Seccomp, ""); err != nil {
			return at(p, "seccomp.profile", err)
		}
	}
	if err := checkHostname(p.Hostname); err != nil {
		return at(p, "hostname", err)
	}
	for _, text := range [...]string{p.Name, p.Description} {
		if err := checkText(text); err != nil {
			return fmt.Errorf("name or description: %w", err)
		}
	}
	return nil
}

func validateNamespaces(p *Policy) error {
	n := p.Unshare
	switch {
	case !n.Mount:
		return at(p, "namespaces.mount", errors.New("the sandbox needs a mount namespace, as without one the whole host is visible: "+
			"unshare it (policy.New has it set)"))
	case p.Network == NetworkHost && n.Net:
		return at(p, "namespaces.net", errors.New(`a new net namespace contradicts network "host": `+
			"drop --unshare net, or use --net none or private"))
	case p.Network != NetworkHost && !n.Net:
		return at(p, "namespaces.net", fmt.Errorf(`network %q needs a net namespace of the sandbox's own: `+
			"unshare net, or say --net host to share the host's", p.Network))
	case !p.Init && !n.PID:
		return at(p, "init", errors.New("without init the command is pid 1 of a pid namespace, and none is made: "+
			"drop --no-init, or unshare pid"))
	case p.Hostname != "" && !n.UTS:
		return at(p, "hostname", errors.New("the host's name would change, as the uts namespace is shared: unshare uts, or give no hostname"))
	}
	for i := range p.Mounts {
		if m := &p.Mounts[i]; m.Kind == Proc && !n.PID {
			return mountError(m, fmt.Errorf("a fresh proc needs a pid namespace, which is shared: unshare pid, or show the host's with --read %s", m.Path))
		}
	}
	return nil
}

func validateUser(p *Policy) error {
	u := p.User
	switch {
	case (u.Mode == UserRoot || u.Mode == UserRanges) && !p.Unshare.User:
		return at(p, "user.mode", fmt.Errorf("%q maps ids, which needs a user namespace: unshare user", u.Mode))
	case (u.Mode == UserCurrent || u.Mode == UserRoot) && (u.UID != 0 || u.GID != 0):
		return at(p, "user.uid", fmt.Errorf(`%q takes no uid or gid: use mode "single" or "ranges"`, u.Mode))
	case u.UID > maxID || u.GID > maxID:
		return at(p, "user.uid", fmt.Errorf("out of range: write a whole number from 0 to %d", uint32(maxID)))
	}
	return nil
}

func validateNames(p *Policy) error {
	for i, c := range p.Capabilities {
		name, err := capabilityName(c)
		if err == nil && name != c {
			err = fmt.Errorf("capability %s: write it as %s", document.Clip(c), name)
		}
		if err == nil && slices.Contains(p.Capabilities[:i], c) {
			err = fmt.Errorf("capability %s is there twice", c)
		}
		if err != nil {
			return at(p, "capabilities", err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Rlimits)) {
		err := document.OneOf("rlimit", name, RlimitNames())
		if err == nil {
			err = checkRlimit(p.Rlimits[name])
		}
		if err != nil {
			return at(p, "rlimits."+name, err)
		}
	}
	return nil
}

func validateLimits(p *Policy) error {
	l := &p.Limits
	if l.Memory != 0 {
		if err := checkLimit(l.Memory, minMemory); err != nil {
			return at(p, "limits.memory", err)
		}
	}
	if l.Swap != nil && *l.Swap != 0 {
		if err := checkLimit(*l.Swap, 1); err != nil {
			return at(p, "limits.swap", err)
		}
	}
	if l.CPUs != 0 { // NaN is not 0 either
		if err := checkCPUs(l.CPUs); err != nil {
			return at(p, "limits.cpus", err)
		}
	}
	if l.CPUWeight > maxCPUWeight {
		return at(p, "limits.cpu-weight", fmt.Errorf("out of range: write a whole number from 1 to %d", maxCPUWeight))
	}
	if l.Pids < 0 || l.Pids > maxPids {
		return at(p, "limits.pids", fmt.Errorf(`out of range: write a whole number from 1 to %d, or "none" for no limit`, maxPids))
	}
	if l.Cpuset != "" {
		if err := checkCpuset(l.Cpuset); err != nil {
			return at(p, "limits.cpuset", err)
		}
	}
	if l.Parent != "" {
		if err := checkParent(l.Parent); err != nil {
			return at(p, "limits.parent", err)
		}
	}
	for _, io := range l.IO {
		if err := checkIO(io); err != nil {
			return at(p, "limits.io", err)
		}
	}
	for _, name := range l.WhereAvailable {
		if err := document.OneOf("limit", name, LimitNames()); err != nil {
			return at(p, "limits.where-available."+name, err)
		}
		if !l.has(name) {
			return at(p, "limits.where-available."+name, fmt.Errorf("there is no limit %q that could be left out: set limits.%s too", name, name))
		}
	}
	if p.Time.Wall < 0 || p.Time.Wall > maxNumber {
		return at(p, "time.wall", errors.New(`out of range: write a duration such as "10s"`))
	}
	if p.Time.CPU < 0 || p.Time.CPU > maxNumber {
		return at(p, "time.cpu", errors.New(`out of range: write a duration such as "10s"`))
	}
	if p.Output != 0 {
		if err := checkLimit(p.Output, 1); err != nil {
			return at(p, "max-output", err)
		}
	}
	return nil
}

func validateEnv(p *Policy) error {
	for _, name := range p.Env.Keep {
		if err := checkKeep(name); err != nil {
			return at(p, "env.keep."+name, err)
		}
	}
	for _, name := range p.Env.Unset {
		if err := checkEnvName(name); err != nil {
			return at(p, "env.unset."+name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Env.Set)) {
		err := checkEnvName(name)
		if err == nil && strings.IndexByte(p.Env.Set[name], 0) >= 0 {
			err = fmt.Errorf("the value of %s holds a NUL byte, which ends it", document.Clip(name))
		}
		if err != nil {
			return at(p, "env.set."+name, err)
		}
	}
	return nil
}

func validateCwd(p *Policy) error {
	dir := p.Cwd
	if dir == "" {
		dir = "/"
	}
	if err := checkPath(dir); err != nil {
		return at(p, "cwd", err)
	}
	if !clean(dir) {
		return at(p, "cwd", fmt.Errorf("%s is not an absolute, clean path: policy.Expand makes it one", document.Clip(dir)))
	}
	if err := p.visible(dir); err != nil {
		return at(p, "cwd", fmt.Errorf("the working directory %s is not in the sandbox, as %w: show it with --read %s, or choose another with --cwd",
			document.Clip(dir), err, dir))
	}
	return nil
}
