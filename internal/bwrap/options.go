package bwrap

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/policy"
)

// option is one option of the command line. Parsing, --help, completion and
// docs/bubblewrap.md come from the table of them.
type option struct {
	name  string // with its dashes
	args  string // what follows, a word for each; "" for nothing
	help  string
	since string // the version of bubblewrap that has it; "": Cloche alone
	one   string // how a missing argument is worded; "": "an argument" or by their number

	// What it does is one of these, none of which is made at the program's start.
	flag  func(*Invocation) *bool
	fd    func(*Invocation) *int // a descriptor
	id    func(*Invocation) *int // of a user or a group
	text  func(*Invocation) **string
	apply func(p *parser, o *option, a []string) error
	act   plan.Act // that apply adds, without what the arguments say
}

// arity is the number of arguments.
func (o *option) arity() int {
	if o.args == "" {
		return 0
	}
	return strings.Count(o.args, " ") + 1
}

// missing says that an argument is missing, as bubblewrap does.
func (o *option) missing() error {
	what := o.one
	if what == "" {
		what = [...]string{"", "an argument", "two arguments", "three arguments"}[o.arity()]
	}
	return errors.New(o.name + " takes " + what)
}

// Options lists the options for whoever writes about them: name, arguments, meaning, and the
// version of bubblewrap that has it.
func Options(yield func(name, args, help, since string)) {
	for i := range options {
		o := &options[i]
		yield(o.name, o.args, o.help, o.since)
	}
}

// options is in the order of bubblewrap's --help.
var options = [...]option{
	{name: "--help", args: "", help: "Print this help", since: "0.8", apply: func(p *parser, _ *option, _ []string) error { p.inv.Help = true; return errStop }},
	{name: "--version", args: "", help: "Print version", since: "0.8", apply: func(p *parser, _ *option, _ []string) error { p.inv.Version = true; return errStop }},
	{name: "--args", args: "FD", help: "Parse NUL-separated args from FD", since: "0.8"},
	{name: "--argv0", args: "VALUE", help: "Set argv[0] to the value VALUE before running the program", since: "0.9", one: "one argument", apply: (*parser).argv0},
	{name: "--level-prefix", args: "", help: "Prepend e.g. <3> to diagnostic messages", since: "0.11", flag: func(i *Invocation) *bool { return &i.LevelPrefix }},
	{name: "--unshare-all", args: "", help: "Unshare every namespace we support by default", since: "0.8", apply: (*parser).unshareAll},
	{name: "--share-net", args: "", help: "Retain the network namespace (can only combine with --unshare-all)", since: "0.8", apply: func(p *parser, _ *option, _ []string) error { p.inv.UnshareNet = false; return nil }},
	{name: "--unshare-user", args: "", help: "Create new user namespace (may be automatically implied if not root)", since: "0.8", flag: func(i *Invocation) *bool { return &i.UnshareUser }},
	{name: "--unshare-user-try", args: "", help: "Create new user namespace if possible else continue by skipping it", since: "0.8", flag: func(i *Invocation) *bool { return &i.UnshareUserTry }},
	{name: "--unshare-ipc", args: "", help: "Create new ipc namespace", since: "0.8", flag: func(i *Invocation) *bool { return &i.UnshareIPC }},
	{name: "--unshare-pid", args: "", help: "Create new pid namespace", since: "0.8", flag: func(i *Invocation) *bool { return &i.UnsharePID }},
	{name: "--unshare-net", args: "", help: "Create new network namespace", since: "0.8", flag: func(i *Invocation) *bool { return &i.UnshareNet }},
	{name: "--unshare-uts", args: "", help: "Create new uts namespace", since: "0.8", flag: func(i *Invocation) *bool { return &i.UnshareUTS }},
	{name: "--unshare-cgroup", args: "", help: "Create new cgroup namespace", since: "0.8", flag: func(i *Invocation) *bool { return &i.UnshareCgroup }},
	{name: "--unshare-cgroup-try", args: "", help: "Create new cgroup namespace if possible else continue by skipping it", since: "0.8", flag: func(i *Invocation) *bool { return &i.UnshareCgroupTry }},
	{name: "--userns", args: "FD", help: "Use this user namespace (cannot combine with --unshare-user)", since: "0.8", fd: func(i *Invocation) *int { return &i.UserNS }},
	{name: "--userns2", args: "FD", help: "After setup switch to this user namespace, only useful with --userns", since: "0.8", fd: func(i *Invocation) *int { return &i.UserNS2 }},
	{name: "--disable-userns", args: "", help: "Disable further use of user namespaces inside sandbox", since: "0.8", flag: func(i *Invocation) *bool { return &i.DisableUserNS }},
	{name: "--assert-userns-disabled", args: "", help: "Fail unless further use of user namespace inside sandbox is disabled", since: "0.8", flag: func(i *Invocation) *bool { return &i.AssertNoUserNS }},
	{name: "--pidns", args: "FD", help: "Use this pid namespace (as parent namespace if using --unshare-pid)", since: "0.8", fd: func(i *Invocation) *int { return &i.PIDNS }},
	{name: "--uid", args: "UID", help: "Custom uid in the sandbox (requires --unshare-user or --userns)", since: "0.8", id: func(i *Invocation) *int { return &i.UID }},
	{name: "--gid", args: "GID", help: "Custom gid in the sandbox (requires --unshare-user or --userns)", since: "0.8", id: func(i *Invocation) *int { return &i.GID }},
	{name: "--hostname", args: "NAME", help: "Custom hostname in the sandbox (requires --unshare-uts)", since: "0.8", text: func(i *Invocation) **string { return &i.Hostname }},
	{name: "--chdir", args: "DIR", help: "Change directory to DIR", since: "0.8", one: "one argument", text: func(i *Invocation) **string { return &i.Chdir }},
	{name: "--clearenv", args: "", help: "Unset all environment variables", since: "0.8", apply: func(p *parser, _ *option, _ []string) error {
		p.inv.Env = append(p.inv.Env, EnvChange{Clear: true})
		return nil
	}},
	{name: "--setenv", args: "VAR VALUE", help: "Set an environment variable", since: "0.8", apply: func(p *parser, _ *option, a []string) error {
		return p.env("setenv", EnvChange{Name: a[0], Value: a[1], Set: true})
	}},
	{name: "--unsetenv", args: "VAR", help: "Unset an environment variable", since: "0.8", apply: func(p *parser, _ *option, a []string) error { return p.env("unsetenv", EnvChange{Name: a[0]}) }},
	{name: "--lock-file", args: "DEST", help: "Take a lock on DEST while sandbox is running", since: "0.8", apply: func(p *parser, _ *option, a []string) error { p.inv.Locks = append(p.inv.Locks, a[0]); return nil }},
	{name: "--sync-fd", args: "FD", help: "Keep this fd open while sandbox is running", since: "0.8", fd: func(i *Invocation) *int { return &i.SyncFD }},
	{name: "--bind", args: "SRC DEST", help: "Bind mount the host path SRC on DEST", since: "0.8", apply: bind, act: plan.Act{Kind: plan.ActBind}},
	{name: "--bind-try", args: "SRC DEST", help: "Equal to --bind but ignores non-existent SRC", since: "0.8", apply: bind, act: plan.Act{Kind: plan.ActBind, Optional: true}},
	{name: "--dev-bind", args: "SRC DEST", help: "Bind mount the host path SRC on DEST, allowing device access", since: "0.8", apply: bind, act: plan.Act{Kind: plan.ActBind, Devices: true}},
	{name: "--dev-bind-try", args: "SRC DEST", help: "Equal to --dev-bind but ignores non-existent SRC", since: "0.8", apply: bind, act: plan.Act{Kind: plan.ActBind, Devices: true, Optional: true}},
	{name: "--ro-bind", args: "SRC DEST", help: "Bind mount the host path SRC readonly on DEST", since: "0.8", apply: bind, act: plan.Act{Kind: plan.ActBind, ReadOnly: true}},
	{name: "--ro-bind-try", args: "SRC DEST", help: "Equal to --ro-bind but ignores non-existent SRC", since: "0.8", apply: bind, act: plan.Act{Kind: plan.ActBind, ReadOnly: true, Optional: true}},
	{name: "--bind-fd", args: "FD DEST", help: "Bind open directory or path fd on DEST", since: "0.8", apply: bindFD, act: plan.Act{Kind: plan.ActBind}},
	{name: "--ro-bind-fd", args: "FD DEST", help: "Bind open directory or path fd read-only on DEST", since: "0.8", apply: bindFD, act: plan.Act{Kind: plan.ActBind, ReadOnly: true}},
	{name: "--remount-ro", args: "DEST", help: "Remount DEST as readonly; does not recursively remount", since: "0.8", one: "one argument", apply: at, act: plan.Act{Kind: plan.ActLock}},
	{name: "--overlay-src", args: "SRC", help: "Read files from SRC in the following overlay", since: "0.11", apply: func(p *parser, _ *option, a []string) error { p.lower = append([]string{a[0]}, p.lower...); return nil }},
	{name: "--overlay", args: "RWSRC WORKDIR DEST", help: "Mount overlayfs on DEST, with RWSRC as the host path for writes and WORKDIR an empty directory on the same filesystem as RWSRC", since: "0.11", apply: (*parser).overlay},
	{name: "--tmp-overlay", args: "DEST", help: "Mount overlayfs on DEST, with writes going to an invisible tmpfs", since: "0.11", apply: (*parser).overlay},
	{name: "--ro-overlay", args: "DEST", help: "Mount overlayfs read-only on DEST", since: "0.11", apply: (*parser).overlay},
	{name: "--exec-label", args: "LABEL", help: "Exec label for the sandbox", since: "0.8", text: func(i *Invocation) **string { return &i.ExecLabel }},
	{name: "--file-label", args: "LABEL", help: "File label for temporary sandbox content", since: "0.8", text: func(i *Invocation) **string { return &i.FileLabel }},
	{name: "--proc", args: "DEST", help: "Mount new procfs on DEST", since: "0.8", apply: at, act: plan.Act{Kind: plan.ActProc}},
	{name: "--dev", args: "DEST", help: "Mount new dev on DEST", since: "0.8", apply: at, act: plan.Act{Kind: plan.ActDev}},
	{name: "--tmpfs", args: "DEST", help: "Mount new tmpfs on DEST", since: "0.8", apply: made, act: plan.Act{Kind: plan.ActTmpfs, Mode: 0o755}},
	{name: "--mqueue", args: "DEST", help: "Mount new mqueue on DEST", since: "0.8", apply: at, act: plan.Act{Kind: plan.ActMqueue}},
	{name: "--dir", args: "DEST", help: "Create dir at DEST", since: "0.8", apply: made, act: plan.Act{Kind: plan.ActDir, Mode: 0o755}},
	{name: "--file", args: "FD DEST", help: "Copy from FD to destination DEST", since: "0.8", apply: data, act: plan.Act{Kind: plan.ActFile, Mode: 0o666}},
	{name: "--bind-data", args: "FD DEST", help: "Copy from FD to file which is bind-mounted on DEST", since: "0.8", apply: data, act: plan.Act{Kind: plan.ActData, Mode: 0o600}},
	{name: "--ro-bind-data", args: "FD DEST", help: "Copy from FD to file which is readonly bind-mounted on DEST", since: "0.8", apply: data, act: plan.Act{Kind: plan.ActData, Mode: 0o600, ReadOnly: true}},
	{name: "--symlink", args: "SRC DEST", help: "Create symlink at DEST with target SRC", since: "0.8", apply: bind, act: plan.Act{Kind: plan.ActSymlink}},
	{name: "--seccomp", args: "FD", help: "Load and use seccomp rules from FD (not repeatable)", since: "0.8", apply: (*parser).seccomp},
	{name: "--add-seccomp-fd", args: "FD", help: "Load and use seccomp rules from FD (repeatable)", since: "0.8", apply: (*parser).addSeccomp},
	{name: "--block-fd", args: "FD", help: "Block on FD until some data to read is available", since: "0.8", fd: func(i *Invocation) *int { return &i.BlockFD }},
	{name: "--userns-block-fd", args: "FD", help: "Block on FD until the user namespace is ready", since: "0.8", fd: func(i *Invocation) *int { return &i.UserNSBlockFD }},
	{name: "--info-fd", args: "FD", help: "Write information about the running container to FD", since: "0.8", fd: func(i *Invocation) *int { return &i.InfoFD }},
	{name: "--json-status-fd", args: "FD", help: "Write container status to FD as multiple JSON documents", since: "0.8", fd: func(i *Invocation) *int { return &i.StatusFD }},
	{name: "--new-session", args: "", help: "Create a new terminal session", since: "0.8", flag: func(i *Invocation) *bool { return &i.NewSession }},
	{name: "--die-with-parent", args: "", help: "Kills with SIGKILL child process (COMMAND) when bwrap or bwrap's parent dies.", since: "0.8", flag: func(i *Invocation) *bool { return &i.DieWithParent }},
	{name: "--as-pid-1", args: "", help: "Do not install a reaper process with PID=1", since: "0.8", flag: func(i *Invocation) *bool { return &i.AsPID1 }},
	{name: "--cap-add", args: "CAP", help: "Add cap CAP when running as privileged user", since: "0.8", apply: (*parser).capability},
	{name: "--cap-drop", args: "CAP", help: "Drop cap CAP when running as privileged user", since: "0.8", apply: (*parser).capability},
	{name: "--perms", args: "OCTAL", help: "Set permissions of next argument (--bind-data, --file, etc.)", since: "0.8", apply: (*parser).nextPerms},
	{name: "--size", args: "BYTES", help: "Set size of next argument (only for --tmpfs)", since: "0.8", apply: (*parser).nextSize},
	{name: "--chmod", args: "OCTAL PATH", help: "Change permissions of PATH (must already exist)", since: "0.8", apply: (*parser).chmod},
	{name: "--not-a-security-boundary", args: "", help: "Do not fail hard when some sandbox setup steps fail; use only when the sandbox is not a security boundary", since: "0.12", apply: func(*parser, *option, []string) error { return nil }},

	{name: "--cloche-seccomp", args: "PROFILE", help: "Load the filter of this profile of Cloche's too: default, build, strict, docker, or a file", since: "", apply: setting},
	{name: "--cloche-memory", args: "SIZE", help: "Limit memory, such as 512M; needs a cgroup", since: "", apply: setting},
	{name: "--cloche-pids", args: "N", help: "Limit processes and threads; needs a cgroup", since: "", apply: setting},
	{name: "--cloche-cpus", args: "N", help: "Limit processors, such as 0.5; needs a cgroup", since: "", apply: setting},
	{name: "--cloche-rlimit", args: "NAME=N", help: "Set a resource limit, such as nofile=256", since: "", apply: setting},
	{name: "--cloche-explain", args: "", help: "When something fails, say which step and which system call too", since: "", flag: func(i *Invocation) *bool { return &i.Explain }},
	{name: "--cloche-plan", args: "", help: "Print what would be done, operation by operation, and do nothing", since: "", flag: func(i *Invocation) *bool { return &i.Plan }},
	{name: "--cloche-completion", args: "SHELL", help: "Print a script by which SHELL (bash, zsh, fish) completes this command line", since: "", apply: (*parser).completionFor},
	{name: "--print-policy", args: "", help: "Print the policy for cloche run that says the same, as TOML, and do nothing", since: "", flag: func(i *Invocation) *bool { return &i.PrintPolicy }},
}

func find(name string) *option {
	for i := range options {
		if options[i].name == name {
			return &options[i]
		}
	}
	return nil
}

// What options do.

func (o *option) do(p *parser, a []string) error {
	switch {
	case o.flag != nil:
		*o.flag(&p.inv) = true
	case o.text != nil:
		f := o.text(&p.inv)
		if *f != nil {
			p.onlyLast(o.name)
		}
		*f = &a[0]
	case o.fd != nil:
		f := o.fd(&p.inv)
		if *f >= 0 {
			p.onlyLast(o.name)
		}
		n, err := parseFD(a[0])
		*f = n
		return err
	case o.id != nil:
		f := o.id(&p.inv)
		if *f >= 0 {
			p.onlyLast(o.name)
		}
		n, ok := strtol(a[0])
		if !ok || n < 0 {
			return errors.New("Invalid " + o.name[2:] + ": " + a[0])
		}
		*f = n
	case o.apply != nil:
		return o.apply(p, o, a)
	default: // --args, which does what all of them do
		return p.argsFrom(a)
	}
	return nil
}

// bind is of a source and a destination.
func bind(p *parser, o *option, a []string) error {
	act := o.act
	act.Source, act.Dest = a[0], a[1]
	return p.add(o, a, act)
}

func bindFD(p *parser, o *option, a []string) error {
	n, err := parseFD(a[0])
	if err != nil {
		return err
	}
	p.inv.Used = append(p.inv.Used, n)
	act := o.act
	act.Source, act.Dest = "/proc/self/fd/"+strconv.Itoa(n), a[1]
	return p.add(o, a, act)
}

func at(p *parser, o *option, a []string) error {
	act := o.act
	act.Dest = a[0]
	return p.add(o, a, act)
}

func made(p *parser, o *option, a []string) error {
	act := o.act
	act.Dest = a[0]
	act.Mode, act.Tight = p.takePerms(int(act.Mode))
	if act.Kind == plan.ActTmpfs {
		act.Size, p.size = policy.Size(p.size), 0
	}
	return p.add(o, a, act)
}

func data(p *parser, o *option, a []string) error {
	n, err := parseFD(a[0])
	if err != nil {
		return err
	}
	act := o.act
	act.FD, act.Dest = n, a[1]
	act.Mode, act.Tight = p.takePerms(int(act.Mode))
	p.inv.Used = append(p.inv.Used, n)
	return p.add(o, a, act)
}

// setting is an option that says what a flag of `cloche run` says.
func setting(p *parser, o *option, a []string) error {
	p.inv.Settings = append(p.inv.Settings, Setting{strings.TrimPrefix(o.name, "--cloche-"), a[0]})
	return nil
}

// Help is what --help prints, for a program of this name.
func Help(program string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "usage: %s [OPTIONS...] [--] COMMAND [ARGS...]\n\n", program)
	for i := range options {
		o := &options[i]
		if o.since == "" && options[i-1].since != "" {
			b.WriteString("\nBeyond bubblewrap's, also as words of the variable " + OptionsVariable + ":\n")
		}
		left := "    " + strings.TrimSpace(o.name+" "+o.args)
		fmt.Fprintf(&b, "%-32s %s\n", left, o.help)
	}
	return b.String()
}
