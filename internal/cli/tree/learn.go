package tree

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/cli"
	"github.com/cloche-sandbox/cloche/internal/learn"
	"github.com/cloche-sandbox/cloche/internal/observe"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/sandbox"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// learnPolicy is `cloche learn`: it runs the command under a policy that lets it do
// what it wants, as far as that can be borne, and writes one that lets it do no more.
func learnPolicy(inv *cli.Invocation, args []string) error {
	inv.SetArgs(args)
	switch {
	case inv.Output() == "":
		return errors.New("learn: no output; name the policy to write: cloche learn -o FILE -- CMD [ARGS]")
	case len(inv.Args()) == 0 || inv.Args()[0] == "":
		return errors.New("learn: no command; write it after the flags: cloche learn -o FILE -- CMD [ARGS]")
	}
	if err := inv.StartFromOutput(); err != nil {
		return err
	}
	written, err := inv.Policy()
	if err != nil {
		return err
	}
	base, err := cli.Expand(written.Clone())
	if err != nil {
		return err
	}
	watched := whileLearning(written, inv)
	during, err := cli.Expand(watched.Clone())
	if err != nil {
		return err
	}
	arch, ok := seccomp.ArchByName(runtime.GOARCH)
	if !ok {
		return fmt.Errorf("learn: there is no table of the system calls of %s", runtime.GOARCH)
	}
	filter := learnedFrom(written, arch)
	o, err := observe.New(arch, filter, during)
	if err != nil {
		return err
	}
	cli.Complain("learn: this watches and does not hold the command back: it can read all that you can read, " + learningCan(during))
	code, ran, err := inv.Notified(watched, &sandbox.Notify{Profile: o.Profile(), Handle: o.Handle})
	if err != nil {
		return err
	}
	if !ran {
		return cli.ExitStatus(code)
	}
	paths := o.Files.Paths(base, during, os.Getenv("HOME"))
	learned := learnedPolicy(written, filter, o, paths, inv)
	text := policy.Format(learned)
	if _, err := policy.Parse(inv.Output(), text); err != nil {
		return fmt.Errorf("learn: what was learned makes no policy: %w; please report this", err)
	}
	if err := cli.WriteOut(inv.Output(), text); err != nil {
		return err
	}
	tellLearned(inv, base, o, paths)
	if code != 0 {
		return cli.ExitStatus(code)
	}
	return nil
}

// learnedFrom is the filter of which the answers ENOSYS stay: that of the
// policy, or the default one where the policy's own was learned.
func learnedFrom(p *policy.Policy, arch seccomp.Arch) seccomp.Profile {
	if p.SeccompProfile == nil {
		if f, _, _, err := p.Filter(arch, [2]int{}); err == nil {
			return f
		}
	}
	f, _ := seccomp.Builtin("default")
	return f
}

// whileLearning is what the command may do while it is watched: all that the policy
// lets it, read everything that is not hidden, write where it works, and use the
// network, unless a flag says which.
func whileLearning(written *policy.Policy, inv *cli.Invocation) *policy.Policy {
	p := written.Clone()
	p.Mounts = append([]policy.Mount{
		{Kind: policy.Read, Path: "/", Origin: "learn"},
		{Kind: policy.Write, Path: ".", Optional: true, Origin: "learn"},
	}, p.Mounts...)
	for i := range p.Mounts[2:] { // of two for one path the later holds
		if m := &p.Mounts[2+i]; m.Kind == policy.Read && m.Path == "." {
			m.Kind = policy.Write
		}
	}
	p.Seccomp, p.SeccompText, p.SeccompProfile, p.SeccompGroups = "none", "", nil, nil
	p.Landlock = policy.LandlockOff
	if !inv.Has("net") {
		p.Network, p.Unshare.Net = policy.NetworkHost, false
	}
	return p
}

func learningCan(during *policy.Policy) string {
	var write []string
	for _, m := range during.Mounts {
		if m.Kind == policy.Write {
			write = append(write, cli.Clip(m.Path))
		}
	}
	what := "write nothing of yours"
	if len(write) > 0 {
		what = "write " + strings.Join(write, ", ")
	}
	if during.Network == policy.NetworkHost {
		return what + ", and use your network"
	}
	return what
}

// covered are those of the names that something of the sandbox's own, such as
// its /tmp, lies over.
func covered(base *policy.Policy, names []string) (there []string) {
	for _, name := range names {
		if m, ok := base.MountAt(name); ok && m.Kind == policy.Tmpfs {
			if _, err := os.Lstat(name); err == nil {
				there = append(there, name)
			}
		}
	}
	return there
}

// learnedPolicy adds what was seen to the policy that was started from.
func learnedPolicy(written *policy.Policy, filter seccomp.Profile, o *observe.Observer, paths learn.Paths, inv *cli.Invocation) *policy.Policy {
	p := written.Clone()
	p.Mounts = append(p.Mounts, paths.Mounts...)
	if p.Origins == nil {
		p.Origins = map[string]string{}
	}
	if n, because := o.Addresses.Network(); !inv.Has("net") && wider(n, p.Network) {
		p.Network, p.Unshare.Net = n, n != policy.NetworkHost
		p.Origins["network.mode"] = because.Program + " used " + because.Text
	}
	var old []seccomp.Group
	if p.SeccompProfile != nil {
		old = p.SeccompProfile.Groups
	} else {
		// What is answered so that programs fall back to other calls.
		for _, g := range filter.Groups {
			if !slices.ContainsFunc(g.Rules, func(r seccomp.Rule) bool { return r.Action != seccomp.Errno(unix.ENOSYS) }) {
				old = append(old, g)
			}
		}
		p.SeccompProfile = &seccomp.Profile{
			Default: seccomp.Errno(unix.EPERM), Unknown: seccomp.Errno(unix.ENOSYS), BadArch: seccomp.KillProcess,
		}
	}
	p.Seccomp, p.SeccompText, p.SeccompGroups = "", "", nil
	added := learn.Missing(old, o.Calls.Groups())
	for i := range added {
		added[i].Name = freeName(old, added[i].Name)
		old = append(old, added[i])
	}
	p.SeccompProfile.Groups = old
	return p
}

// freeName is a name that no group has yet.
func freeName(groups []seccomp.Group, name string) string {
	for n := 2; slices.ContainsFunc(groups, func(g seccomp.Group) bool { return g.Name == name }); n++ {
		stem, _, _ := strings.Cut(name, "-")
		name = fmt.Sprintf("%s-%d", stem, n)
	}
	return name
}

// wider reports whether network a lets a command reach more than b.
func wider(a, b policy.Network) bool {
	order := []policy.Network{policy.NetworkNone, policy.NetworkPrivate, policy.NetworkHost}
	return slices.Index(order, a) > slices.Index(order, b)
}

// tellLearned says what a person should look at before the policy is used.
func tellLearned(inv *cli.Invocation, base *policy.Policy, o *observe.Observer, paths learn.Paths) {
	say := func(what string, names []string) {
		if len(names) == 0 {
			return
		}
		const most = 8
		var b bytes.Buffer
		for i, n := range names {
			switch {
			case i == most:
				fmt.Fprintf(&b, " and %d more", len(names)-most)
			case i < most:
				b.WriteString(" " + cli.Clip(n))
			}
		}
		cli.Complain("learn: " + what + ":" + b.String())
	}
	say("it read files that look like keys or passwords, and the policy shows them; take out what it should not", paths.Secret)
	say("it could not write these, so what it does then is not known; learn once more with --write", paths.Refused)
	say("these are there outside, and not inside; show them with --read and learn once more", covered(base, paths.Missing))
	say("it listed these directories, which would show too much and are left out", paths.Wide)
	say("calls that the filter it started from denies are in the policy; take out what it should not", o.Beyond)
	var addresses []string
	for _, a := range o.Addresses.All() {
		if !a.Bound {
			addresses = append(addresses, a.Text)
		}
	}
	say("it tried to reach", addresses)
	if o.Unread > 0 {
		cli.Complain(fmt.Sprintf("learn: of %d calls the path could not be read, so that the policy may lack some", o.Unread))
	}
	cli.Complain("learn: " + cli.Clip(inv.Output()) + " is written; try it: cloche run --policy " + cli.Clip(inv.Output()) + " --audit -- " + cli.Clip(strings.Join(inv.Args(), " ")))
}
