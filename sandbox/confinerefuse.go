package sandbox

import (
	"fmt"

	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/policy"
)

// refuse names what of the policy can't be had by a running program and must not
// be left out: what its author may rely on.
func (c *confinement) refuse() error {
	p := c.p
	for _, r := range [...]struct {
		asked    bool
		key      string
		why, fix string
	}{
		{
			p.Landlock == policy.LandlockRequire && c.abi == 0, "landlock.mode",
			"this kernel has no Landlock and the policy requires it", "switch it on in the kernel's lsm= list",
		},
		{
			p.Landlock == policy.LandlockOff && !c.open, "landlock.mode",
			"Landlock is off, and nothing else keeps a running program from files", "set landlock to where-available, or make all of / writable if no file is to be protected",
		},
		{
			c.abi == 0 && !c.open, "filesystem",
			"this kernel has no Landlock, and nothing else keeps a running program from files", "switch Landlock on in the kernel's lsm= list, or run a child with sandbox.Command",
		},
		{
			p.Seccomp == "strict", "seccomp.profile",
			"a Go program can't live under the filter \"strict\": its runtime makes threads and waits for events", "use \"default\", or run a child with sandbox.Command",
		},
		{
			p.User.Mode != policy.UserCurrent, "user.mode",
			"a running program keeps its ids", "use mode \"current\", or run a child with sandbox.Command",
		},
		{
			p.Unshare.User && len(p.Capabilities) > 0, "capabilities",
			"they are meant in a user namespace of the sandbox's own; a running program would keep the host's", "leave them out, or share the user namespace if the host's are meant",
		},
		{
			p.Terminal == policy.TerminalAlways, "terminal",
			"a running program keeps its terminal", "use \"auto\" or \"never\", or run a child with sandbox.Command",
		},
		{
			p.Keyring && !p.Filtered(), "keyring",
			"a program's threads can't join one new session keyring together", "use the filter \"default\", which refuses keyrings",
		},
		{p.Time.Wall != 0, "time.wall", "nobody is there to end a program that confines itself", "run a child with sandbox.Command"},
		{p.Time.CPU != 0, "time.cpu", "nobody is there to end a program that confines itself", "set rlimits.cpu, or run a child with sandbox.Command"},
		{p.Output != 0, "max-output", "nobody is there to count what a program writes that confines itself", "run a child with sandbox.Command"},
	} {
		if r.asked {
			return fmt.Errorf("%s: %s; %s", c.setting(r.key), r.why, r.fix)
		}
	}
	if err := c.refuseLimits(); err != nil {
		return err
	}
	for i := range p.Mounts {
		m := &p.Mounts[i]
		if (m.Kind == policy.Read || m.Kind == policy.Write) && m.Source != "" && m.Source != m.Path {
			return mountRefused(m, "a running program sees the host's names, so "+m.Source+" can't be at "+m.Path, "show it at its own path")
		}
	}
	return nil
}

// refuseLimits refuses limits that need a cgroup and are not where-available.
func (c *confinement) refuseLimits() error {
	for _, name := range c.p.Limits.Set() {
		if !c.p.Limits.MayMiss(name) {
			return fmt.Errorf("%s: Confine makes no cgroup, so nothing would hold the limit; name it in limits.where-available if it may be left out, or run a child with sandbox.Command", c.setting("limits."+name))
		}
	}
	return nil
}

// checkBefore looks at the threads as they are.
func (c *confinement) checkBefore() error {
	var first string
	for tid, t := range c.before {
		if first == "" {
			first = tid
		}
		// A call on all threads must have one result.
		if t.caps != c.before[first].caps {
			return fmt.Errorf("threads %s and %s have different capabilities, which can't be dropped together; confine the program before one of them changes its own", first, tid)
		}
	}
	c.keep = plan.CapabilitySet(c.p.Capabilities)
	if lacking := c.keep &^ c.before[first].caps[permitted]; lacking != 0 {
		return fmt.Errorf("%s: the program does not have all of them (lacking: %#x); leave out what it lacks", c.setting("capabilities"), lacking)
	}
	return nil
}

// setting is a setting and where it was asked for.
func (c *confinement) setting(key string) string {
	if o := c.p.Origins[key]; o != "" {
		return key + " (" + o + ")"
	}
	return key
}

func mountRefused(m *policy.Mount, why, fix string) error {
	what := string(m.Kind) + " " + m.Path
	if m.Origin != "" {
		what += " (" + m.Origin + ")"
	}
	return fmt.Errorf("%s: %s; %s", what, why, fix)
}
