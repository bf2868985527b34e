package policy

import (
	"fmt"
	"strings"

	"github.com/cloche-sandbox/cloche/internal/document"
	"github.com/cloche-sandbox/cloche/seccomp/profile"
)

// sectionKeys returns the keys that a [section] may hold; nil: any; ok is
// false where there is no such section. "" is the top of the file.
func sectionKeys(section string) (keys []string, ok bool) {
	switch section {
	case "":
		keys, ok = []string{"extends"}, true
	case "filesystem":
		keys = filesystemKeys()
		ok = true
	case "rlimits":
		return RlimitNames(), true
	case "env":
		keys, ok = []string{"set"}, true
	case "limits":
		keys, ok = []string{"io"}, true
	case "seccomp":
		keys, ok = profile.Keys(), true
	}
	for i := range settings {
		name, key := splitKey(settings[i].key)
		if name == section {
			keys, ok = append(keys, key), true
		}
	}
	return keys, ok
}

func sections() []string {
	names := [...]string{
		"filesystem", "network", "namespaces", "user", "capabilities",
		"seccomp", "landlock", "limits", "rlimits", "time", "env",
	}
	return names[:]
}

func splitKey(key string) (section, name string) {
	if s, n, ok := strings.Cut(key, "."); ok {
		return s, n
	}
	return "", key
}

// checkKeys refuses what is no key of a policy.
func (d *decoder) checkKeys(root *document.Value) error {
	top, _ := sectionKeys("")
	for _, e := range root.Keys {
		keys, ok := sectionKeys(e.Key)
		if !ok || e.Key == "" {
			if !has(top, e.Key) {
				return d.unknownKey(e.Line, "", e.Key, append(top, sections()...))
			}
			continue
		}
		if e.Val.Kind != document.Table {
			return d.wrong(e.Val, e.Key, "a table, such as ["+e.Key+"]")
		}
		for _, in := range e.Val.Keys {
			if !has(keys, in.Key) {
				return d.unknownKey(in.Line, e.Key, in.Key, keys)
			}
		}
	}
	return nil
}

func has(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

// unknownKey names the key that was probably meant: one of the same table
// by its spelling, or one of another table by its name.
func (d *decoder) unknownKey(line int, section, key string, siblings []string) error {
	path := []string{key}
	if section != "" {
		path = []string{section, key}
	}
	near := elsewhere(key)
	if n := document.Nearest(key, siblings); near == "" && n != "" {
		near = n
		if section != "" {
			near = section + "." + n
		}
	}
	if near == "" {
		return d.fail(line, document.DottedKey(path...), fmt.Errorf("unknown key: here may be %s", strings.Join(siblings, ", ")))
	}
	return d.fail(line, document.DottedKey(path...), fmt.Errorf("unknown key: did you mean %s?", near))
}

// elsewhere finds a key by its last part, or by the flag that sets the same.
func elsewhere(key string) string {
	switch key {
	case "net":
		return "network.mode"
	case "wall-time":
		return "time.wall"
	case "cpu-time":
		return "time.cpu"
	case "output":
		return "max-output"
	case "tty":
		return "terminal"
	case "no-init":
		return "init"
	case "rlimit":
		return "rlimits"
	case "clear-env":
		return "env.inherit"
	case "mode", "profile", "set":
		return "" // several sections have one
	}
	if key == "" {
		return ""
	}
	for _, s := range sections() {
		if keys, _ := sectionKeys(s); has(keys, key) {
			return s + "." + key
		}
	}
	if top, _ := sectionKeys(""); has(top, key) {
		return key + ", above the first [table]"
	}
	return ""
}
