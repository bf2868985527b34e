// Package bwrap takes bubblewrap's command line whole and makes the same sandbox: its
// options become acts, a policy and a manner, which the engine carries out as it does for
// every other front end. bwrap(1) of version 0.12 is the reference.
package bwrap

import (
	"bytes"
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

// Version is the version of bubblewrap whose command line this is.
const Version = "0.12.0"

// OptionsVariable holds --cloche-* options that come before those of the command line,
// separated by blanks.
const OptionsVariable = "CLOCHE_BWRAP_OPTIONS"

// maxArgs is how many arguments are taken, those from descriptors included.
const maxArgs = 9000

// Invocation is a command line that was read. A descriptor or an id that was not given is -1.
type Invocation struct {
	Help, Version     bool
	LevelPrefix       bool
	Explain           bool
	Plan, PrintPolicy bool
	Completion        string // the shell that it is for

	UnshareUser, UnshareUserTry, UnshareIPC, UnsharePID, UnshareNet, UnshareUTS bool
	UnshareCgroup, UnshareCgroupTry                                             bool
	DisableUserNS, AssertNoUserNS                                               bool
	NewSession, DieWithParent, AsPID1                                           bool

	UserNS, UserNS2, PIDNS                           int
	UID, GID                                         int
	SyncFD, BlockFD, UserNSBlockFD, InfoFD, StatusFD int
	Hostname, Chdir, ExecLabel, FileLabel, Argv0     *string
	Env                                              []EnvChange
	Locks                                            []string
	Acts                                             []plan.Act
	Seccomp                                          []int // descriptors of programs, in the order of loading
	Capabilities                                     []CapChange
	Used                                             []int // descriptors that acts read
	Settings                                         []Setting
	Warnings                                         []string
	Options                                          []string // as written, with those from descriptors in their places
	Command                                          []string
}

// EnvChange is --setenv, --unsetenv or --clearenv.
type EnvChange struct {
	Clear, Set  bool
	Name, Value string
}

// CapChange is --cap-add or --cap-drop.
type CapChange struct {
	Add  bool
	Name string // as capabilities(7) has it; "ALL" for all
}

// Setting is a flag of `cloche run` with its value.
type Setting struct{ Flag, Value string }

// errStop ends the reading without an error.
var errStop = errors.New("stop")

type parser struct {
	inv     Invocation
	readFD  func(fd int) ([]byte, error)
	total   int
	inFile  bool
	perms   int // of the next act; -1: none
	size    uint64
	lower   []string // of the next overlay, the topmost first
	single  bool     // --seccomp was given
	several bool     // --add-seccomp-fd was
}

// Parse reads a command line without the program's name; readFD reads the arguments that
// --args names. The error is worded as bubblewrap words it.
func Parse(args []string, readFD func(fd int) ([]byte, error)) (*Invocation, error) {
	p := &parser{readFD: readFD, total: len(args), perms: -1}
	p.inv = Invocation{UserNS: -1, UserNS2: -1, PIDNS: -1, UID: -1, GID: -1, SyncFD: -1, BlockFD: -1, UserNSBlockFD: -1, InfoFD: -1, StatusFD: -1}
	rest, err := p.options(args)
	if err == errStop {
		return &p.inv, nil
	}
	if err == nil && len(p.lower) > 0 {
		err = errLower
	}
	if err == nil {
		err = p.inv.check()
	}
	p.inv.Command = rest
	return &p.inv, err
}

var errLower = errors.New("--overlay-src must be followed by another --overlay-src or one of --overlay, --tmp-overlay, or --ro-overlay")

// options reads options and returns what follows them.
func (p *parser) options(args []string) ([]string, error) {
	if p.total > maxArgs {
		return nil, errTooMany
	}
	for len(args) > 0 {
		name := args[0]
		if name == "--" {
			return args[1:], p.pending("--")
		}
		if name == "" || name[0] != '-' {
			return args, nil
		}
		o := find(name)
		if o == nil {
			return nil, errors.New("Unknown option " + name)
		}
		n := o.arity()
		if len(args) <= n {
			return nil, o.missing()
		}
		if err := o.do(p, args[1:n+1]); err != nil {
			return nil, err
		}
		if o.name != "--args" {
			p.inv.Options = append(p.inv.Options, args[:n+1]...)
		}
		if err := p.pending(o.name); err != nil {
			return nil, err
		}
		args = args[n+1:]
	}
	return nil, nil
}

var errTooMany = errors.New("Exceeded maximum number of arguments " + strconv.Itoa(maxArgs))

// pending refuses an option that leaves over what the one before it said of it.
func (p *parser) pending(name string) error {
	modifier := name == "--perms" || name == "--size"
	switch {
	case !modifier && p.perms >= 0:
		return errors.New("--perms must be followed by an option that creates a file")
	case !modifier && p.size != 0:
		return errors.New("--size must be followed by --tmpfs")
	case name != "--overlay-src" && len(p.lower) > 0:
		return errLower
	}
	return nil
}

func (p *parser) onlyLast(name string) {
	p.inv.Warnings = append(p.inv.Warnings, "Only the last "+name+" option will take effect")
}

func (p *parser) argsFrom(a []string) error {
	if p.inFile {
		return errors.New("--args not supported in arguments file")
	}
	n, err := parseFD(a[0])
	if err != nil {
		return err
	}
	content, err := p.readFD(n)
	if err != nil {
		return failed("Can't read --args data", err)
	}
	var words []string
	for len(content) > 0 {
		word, rest, _ := bytes.Cut(content, []byte{0})
		words = append(words, string(word))
		if p.total++; p.total > maxArgs {
			return errTooMany
		}
		content = rest
	}
	p.inFile = true
	_, err = p.options(words)
	p.inFile = false
	return err
}

func (p *parser) argv0(_ *option, a []string) error {
	if p.inv.Argv0 != nil {
		return errors.New("--argv0 used multiple times")
	}
	p.inv.Argv0 = &a[0]
	return nil
}

func (p *parser) unshareAll(*option, []string) error {
	i := &p.inv
	i.UnshareUserTry, i.UnshareIPC, i.UnsharePID, i.UnshareUTS, i.UnshareCgroupTry, i.UnshareNet = true, true, true, true, true, true
	return nil
}

func (p *parser) env(call string, e EnvChange) error {
	if e.Name == "" || strings.Contains(e.Name, "=") {
		return errors.New(call + " failed: Invalid argument")
	}
	p.inv.Env = append(p.inv.Env, e)
	return nil
}

// add adds an act.
func (p *parser) add(o *option, a []string, act plan.Act) error {
	act.Origin = o.name + " " + strings.Join(a, " ")
	p.inv.Acts = append(p.inv.Acts, act)
	return nil
}

func (p *parser) overlay(o *option, a []string) error {
	least, words := 1, "at least one"
	act := plan.Act{Kind: plan.ActOverlay, Dest: a[len(a)-1], Lower: p.lower}
	switch o.name {
	case "--overlay":
		act.Upper, act.Work = a[0], a[1]
	case "--ro-overlay":
		act.ReadOnly = true
		least, words = 2, "at least two"
	}
	if len(p.lower) < least {
		return errors.New(o.name + " requires " + words + " --overlay-src")
	}
	p.lower = nil
	return p.add(o, a, act)
}

func (p *parser) seccomp(o *option, a []string) error {
	if p.several {
		return errors.New("--seccomp cannot be combined with --add-seccomp-fd")
	}
	if p.single {
		p.onlyLast(o.name)
		p.inv.Used = append(p.inv.Used, p.inv.Seccomp...)
	}
	n, err := parseFD(a[0])
	p.single, p.inv.Seccomp = true, []int{n}
	return err
}

func (p *parser) addSeccomp(_ *option, a []string) error {
	if p.single {
		return errors.New("--add-seccomp-fd cannot be combined with --seccomp")
	}
	n, err := parseFD(a[0])
	p.several, p.inv.Seccomp = true, append(p.inv.Seccomp, n)
	return err
}

func (p *parser) capability(o *option, a []string) error {
	name := strings.ToUpper(a[0])
	if name != "ALL" && (!strings.HasPrefix(name, "CAP_") || plan.CapabilitySet([]string{name}) == 0) {
		return errors.New("unknown cap: " + a[0])
	}
	p.inv.Capabilities = append(p.inv.Capabilities, CapChange{o.name == "--cap-add", name})
	return nil
}

func (p *parser) nextPerms(_ *option, a []string) error {
	if p.perms >= 0 {
		return errors.New("--perms given twice for the same action")
	}
	n, ok := octal(a[0])
	if !ok {
		return errors.New("--perms takes an octal argument <= 07777")
	}
	p.perms = n
	return nil
}

func (p *parser) nextSize(_ *option, a []string) error {
	if p.size != 0 {
		return errors.New("--size given twice for the same action")
	}
	n, err := strconv.ParseUint(a[0], 0, 64)
	if err != nil || n == 0 || strings.ContainsAny(a[0], "_bBoO") && !strings.HasPrefix(strings.ToLower(a[0]), "0x") {
		return errors.New("--size takes a non-zero number of bytes")
	}
	if n > math.MaxInt64 {
		return errors.New("--size (for tmpfs) is limited to " + strconv.Itoa(math.MaxInt64))
	}
	p.size = n
	return nil
}

func (p *parser) chmod(o *option, a []string) error {
	n, ok := octal(a[0])
	if !ok {
		return errors.New("--chmod takes an octal argument <= 07777")
	}
	return p.add(o, a, plan.Act{Kind: plan.ActChmod, Mode: uint32(n), Dest: a[1]})
}

// takePerms is the mode of what an act makes, and what directories on the way to it do not get:
// whom it is closed to, they are closed to as well.
func (p *parser) takePerms(otherwise int) (mode, tight uint32) {
	n := p.perms
	p.perms = -1
	if n < 0 {
		n = otherwise
	}
	if n&0o070 == 0 {
		tight |= 0o050
	}
	if n&0o007 == 0 {
		tight |= 0o005
	}
	return uint32(n), tight
}

// octal is strtoul(3) with base 8, up to 07777.
func octal(s string) (int, bool) {
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "+"), 8, 32)
	return int(n), err == nil && n <= 0o7777
}

// strtol reads a number as strtol(3) does into an int, with blanks and a sign before it.
func strtol(s string) (int, bool) {
	n, err := strconv.ParseInt(strings.TrimLeft(s, " \t\n\v\f\r"), 10, 64)
	if err != nil || n > math.MaxInt32 || n < math.MinInt32 {
		return 0, false
	}
	return int(n), true
}

func parseFD(s string) (int, error) {
	n, ok := strtol(s)
	if !ok || n < 0 {
		return -1, errors.New("Invalid fd: " + s)
	}
	return n, nil
}

// check refuses what contradicts itself.
func (i *Invocation) check() error {
	for _, c := range [...]struct {
		wrong bool
		why   string
	}{
		{i.UserNSBlockFD >= 0 && !i.UnshareUser, "--userns-block-fd requires --unshare-user"},
		{i.UserNSBlockFD >= 0 && i.InfoFD < 0, "--userns-block-fd requires --info-fd"},
		{i.UserNS >= 0 && i.UnshareUser, "--userns is not compatible with --unshare-user"},
		{i.UserNS >= 0 && i.UnshareUserTry, "--userns is not compatible with --unshare-user-try"},
		{i.DisableUserNS && !i.UnshareUser, "--disable-userns requires --unshare-user"},
		{i.DisableUserNS && i.UserNSBlockFD >= 0, "--disable-userns is not compatible with --userns-block-fd"},
		{i.Hostname != nil && !i.UnshareUTS, "Specifying --hostname requires --unshare-uts"},
		{i.AsPID1 && !i.UnsharePID, "Specifying --as-pid-1 requires --unshare-pid"},
		{i.AsPID1 && len(i.Locks) > 0, "Specifying --as-pid-1 and --lock-file is not permitted"},
	} {
		if c.wrong {
			return errors.New(c.why)
		}
	}
	return nil
}
