package policy

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cloche-sandbox/cloche/internal/document"
)

// setting is one key of the TOML form that holds a scalar, or a list of them.
// A flag of `cloche run` sets the same by the same function, so that what
// is refused in a file is refused on a command line, in the same words.
type setting struct {
	key  string // dotted
	want string // what to write, for messages
	// kinds are the TOML types it may have, as a mask of 1<<kind.
	kinds uint
	// set takes a scalar as its text.
	set func(p *Policy, text, where string) error
	// add takes an item of a list and returns its canonical name; group is
	// what that name must be unique in, among the keys of one file.
	add   func(p *Policy, item, where string) (string, error)
	group string
}

const (
	aString = 1 << document.String
	aNumber = aString | 1<<document.Integer
	aFloat  = aNumber | 1<<document.Float
	aBool   = 1 << document.Bool
)

// settings are in the order in which they are applied: what implies another
// setting comes before it.
var settings = [...]setting{
	{key: "name", want: `a string`, kinds: aString, set: setName},
	{key: "description", want: `a string`, kinds: aString, set: setDescription},
	{key: "filesystem.show-command", want: `true or false`, kinds: aBool, set: setShowCommand},
	{key: "network.mode", want: `"none", "private" or "host"`, kinds: aString, set: setNetwork},
	{key: "namespaces.unshare", want: `names such as "pid"`, add: unshare, group: "namespaces"},
	{key: "namespaces.share", want: `names such as "net"`, add: share, group: "namespaces"},
	{key: "user.mode", want: `"current", "root", "single" or "ranges"`, kinds: aString, set: setUserMode},
	{key: "user.uid", want: `a number such as 1000`, kinds: aNumber, set: setUID},
	{key: "user.gid", want: `a number such as 1000`, kinds: aNumber, set: setGID},
	{key: "capabilities.add", want: `names such as "CAP_NET_BIND_SERVICE"`, add: addCapability, group: "capabilities"},
	{key: "capabilities.drop", want: `names such as "CAP_NET_BIND_SERVICE"`, add: dropCapability, group: "capabilities"},
	{key: "seccomp.profile", want: `a profile's name such as "default", or the path of a file`, kinds: aString, set: setSeccomp},
	{key: "landlock.mode", want: `"require", "where-available" or "off"`, kinds: aString, set: setLandlock},
	{key: "limits.memory", want: `a size such as "256M"`, kinds: aNumber, set: setMemory},
	{key: "limits.swap", want: `a size such as "256M", or 0 for no swap`, kinds: aNumber, set: setSwap},
	{key: "limits.cpus", want: `a number of processors such as 0.5`, kinds: aFloat, set: setCPUs},
	{key: "limits.cpu-weight", want: `a number from 1 to 10000`, kinds: aNumber, set: setCPUWeight},
	{key: "limits.pids", want: `a number such as 64`, kinds: aNumber, set: setPids},
	{key: "limits.cpuset", want: `processors such as "0-2,7"`, kinds: aString, set: setCpuset},
	{key: "limits.parent", want: `the path of a cgroup's directory`, kinds: aString, set: setParent},
	{key: "limits.where-available", want: `names of limits such as "pids"`, add: whereAvailable, group: "limits.where-available"},
	{key: "time.wall", want: `a duration such as "10s"`, kinds: aNumber, set: setWallTime},
	{key: "time.cpu", want: `a duration such as "10s"`, kinds: aNumber, set: setCPUTime},
	{key: "max-output", want: `a size such as "64M"`, kinds: aNumber, set: setMaxOutput},
	{key: "env.inherit", want: `true or false`, kinds: aBool, set: setInherit},
	{key: "env.keep", want: `names such as "TERM" or "LC_*"`, add: keepEnv, group: "env"},
	{key: "env.unset", want: `names such as "LD_PRELOAD"`, add: unsetEnv, group: "env"},
	{key: "cwd", want: `a path`, kinds: aString, set: setCwd},
	{key: "hostname", want: `a name`, kinds: aString, set: setHostname},
	{key: "terminal", want: `"auto", "always" or "never"`, kinds: aString, set: setTerminal},
	{key: "init", want: `true or false`, kinds: aBool, set: setInit},
	{key: "keyring", want: `true or false`, kinds: aBool, set: setKeyring},
}

// settingFor returns the setting with this key, or nil.
func settingFor(key string) *setting {
	for i := range settings {
		if settings[i].key == key {
			return &settings[i]
		}
	}
	return nil
}

// from remembers where a setting was asked for.
func (p *Policy) from(key, where string) {
	if p.Origins == nil {
		p.Origins = make(map[string]string)
	}
	p.Origins[key] = where
}

// fromFlag reports whether a setting was asked for on the command line.
func (p *Policy) fromFlag(key string) bool { return strings.HasPrefix(p.Origins[key], "--") }

func setName(p *Policy, s, _ string) error        { p.Name = s; return checkText(s) }
func setDescription(p *Policy, s, _ string) error { p.Description = s; return checkText(s) }

// checkText refuses what could not be printed in one piece.
func checkText(s string) error {
	for _, r := range s {
		if r == utf8.RuneError || (r < ' ' && r != '\n' && r != '\t') || r == 0x7f {
			return fmt.Errorf("%s holds a control character", document.Clip(s))
		}
	}
	return nil
}

func setNetwork(p *Policy, s, where string) error {
	if err := document.OneOf("network", s, []string{string(NetworkNone), string(NetworkPrivate), string(NetworkHost)}); err != nil {
		return err
	}
	p.Network = Network(s)
	p.Unshare.Net = p.Network != NetworkHost
	p.from("network.mode", where)
	p.from("namespaces.net", where)
	return nil
}

func unshare(p *Policy, name, where string) (string, error) {
	return name, p.setNamespace(name, true, where)
}

func share(p *Policy, name, where string) (string, error) {
	return name, p.setNamespace(name, false, where)
}

func (p *Policy) setNamespace(name string, fresh bool, where string) error {
	b := p.Unshare.namespace(name)
	if b == nil {
		return document.OneOf("namespace", name, NamespaceNames())
	}
	*b = fresh
	p.from("namespaces."+name, where)
	if name == "uts" && !fresh && !p.fromFlag("hostname") {
		p.Hostname = "" // the inherited one; the host's must not be changed
		delete(p.Origins, "hostname")
	}
	return nil
}

func setUserMode(p *Policy, s, where string) error {
	modes := []string{string(UserCurrent), string(UserRoot), string(UserSingle), string(UserRanges)}
	if err := document.OneOf("user mode", s, modes); err != nil {
		return err
	}
	p.User = User{Mode: UserMode(s)} // other ids were of another mode
	delete(p.Origins, "user.uid")
	delete(p.Origins, "user.gid")
	p.from("user.mode", where)
	return nil
}

// maxID is the largest id: the next one, -1, means "leave it" to setuid(2).
const maxID = 1<<32 - 2

func setUID(p *Policy, s, where string) error {
	n, err := parseCount(s, 0, maxID)
	if err == nil {
		p.User.UID = uint32(n)
		p.from("user.uid", where)
	}
	return err
}

func setGID(p *Policy, s, where string) error {
	n, err := parseCount(s, 0, maxID)
	if err == nil {
		p.User.GID = uint32(n)
		p.from("user.gid", where)
	}
	return err
}

func addCapability(p *Policy, s, where string) (string, error) {
	if strings.EqualFold(s, "all") {
		p.Capabilities = CapabilityNames()
		p.from("capabilities", where)
		return "all", nil
	}
	name, err := capabilityName(s)
	if err != nil {
		return "", err
	}
	if !slices.Contains(p.Capabilities, name) {
		p.Capabilities = append(p.Capabilities, name)
	}
	p.from("capabilities."+name, where)
	return name, nil
}

func dropCapability(p *Policy, s, where string) (string, error) {
	if strings.EqualFold(s, "all") {
		p.Capabilities = nil
		p.from("capabilities", where)
		return "all", nil
	}
	name, err := capabilityName(s)
	if err != nil {
		return "", err
	}
	p.Capabilities = without(p.Capabilities, name)
	p.from("capabilities."+name, where)
	return name, nil
}

// without returns list without item, and nil for what is then empty.
func without(list []string, item string) []string {
	list = slices.DeleteFunc(list, func(s string) bool { return s == item })
	if len(list) == 0 {
		return nil
	}
	return list
}

func setLandlock(p *Policy, s, where string) error {
	if err := document.OneOf("landlock mode", s, []string{string(LandlockRequire), string(LandlockWhereAvailable), string(LandlockOff)}); err != nil {
		return err
	}
	p.Landlock = Landlock(s)
	p.from("landlock.mode", where)
	return nil
}

func setCwd(p *Policy, s, where string) error {
	p.Cwd = s
	p.from("cwd", where)
	return checkPath(s)
}

func setHostname(p *Policy, s, where string) error {
	p.Hostname = s
	p.from("hostname", where)
	return checkHostname(s)
}

// checkHostname holds a name against sethostname(2) and RFC 1123.
func checkHostname(s string) error {
	const hostNameMax = 64 // __NEW_UTS_LEN
	if len(s) > hostNameMax {
		return fmt.Errorf("host name %s is %d bytes long, the kernel takes %d", document.Clip(s), len(s), hostNameMax)
	}
	for label := range strings.SplitSeq(s, ".") {
		if s != "" && (label == "" || label[0] == '-' || label[len(label)-1] == '-') {
			return fmt.Errorf("host name %s has a part that is empty or begins or ends with a hyphen", document.Clip(s))
		}
		for i := range len(label) {
			if c := label[i]; (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return fmt.Errorf("host name %s: only letters, digits, hyphens and dots", document.Clip(s))
			}
		}
	}
	return nil
}

func setTerminal(p *Policy, s, where string) error {
	if err := document.OneOf("terminal mode", s, []string{string(TerminalAuto), string(TerminalAlways), string(TerminalNever)}); err != nil {
		return err
	}
	p.Terminal = Terminal(s)
	p.from("terminal", where)
	return nil
}

func setInit(p *Policy, s, where string) error    { return p.setBool(&p.Init, "init", s, where) }
func setKeyring(p *Policy, s, where string) error { return p.setBool(&p.Keyring, "keyring", s, where) }

func setShowCommand(p *Policy, s, where string) error {
	return p.setBool(&p.ShowCommand, "filesystem.show-command", s, where)
}

func setInherit(p *Policy, s, where string) error {
	return p.setBool(&p.Env.Inherit, "env.inherit", s, where)
}

func (p *Policy) setBool(b *bool, key, s, where string) error {
	v, err := strconv.ParseBool(s)
	if err != nil {
		return errors.New("write true or false")
	}
	*b = v
	p.from(key, where)
	return nil
}
