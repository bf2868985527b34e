package policy

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cloche-sandbox/cloche/internal/document"
)

// Format writes p in its TOML form, whole: it extends nothing, and Parse reads
// the same policy back, but for Origins (which come out as comments), Notes,
// the order of Mounts, the text of a seccomp profile file (its path is written; Resolve
// reads it again), and names to keep where the environment is inherited
// anyway. Paths that are not UTF-8 can't be written in TOML;
// what is wrong in them becomes U+FFFD.
func Format(p *Policy) []byte {
	explicit := *p
	explicit.fillModes()
	p = &explicit
	f := &formatter{p: p}
	f.text("name", p.Name)
	f.text("description", p.Description)
	f.blank()
	f.text("cwd", p.Cwd)
	f.text("hostname", p.Hostname)
	f.text("terminal", string(p.Terminal))
	f.line("init", strconv.FormatBool(p.Init), "init")
	f.line("keyring", strconv.FormatBool(p.Keyring), "keyring")
	f.size("max-output", p.Output)

	f.mounts()
	f.section("network")
	f.text("mode", string(p.Network))
	f.namespaces()
	f.section("user")
	f.text("mode", string(p.User.Mode))
	if p.User.Mode == UserSingle || p.User.Mode == UserRanges || p.User.UID != 0 || p.User.GID != 0 {
		f.line("uid", strconv.FormatUint(uint64(p.User.UID), 10), "user.uid")
		f.line("gid", strconv.FormatUint(uint64(p.User.GID), 10), "user.gid")
	}
	f.section("capabilities")
	f.names("add", "capabilities.", p.Capabilities)
	f.seccomp()
	f.section("landlock")
	f.text("mode", string(p.Landlock))
	f.limits()
	f.section("time")
	if p.Time.Wall != 0 {
		f.line("wall", document.Quote(FormatDuration(p.Time.Wall)), "time.wall")
	}
	if p.Time.CPU != 0 {
		f.line("cpu", document.Quote(FormatDuration(p.Time.CPU)), "time.cpu")
	}
	f.section("rlimits")
	for _, name := range slices.Sorted(maps.Keys(p.Rlimits)) {
		r := p.Rlimits[name]
		val := rlimitValue(r.Soft)
		if r.Soft != r.Hard {
			val = "{ soft = " + val + ", hard = " + rlimitValue(r.Hard) + " }"
		}
		f.line(name, val, "rlimits."+name)
	}
	f.section("env")
	if p.Env.Inherit {
		f.line("inherit", "true", "env.inherit")
	} else {
		f.names("keep", "env.keep.", p.Env.Keep)
	}
	f.names("unset", "env.unset.", p.Env.Unset)
	f.section("env.set")
	for _, name := range slices.Sorted(maps.Keys(p.Env.Set)) {
		f.line(document.Key(name), document.Quote(p.Env.Set[name]), "env.set."+name)
	}
	return []byte(f.b.String())
}

type formatter struct {
	p       *Policy
	b       strings.Builder
	prefix  string // of the section, for origins
	pending string // a header that is written when something follows
}

func (f *formatter) blank() {
	if f.b.Len() > 0 {
		f.b.WriteByte('\n')
	}
}

// section starts a table; one that stays empty is not written.
func (f *formatter) section(name string) {
	f.pending = name
	f.prefix = name + "."
}

// line writes a key with its value, and where it came from.
func (f *formatter) line(key, val, origin string) {
	if f.pending != "" {
		f.blank()
		f.b.WriteString("[" + f.pending + "]\n")
		f.pending = ""
	}
	f.b.WriteString(key + " = " + val)
	f.comment(f.p.Origins[origin])
}

// comment ends a line with an origin.
func (f *formatter) comment(where string) {
	if where != "" {
		f.b.WriteString(" # " + strings.Map(printable, where))
	}
	f.b.WriteByte('\n')
}

// printable keeps a comment on its line.
func printable(r rune) rune {
	if r < ' ' || r == 0x7f || r == utf8.RuneError {
		return '?'
	}
	return r
}

func (f *formatter) text(key, val string) {
	if val != "" {
		f.line(key, document.Quote(val), f.prefix+key)
	}
}

func (f *formatter) size(key string, val Size) {
	if val != 0 {
		f.line(key, sizeValue(val), f.prefix+key)
	}
}

// names writes a list of names, on one line where they came from one place.
func (f *formatter) names(key, origin string, names []string) {
	if len(names) == 0 {
		return
	}
	quoted := make([]string, len(names))
	same := true
	for i, n := range names {
		quoted[i] = document.Quote(n)
		same = same && f.p.Origins[origin+n] == f.p.Origins[origin+names[0]]
	}
	if same {
		f.line(key, "["+strings.Join(quoted, ", ")+"]", origin+names[0])
		return
	}
	f.line(key, "[", "")
	for i, n := range names {
		f.b.WriteString("\t" + quoted[i] + ",")
		f.comment(f.p.Origins[origin+n])
	}
	f.b.WriteString("]\n")
}

func (f *formatter) namespaces() {
	var fresh, shared []string
	for _, name := range NamespaceNames() {
		if f.p.Unshare.Has(name) {
			fresh = append(fresh, name)
		} else {
			shared = append(shared, name)
		}
	}
	f.section("namespaces")
	f.names("unshare", "namespaces.", fresh)
	f.names("share", "namespaces.", shared)
}

func (f *formatter) limits() {
	l := &f.p.Limits
	f.section("limits")
	f.size("memory", l.Memory)
	if l.Swap != nil {
		f.line("swap", sizeValue(*l.Swap), "limits.swap")
	}
	if l.CPUs != 0 {
		f.line("cpus", FormatCPUs(l.CPUs), "limits.cpus")
	}
	if l.CPUWeight != 0 {
		f.line("cpu-weight", strconv.FormatUint(l.CPUWeight, 10), "limits.cpu-weight")
	}
	if l.Pids != 0 {
		f.line("pids", strconv.FormatInt(l.Pids, 10), "limits.pids")
	}
	f.text("cpuset", l.Cpuset)
	f.text("parent", l.Parent)
	f.names("where-available", "limits.where-available.", l.WhereAvailable)
	if len(l.IO) == 0 {
		return
	}
	f.line("io", "[", "limits.io")
	for _, io := range l.IO {
		t := table{"device", document.Quote(io.Device)}
		for i, n := range [...]Size{io.ReadBPS, io.WriteBPS, Size(io.ReadIOPS), Size(io.WriteIOPS)} {
			if n == 0 {
				continue
			}
			val := strconv.FormatInt(int64(n), 10)
			if i < 2 {
				val = sizeValue(n)
			}
			t = append(t, [...]string{"rbps", "wbps", "riops", "wiops"}[i], val)
		}
		f.b.WriteString("\t" + t.String() + ",\n")
	}
	f.b.WriteString("]\n")
}

// table is an inline table: keys and values by turns.
type table []string

func (t table) String() string {
	var b strings.Builder
	b.WriteString("{ ")
	for i := 0; i < len(t); i += 2 {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(t[i] + " = " + t[i+1])
	}
	return b.String() + " }"
}

// sizeValue is a size as TOML: a string with a unit, else an integer.
func sizeValue(n Size) string {
	if s := n.String(); !digits(s) {
		return document.Quote(s)
	}
	return strconv.FormatInt(int64(n), 10)
}

func rlimitValue(n uint64) string {
	if n == Unlimited {
		return `"unlimited"`
	}
	return strconv.FormatUint(n, 10)
}
