package profile

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cloche-sandbox/cloche/internal/document"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// ReadOCI reads the JSON form: linux.seccomp of the OCI runtime spec, alone or in a
// whole config.json, with what Docker's and containers-common's profiles add to it
// (archMap, name, comment, includes, excludes, errno by name). The filter answers
// what runc's would, with these differences: comparisons have the kernel's width,
// see [Host]; and a call by the numbers of an architecture that is not asked for
// kills the process, not the thread alone.
//
// Returned are the architectures that the profile asks for, the host's first. Errors
// are of type *Error.
func ReadOCI(file string, data []byte, host Host) (seccomp.Profile, []seccomp.Arch, []Warning, error) {
	if err := tooLarge(file, data); err != nil {
		return seccomp.Profile{}, nil, nil, err
	}
	root, err := document.ReadJSON(file, data)
	if err != nil {
		return seccomp.Profile{}, nil, nil, err
	}
	r := &ociReader{file: file, host: host}
	if err := r.root(root); err != nil {
		return seccomp.Profile{}, nil, nil, err
	}
	p := r.profile()
	r.useless(&p)
	return p, r.archs, r.warnings, nil
}

// useless warns of what makes the filter pointless.
func (r *ociReader) useless(p *seccomp.Profile) {
	asks := asksOthers(p)
	for i := range r.entries {
		e := &r.entries[i]
		for _, v := range e.names {
			if !e.applies {
				break
			}
			if why := around(asks, v.Text, e.args, e.action, r.host); why != "" {
				r.warn(v.Line, "%s", why)
			}
		}
	}
	if p.DeniesNothing() {
		r.warn(1, "%s", denyNothing)
	}
}

// ociReader reads the values; what they come to is for ocirules.go.
type ociReader struct {
	file     string
	host     Host
	warnings []Warning

	byDefault seccomp.Action
	flags     uint
	archs     []seccomp.Arch
	entries   []ociEntry
}

// ociEntry is one of syscalls.
type ociEntry struct {
	index, line int
	names       []*document.Value
	action      seccomp.Action
	args        []seccomp.Arg // 64 bits, as written
	comment     string
	condition   string // its includes and excludes, for people
	applies     bool   // on this host
}

func (r *ociReader) fail(line int, key string, err error) error {
	return &Error{File: r.file, Line: line, Key: key, Err: err}
}

func (r *ociReader) warn(line int, format string, args ...any) {
	r.warnings = append(r.warnings, Warning{File: r.file, Line: line, Text: fmt.Sprintf(format, args...)})
}

func (r *ociReader) want(v *document.Value, key string, kind document.Kind) error {
	if v.Kind == kind {
		return nil
	}
	return r.fail(v.Line, key, fmt.Errorf("want %s, not %s", kind, v.Kind))
}

// fields hands the keys of an object to read, which says whether it knows them. As
// Go's decoder, which all these files are made for, it takes keys in any case and
// null for nothing. An unknown key is a warning: a newer profile may have more.
func (r *ociReader) fields(t *document.Value, key string, known []string, read func(name, key string, v *document.Value) error) error {
	if err := r.want(t, key, document.Table); err != nil {
		return err
	}
	seen := map[string]int{}
	for _, e := range t.Keys {
		path := document.DottedKey(e.Key)
		if key != "" {
			path = key + "." + path
		}
		i := slices.IndexFunc(known, func(k string) bool { return strings.EqualFold(k, e.Key) })
		if i < 0 {
			hint := "it says nothing here"
			if near := document.Nearest(e.Key, known); near != "" {
				hint = "did you mean " + near + "?"
			}
			r.warn(e.Line, "%s: unknown key: %s", path, hint)
			continue
		}
		if first, ok := seen[known[i]]; ok {
			return r.fail(e.Line, path, fmt.Errorf("given twice, first on line %d: keep one", first))
		}
		seen[known[i]] = e.Line
		if e.Val.Kind == document.Null {
			continue
		}
		if err := read(known[i], path, e.Val); err != nil {
			return err
		}
	}
	return nil
}

func (r *ociReader) root(root *document.Value) error {
	if root.Kind == document.Table && root.Get("ociVersion") != nil {
		linux := root.Get("linux")
		if linux == nil || linux.Kind != document.Table || linux.Get("seccomp") == nil {
			return r.fail(root.Line, "linux.seccomp", errors.New("this container's configuration has none"))
		}
		root = linux.Get("seccomp")
	}
	var action, errnoName, errnoRet, archs, archMap, syscalls *document.Value
	known := []string{
		"defaultAction", "defaultErrnoRet", "defaultErrno", "architectures", "archMap", "flags",
		"listenerPath", "listenerMetadata", "syscalls",
	}
	err := r.fields(root, "", known, func(name, key string, v *document.Value) error {
		switch name {
		case "defaultAction":
			action = v
		case "defaultErrnoRet":
			errnoRet = v
		case "defaultErrno":
			errnoName = v
		case "architectures":
			archs = v
		case "archMap":
			archMap = v
		case "syscalls":
			syscalls = v
		case "flags":
			return r.readFlags(v, key)
		default: // listenerPath, listenerMetadata
			r.warn(v.Line, "%s: where the listener of notify goes is for the runtime to know: it is no part of a profile", key)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if action == nil {
		return r.fail(root.Line, "defaultAction", errors.New(`missing: say what happens to calls that no rule is about, such as "SCMP_ACT_ERRNO"`))
	}
	if r.byDefault, err = r.action(action, "defaultAction", errnoRet, errnoName); err != nil {
		return err
	}
	if err := r.readArchs(archs, archMap); err != nil {
		return err
	}
	if syscalls == nil {
		return nil
	}
	if err := r.want(syscalls, "syscalls", document.Array); err != nil {
		return err
	}
	r.entries = make([]ociEntry, 0, len(syscalls.Items))
	for i, v := range syscalls.Items {
		if err := r.entry(i, v); err != nil {
			return err
		}
	}
	return nil
}

// strings reads a list of strings.
func (r *ociReader) strings(v *document.Value, key string) ([]*document.Value, error) {
	if err := r.want(v, key, document.Array); err != nil {
		return nil, err
	}
	for _, item := range v.Items {
		if err := r.want(item, key, document.String); err != nil {
			return nil, err
		}
	}
	return v.Items, nil
}

func (r *ociReader) readFlags(v *document.Value, key string) error {
	items, err := r.strings(v, key)
	if err != nil {
		return err
	}
	var names []string
	for _, f := range flagNames {
		names = append(names, f.oci)
	}
	for _, item := range items {
		i := slices.Index(names, item.Text)
		if i < 0 {
			return r.fail(item.Line, key, document.OneOf("flag", item.Text, names))
		}
		r.flags |= flagNames[i].flag
	}
	return nil
}

// its sub-architectures where it is the host's; a plain list counts as it is.
func (r *ociReader) readArchs(list, archMap *document.Value) error {
	// readArchs finds the architectures, the host's first. One of the map counts with
	if r.host.Arch != (seccomp.Arch{}) {
		r.archs = []seccomp.Arch{r.host.Arch}
	}
	if list != nil && archMap != nil && len(list.Items) > 0 && len(archMap.Items) > 0 {
		return r.fail(list.Line, "architectures", fmt.Errorf("archMap on line %d says the same: give one of the two", archMap.Line))
	}
	if list != nil {
		return r.addArchs(list, "architectures")
	}
	if archMap == nil {
		return nil
	}
	if err := r.want(archMap, "archMap", document.Array); err != nil {
		return err
	}
	for _, item := range archMap.Items {
		var main, sub *document.Value
		err := r.fields(item, "archMap", []string{"architecture", "subArchitectures"}, func(name, _ string, v *document.Value) error {
			if name == "architecture" {
				main = v
				return r.want(v, "archMap.architecture", document.String)
			}
			sub = v
			_, err := r.strings(v, "archMap.subArchitectures")
			return err
		})
		if err != nil {
			return err
		}
		if main == nil {
			return r.fail(item.Line, "archMap.architecture", errors.New(`missing: such as "SCMP_ARCH_X86_64"`))
		}
		if a, ok := seccomp.ArchByName(main.Text); ok && a == r.host.Arch && sub != nil {
			return r.addArchs(sub, "archMap.subArchitectures")
		}
	}
	return nil
}

func (r *ociReader) addArchs(v *document.Value, key string) error {
	items, err := r.strings(v, key)
	if err != nil {
		return err
	}
	for _, item := range items {
		a, ok := seccomp.ArchByName(item.Text)
		switch {
		case !strings.HasPrefix(item.Text, "SCMP_ARCH_"):
			return r.fail(item.Line, key, fmt.Errorf(`%s is no architecture: write libseccomp's name, such as "SCMP_ARCH_X86_64"`, document.Clip(item.Text)))
		case item.Text == "SCMP_ARCH_NATIVE":
		case !ok:
			r.warn(item.Line, "%s: there is no table of its calls here: they are answered as those of an architecture that is not asked for", item.Text)
		case !slices.Contains(r.archs, a):
			r.archs = append(r.archs, a)
		}
	}
	return nil
}

func (r *ociReader) entry(index int, v *document.Value) error {
	e := ociEntry{index: index, line: v.Line, applies: true}
	path := fmt.Sprintf("syscalls[%d]", index)
	var name, action, errnoName, errnoRet *document.Value
	known := []string{"names", "name", "action", "errnoRet", "errno", "args", "comment", "includes", "excludes"}
	err := r.fields(v, path, known, func(field, key string, v *document.Value) (err error) {
		switch field {
		case "names":
			e.names, err = r.strings(v, key)
		case "name":
			name = v
			err = r.want(v, key, document.String)
		case "action":
			action = v
		case "errnoRet":
			errnoRet = v
		case "errno":
			errnoName = v
		case "args":
			e.args, err = r.readArgs(v, key)
		case "comment":
			if err = r.want(v, key, document.String); err == nil {
				e.comment = strings.Map(plain, v.Text)
			}
		case "includes":
			err = r.filter(&e, v, key, true)
		case "excludes":
			err = r.filter(&e, v, key, false)
		}
		return err
	})
	if err != nil {
		return err
	}
	if name != nil && name.Text != "" {
		if len(e.names) > 0 {
			return r.fail(name.Line, path, errors.New("it has name and names: give one of the two"))
		}
		e.names = []*document.Value{name}
	}
	if len(e.names) == 0 {
		return r.fail(v.Line, path+".names", errors.New(`missing: the calls that it is about, such as ["read", "write"]`))
	}
	if action == nil {
		return r.fail(v.Line, path+".action", errors.New(`missing: such as "SCMP_ACT_ALLOW"`))
	}
	if e.action, err = r.action(action, path+".action", errnoRet, errnoName); err != nil {
		return err
	}
	r.entries = append(r.entries, e)
	return nil
}

// plain takes control characters out of a comment: it may be printed on a terminal.
func plain(c rune) rune {
	if c < ' ' || c == 0x7f {
		return ' '
	}
	return c
}

// ociOperators are libseccomp's names.
var ociOperators = [...]struct {
	name string
	op   seccomp.Op
}{
	{"SCMP_CMP_EQ", seccomp.Equal},
	{"SCMP_CMP_NE", seccomp.NotEqual},
	{"SCMP_CMP_LT", seccomp.Less},
	{"SCMP_CMP_LE", seccomp.LessEqual},
	{"SCMP_CMP_GT", seccomp.Greater},
	{"SCMP_CMP_GE", seccomp.GreaterEqual},
	{"SCMP_CMP_MASKED_EQ", seccomp.MaskedEqual},
}

func (r *ociReader) readArgs(v *document.Value, path string) ([]seccomp.Arg, error) {
	if err := r.want(v, path, document.Array); err != nil {
		return nil, err
	}
	var args []seccomp.Arg
	var operators []string
	for _, o := range ociOperators {
		operators = append(operators, o.name)
	}
	for _, item := range v.Items {
		var a seccomp.Arg
		var index, value, two uint64
		op := -1
		err := r.fields(item, path, []string{"index", "value", "valueTwo", "op"}, func(name, key string, v *document.Value) (err error) {
			switch name {
			case "index":
				index, err = r.number(v, key, maxArgs-1)
			case "value":
				value, err = r.number(v, key, ^uint64(0))
			case "valueTwo":
				two, err = r.number(v, key, ^uint64(0))
			case "op":
				if err = r.want(v, key, document.String); err == nil {
					if op = slices.Index(operators, v.Text); op < 0 {
						err = r.fail(v.Line, key, document.OneOf("comparison", v.Text, operators))
					}
				}
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		if op < 0 {
			return nil, r.fail(item.Line, path+".op", errors.New(`missing: such as "SCMP_CMP_EQ"`))
		}
		a.Index, a.Op, a.Value = int(index), ociOperators[op].op, value
		if a.Op == seccomp.MaskedEqual {
			a.Mask, a.Value = value, two
		}
		args = append(args, a)
	}
	return args, nil
}
