package policy

import (
	"encoding/base64"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/cloche-sandbox/cloche/internal/document"
)

// filesystemKeys are the keys of [filesystem], in the order in which Format
// writes them.
func filesystemKeys() []string {
	names := [...]string{
		"remove", "read", "write", "bind", "hide", "tmpfs", "overlay", "file", "symlink", "dev", "proc",
	}
	return names[:]
}

// filesystem reads the entries of [filesystem]. Of two entries for one path
// the later file's holds; within a file two are a mistake.
func (d *decoder) filesystem(t *document.Value) error {
	if t == nil {
		return nil
	}
	d.inherited = make(map[string]int, len(d.p.Mounts))
	for i, m := range d.p.Mounts {
		d.inherited[path.Clean(m.Path)] = i
	}
	if v := t.Get("remove"); v != nil { // what this file adds is not meant
		if err := d.remove(v); err != nil {
			return err
		}
	}
	for _, e := range t.Keys {
		if e.Key == "remove" || settingFor("filesystem."+e.Key) != nil {
			continue
		}
		key := "filesystem." + e.Key
		items := e.Val.Items
		switch {
		case e.Key == "dev" || e.Key == "proc":
			if e.Val.Kind != document.Array {
				items = []*document.Value{e.Val}
			}
		case e.Val.Kind != document.Array:
			return d.wrong(e.Val, key, "a list")
		}
		for _, item := range items {
			if err := d.entry(e.Key, key, item); err != nil {
				return err
			}
		}
	}
	d.p.Mounts = slices.DeleteFunc(d.p.Mounts, func(m Mount) bool { return m.Kind == "" })
	return nil
}

// entry reads one entry of a list.
func (d *decoder) entry(name, key string, v *document.Value) error {
	m := Mount{Kind: MountKind(name), Origin: d.at(v.Line)}
	var err error
	switch name {
	case "read", "write", "hide":
		err = d.pathOr(&m, key, v, "path", "optional")
	case "bind":
		m.Kind = Read
		err = d.table(&m, key, v, `{ source = "/data", target = "/mnt" }`, "source", "target", "write", "optional")
		if err == nil && m.Source == "" {
			err = d.fail(v.Line, key, errors.New("source is missing"))
		}
	case "tmpfs":
		err = d.pathOr(&m, key, v, "path", "size", "mode")
	case "overlay":
		err = d.pathOr(&m, key, v, "path", "lower", "upper", "work")
	case "file":
		err = d.table(&m, key, v, `{ path = "/etc/hosts", data = "…" }`, "path", "data", "base64", "mode")
	case "symlink":
		err = d.table(&m, key, v, `{ path = "/bin", to = "usr/bin" }`, "path", "to")
		if err == nil && m.Source == "" {
			err = d.fail(v.Line, key, errors.New("to is missing"))
		}
	case "dev", "proc":
		m.Path = "/" + name
		if v.Kind == document.String {
			switch v.Text {
			case "private":
			case "none":
				d.drop(m.Path)
				return d.claim(v.Line, "filesystem", m.Path)
			default:
				return d.fail(v.Line, key, document.OneOf("value", v.Text, []string{"private", "none"}))
			}
			break
		}
		if name == "dev" {
			err = d.table(&m, key, v, `"private" or "none"`, "path")
		} else {
			err = d.table(&m, key, v, `"private", "none" or { subset = "pid" }`, "path", "subset", "hidepid")
		}
	}
	if err != nil {
		return err
	}
	if err := checkPath(m.Path); err != nil {
		return d.fail(v.Line, key, err)
	}
	if err := checkMount(&m); err != nil {
		return d.fail(v.Line, key, err)
	}
	if err := d.claim(v.Line, "filesystem", path.Clean(m.Path)); err != nil {
		return err
	}
	d.drop(m.Path)
	d.p.Mounts = append(d.p.Mounts, m)
	return nil
}

// pathOr reads an entry that is a path alone, or a table with the keys.
func (d *decoder) pathOr(m *Mount, key string, v *document.Value, keys ...string) error {
	if v.Kind == document.String {
		m.Path = v.Text
		return nil
	}
	return d.table(m, key, v, `a path or a table such as { path = "/tmp" }`, keys...)
}

// table reads the keys of an entry.
func (d *decoder) table(m *Mount, key string, v *document.Value, want string, keys ...string) error {
	if v.Kind != document.Table {
		return d.wrong(v, key, want)
	}
	if err := d.only(v, key, keys...); err != nil {
		return err
	}
	for _, e := range v.Keys {
		in := key + "." + e.Key
		if e.Key == "lower" {
			if e.Val.Kind != document.Array {
				return d.wrong(e.Val, in, "a list of paths")
			}
			for _, item := range e.Val.Items {
				text, err := d.scalar(item, in, "a path", aString)
				if err != nil {
					return err
				}
				m.Lower = append(m.Lower, text)
			}
			continue
		}
		kinds, wanted := mountValue(e.Key)
		text, err := d.scalar(e.Val, in, wanted, kinds)
		if err != nil {
			return err
		}
		if err := m.set(e.Key, text); err != nil {
			return d.fail(e.Val.Line, in, err)
		}
	}
	if v.Get("data") != nil && v.Get("base64") != nil {
		return d.fail(v.Line, key, errors.New("data and base64 are the same thing: give one"))
	}
	if v.Get("path") == nil && m.Path == "" {
		missing := "path"
		if has(keys, "target") {
			missing = "target"
		}
		return d.fail(v.Line, key, errors.New(missing+" is missing"))
	}
	return nil
}

// mountValue says what may stand at a key of a mount's table.
func mountValue(key string) (kinds uint, want string) {
	switch key {
	case "optional", "write":
		return aBool, "true or false"
	case "size":
		return aNumber, `a size such as "512M"`
	case "mode":
		return aString, `permission bits in octal such as "1777"`
	}
	return aString, "a string"
}

// set sets a field of a Mount by its key.
func (m *Mount) set(key, text string) error {
	var err error
	switch key {
	case "path", "target":
		m.Path = text
	case "source", "to":
		m.Source = text
	case "optional":
		m.Optional = text == "true"
	case "write":
		if text == "true" {
			m.Kind = Write
		}
	case "size":
		m.Size, err = parseLimit(text, minMemory)
	case "mode":
		m.Mode, err = parseMode(text)
	case "data":
		m.Data = text
	case "base64":
		var data []byte
		if data, err = base64.StdEncoding.DecodeString(text); err != nil {
			err = errors.New("not base64")
		}
		m.Data = string(data)
	case "upper":
		m.Upper = text
	case "work":
		m.Work = text
	case "lower":
		m.Lower = append(m.Lower, text)
	case "subset":
		m.Subset = text
	case "hidepid":
		m.Hidepid = text
	}
	if err == nil && text == "" && key != "data" && key != "base64" {
		err = errors.New("empty: leave the key out")
	}
	return err
}

// parseMode reads permission bits as chmod(1) does.
func parseMode(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 8, 32)
	switch {
	case err != nil || n > 0o7777:
		return 0, fmt.Errorf(`%s is no mode: write permission bits in octal such as "0755"`, document.Clip(s))
	case n == 0:
		return 0, errors.New(`mode 0 lets nobody in: leave it out, or use hide`)
	}
	return uint32(n), nil
}

// drop forgets an inherited entry for the path: it is marked here, and
// filesystem sweeps it out.
func (d *decoder) drop(name string) bool {
	i, ok := d.inherited[path.Clean(name)]
	if ok {
		d.p.Mounts[i].Kind = ""
		delete(d.inherited, path.Clean(name))
	}
	return ok
}

// remove drops inherited entries by name. One that is not there is a slip.
func (d *decoder) remove(v *document.Value) error {
	const key = "filesystem.remove"
	if v.Kind != document.Array {
		return d.wrong(v, key, "a list of paths")
	}
	for _, item := range v.Items {
		name, err := d.scalar(item, key, "a path", aString)
		if err != nil {
			return err
		}
		if d.drop(name) {
			continue
		}
		var inherited []string
		for _, m := range d.p.Mounts {
			if m.Kind != "" && len(inherited) < 100 {
				inherited = append(inherited, m.Path)
			}
		}
		hint := "this file extends nothing"
		if len(inherited) > 0 {
			hint = "it is one of " + strings.Join(inherited, ", ")
		}
		return d.fail(item.Line, key, document.Unknown("inherited path", name, document.Nearest(name, inherited), hint))
	}
	return nil
}

// decimal rewrites an integer of TOML in decimal without separators.
func decimal(s string) (string, bool) {
	digits := strings.TrimLeft(s, "+-")
	if len(digits) > 1 && digits[0] == '0' && (digits[1] == '_' || digits[1] >= '0' && digits[1] <= '9') {
		return "", false
	}
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		return "", false
	}
	return strconv.FormatInt(n, 10), true
}
