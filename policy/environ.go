package policy

import (
	"slices"
	"strings"
)

// Environ is the environment inside for a caller with the given one, both as
// "NAME=value", sorted by name.
func (p *Policy) Environ(caller []string) []string {
	e := &p.Env
	vars := make(map[string]string, len(e.Set)+8)
	for _, kv := range caller {
		if name, value, ok := strings.Cut(kv, "="); ok && (e.Inherit || e.keeps(name)) {
			vars[name] = value
		}
	}
	for name, value := range e.Set {
		vars[name] = value
	}
	for _, name := range e.Unset {
		delete(vars, name)
	}
	env := make([]string, 0, len(vars))
	for name, value := range vars {
		env = append(env, name+"="+value)
	}
	slices.Sort(env)
	return env
}

func (e *Env) keeps(name string) bool {
	for _, k := range e.Keep {
		if k == name || strings.HasSuffix(k, "*") && strings.HasPrefix(name, k[:len(k)-1]) {
			return true
		}
	}
	return false
}
