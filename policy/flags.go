package policy

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cloche-sandbox/cloche/internal/document"
)

// Flag is an option of `cloche run` that changes a policy.
type Flag struct {
	Name  string // without the leading hyphens
	Value string // what to write for the value, such as "SIZE"; "": the flag takes none
	Usage string // one line, without a full stop
	// Repeat: giving the flag again adds to what it said before; of any other
	// flag the last one holds.
	Repeat bool
	// OptionalValue is what the flag means without a value, for one that may
	// be given either way (--tty, --tty=never).
	OptionalValue string

	key   string // the setting that it sets, or
	apply func(p *Policy, value, where string) error
}

// Flags are in the order of a help page. It is data: nothing here runs before
// a flag is applied, and nobody may change it.
var Flags = [...]Flag{
	{Name: "read", Value: "PATH", Usage: "show a file or directory, read-only", Repeat: true, apply: flagRead},
	{Name: "write", Value: "PATH", Usage: "show a file or directory, writable", Repeat: true, apply: flagWrite},
	{Name: "hide", Value: "PATH", Usage: "hide a file or directory that would be shown", Repeat: true, apply: flagHide},
	{Name: "bind", Value: "SRC:DST[:rw|ro]", Usage: "show SRC at DST, read-only unless rw is given", Repeat: true, apply: flagBind},
	{Name: "tmpfs", Value: "PATH[:size=SIZE,mode=MODE]", Usage: "put an empty tmpfs at PATH", Repeat: true, apply: flagTmpfs},
	{Name: "overlay", Value: "PATH[:upper=DIR,work=DIR,lower=DIR]", Usage: "make PATH writable, changes are dropped or kept in upper", Repeat: true, apply: flagOverlay},
	{Name: "show-command", Value: "true|false", Usage: "show the command's own file and what it needs to load, read-only", OptionalValue: "true", key: "filesystem.show-command"},
	{Name: "net", Value: "none|private|host", Usage: "the network: none, loopback alone, or the host's", key: "network.mode"},
	{Name: "memory", Value: "SIZE", Usage: "memory of all processes together", key: "limits.memory"},
	{Name: "swap", Value: "SIZE", Usage: "swap of all processes together; 0 for none", key: "limits.swap"},
	{Name: "cpus", Value: "N", Usage: "processors' worth of time, such as 0.5", key: "limits.cpus"},
	{Name: "pids", Value: "N", Usage: "processes and threads", key: "limits.pids"},
	{Name: "io", Value: "DEV:rbps=SIZE,wbps=SIZE,riops=N,wiops=N", Usage: "bytes and operations a second on a device", Repeat: true, apply: flagIO},
	{Name: "cpuset", Value: "LIST", Usage: "processors to run on, such as 0-2,7", key: "limits.cpuset"},
	{Name: "wall-time", Value: "TIME", Usage: "end the sandbox after this time, such as 10s", key: "time.wall"},
	{Name: "cpu-time", Value: "TIME", Usage: "end the sandbox after this much CPU time of all processes", key: "time.cpu"},
	{Name: "max-output", Value: "SIZE", Usage: "bytes of stdout and stderr together", key: "max-output"},
	{Name: "rlimit", Value: "NAME=SOFT[:HARD]", Usage: "a limit of getrlimit(2), such as nofile=256", Repeat: true, apply: flagRlimit},
	{Name: "env", Value: "NAME[=VALUE]", Usage: "set a variable, or pass yours on", Repeat: true, apply: flagEnv},
	{Name: "clear-env", Usage: "start with no variables but those of --env", apply: flagClearEnv},
	{Name: "cwd", Value: "PATH", Usage: "the working directory inside", key: "cwd"},
	{Name: "hostname", Value: "NAME", Usage: "the host name inside", key: "hostname"},
	{Name: "user", Value: "UID[:GID]|current|ranges", Usage: "the ids inside", apply: flagUser},
	{Name: "map-root", Usage: "be root inside, yourself outside", apply: flagMapRoot},
	{Name: "cap-add", Value: "CAP", Usage: "keep a capability, or ALL", Repeat: true, apply: flagCapAdd},
	{Name: "cap-drop", Value: "CAP", Usage: "drop a capability, or ALL", Repeat: true, apply: flagCapDrop},
	{Name: "seccomp", Value: "NAME|FILE", Usage: "the filter: default, build, strict, docker, none, or a profile file", key: "seccomp.profile"},
	{Name: "landlock", Value: "require|where-available|off", Usage: "whether Landlock guards the files too", key: "landlock.mode"},
	{Name: "unshare", Value: "NS", Usage: "make a namespace anew: user, mount, pid, net, ipc, uts, cgroup, time", Repeat: true, apply: flagUnshare},
	{Name: "share", Value: "NS", Usage: "share a namespace with the host", Repeat: true, apply: flagShare},
	{Name: "no-init", Usage: "make the command itself pid 1", apply: flagNoInit},
	{Name: "tty", Value: "auto|always|never", Usage: "give the command a terminal of its own", OptionalValue: "always", key: "terminal"},
}

// FlagNamed returns the flag with this name, without hyphens, or nil.
func FlagNamed(name string) *Flag {
	for i := range Flags {
		if Flags[i].Name == name {
			return &Flags[i]
		}
	}
	return nil
}

// Apply changes p as the flag says. Flags are applied in the order written,
// after the profile and the policy file and before Expand. A flag without a
// value takes "" or "true". The error is one line that names the flag, the
// value and what is expected; the value of a variable is never in it.
func (f *Flag) Apply(p *Policy, value string) error {
	where := "--" + f.Name
	switch {
	case f.Value == "":
		if value != "" && value != "true" {
			return fmt.Errorf("%s takes no value, not %s", where, document.Clip(value))
		}
	case value == "" && f.OptionalValue != "":
		value = f.OptionalValue
	}
	if f.Value != "" {
		where += " " + shellWord(value)
	}
	var err error
	if f.apply != nil {
		err = f.apply(p, value, where)
	} else {
		err = settingFor(f.key).set(p, value, where)
	}
	if err == nil {
		return nil
	}
	if f.Value == "" {
		return fmt.Errorf("--%s: %w", f.Name, err)
	}
	if f.Name == "env" {
		value, _, _ = strings.Cut(value, "=") // the rest may be a secret
	}
	if strings.ContainsAny(f.Value, ":=") {
		return fmt.Errorf("--%s %s: %w (usage: --%s %s)", f.Name, document.Clip(value), err, f.Name, f.Value)
	}
	return fmt.Errorf("--%s %s: %w", f.Name, document.Clip(value), err)
}

// shellWord quotes s where it would not be plain in a message of one line.
func shellWord(s string) string {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f || s[i] == '"' {
			return document.Clip(s)
		}
	}
	if s == "" || len(s) > 80 {
		return document.Clip(s)
	}
	return s
}

func flagRead(p *Policy, v, where string) error { return p.show(Mount{Kind: Read, Path: v}, where) }

func flagWrite(p *Policy, v, where string) error { return p.show(Mount{Kind: Write, Path: v}, where) }

func flagHide(p *Policy, v, where string) error { return p.show(Mount{Kind: Hide, Path: v}, where) }

// show adds an entry; the last one for a path holds.
func (p *Policy) show(m Mount, where string) error {
	if err := checkPath(m.Path); err != nil {
		return err
	}
	if err := checkMount(&m); err != nil {
		return err
	}
	m.Origin = where
	p.Mounts = append(p.Mounts, m)
	return nil
}

func flagBind(p *Policy, v, where string) error {
	parts := splitColons(v)
	if len(parts) < 2 || len(parts) > 3 {
		return errors.New(`a source and a target are needed (a colon in a path is written \:)`)
	}
	m := Mount{Kind: Read, Source: parts[0], Path: parts[1]}
	if m.Source == "" {
		return errors.New("the source is empty")
	}
	if len(parts) == 3 {
		switch parts[2] {
		case "rw":
			m.Kind = Write
		case "ro":
		default:
			return fmt.Errorf(`%s is neither rw nor ro (a colon in a path is written \:)`, document.Clip(parts[2]))
		}
	}
	return p.show(m, where)
}

// splitColons cuts at colons; a backslash takes the meaning from a colon or
// a backslash after it.
func splitColons(s string) []string {
	var parts []string
	var part strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == ':' || s[i+1] == '\\'):
			i++
			part.WriteByte(s[i])
		case s[i] == ':':
			parts = append(parts, part.String())
			part.Reset()
		default:
			part.WriteByte(s[i])
		}
	}
	return append(parts, part.String())
}

func flagTmpfs(p *Policy, v, where string) error {
	return p.showWith(Tmpfs, v, where, "size", "mode")
}

func flagOverlay(p *Policy, v, where string) error {
	return p.showWith(Overlay, v, where, "upper", "work", "lower")
}

// showWith reads "PATH:key=value,key=value".
func (p *Policy) showWith(kind MountKind, v, where string, keys ...string) error {
	parts := splitColons(v)
	if len(parts) > 2 {
		return errors.New(`a colon too many (one in a path is written \:)`)
	}
	m := Mount{Kind: kind, Path: parts[0]}
	if len(parts) == 2 {
		for option := range strings.SplitSeq(parts[1], ",") {
			key, val, ok := strings.Cut(option, "=")
			if err := document.OneOf("option", key, keys); err != nil {
				return err
			}
			if !ok {
				return fmt.Errorf("%s needs a value: %s=…", key, key)
			}
			if err := m.set(key, val); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
		}
	}
	return p.show(m, where)
}

func flagIO(p *Policy, v, where string) error {
	parts := splitColons(v)
	if len(parts) != 2 {
		return errors.New(`a device and its limits are needed (a colon in a path is written \:)`)
	}
	l := IOLimit{Device: parts[0]}
	for option := range strings.SplitSeq(parts[1], ",") {
		key, val, _ := strings.Cut(option, "=")
		if err := l.setIO(key, val); err != nil {
			return fmt.Errorf("%s: %w", document.Clip(key), err)
		}
	}
	return p.addIO(l, where)
}

func flagRlimit(p *Policy, v, where string) error {
	name, val, ok := strings.Cut(v, "=")
	if !ok {
		return errors.New("a name and a number are needed, such as nofile=256")
	}
	return p.setRlimit(name, val, where)
}

func flagEnv(p *Policy, v, where string) error {
	name, val, ok := strings.Cut(v, "=")
	if ok {
		// The value may be a secret: messages and plans show the name alone.
		return p.setEnv(name, val, "--env "+shellWord(name))
	}
	_, err := keepEnv(p, name, where)
	return err
}

func flagClearEnv(p *Policy, _, where string) error { p.clearEnv(where); return nil }

func flagUser(p *Policy, v, where string) error {
	switch v {
	case string(UserCurrent), string(UserRanges):
		return setUserMode(p, v, where)
	}
	uid, gid, two := strings.Cut(v, ":")
	if !digits(uid) || (two && !digits(gid)) {
		return errors.New("neither an id nor a mode: names of users mean nothing inside")
	}
	if !two {
		gid = uid
	}
	if err := setUserMode(p, string(UserSingle), where); err != nil {
		return err
	}
	if err := setUID(p, uid, where); err != nil {
		return err
	}
	return setGID(p, gid, where)
}

func flagMapRoot(p *Policy, _, where string) error { return setUserMode(p, string(UserRoot), where) }

func flagCapAdd(p *Policy, v, where string) error {
	_, err := addCapability(p, v, where)
	return err
}

func flagCapDrop(p *Policy, v, where string) error {
	_, err := dropCapability(p, v, where)
	return err
}

func flagUnshare(p *Policy, v, where string) error { return p.setNamespace(v, true, where) }
func flagShare(p *Policy, v, where string) error   { return p.setNamespace(v, false, where) }
func flagNoInit(p *Policy, _, where string) error  { return setInit(p, "false", where) }
