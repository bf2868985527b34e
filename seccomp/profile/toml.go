package profile

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cloche-sandbox/cloche/internal/document"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// ReadTOML reads the TOML form. What is not a key, has the wrong type, is given
// twice or can't be meant is an error of type *Error. Warnings are given when
// host says for which architecture.
func ReadTOML(file string, data []byte, host Host) (seccomp.Profile, []Warning, error) {
	if err := tooLarge(file, data); err != nil {
		return seccomp.Profile{}, nil, err
	}
	root, err := document.ReadTOML(file, data)
	if err != nil {
		return seccomp.Profile{}, nil, err
	}
	r := &reader{file: file, p: seccomp.Profile{Name: file}}
	if err := r.only(root, "", append([]string{"name", "description"}, Keys()...)...); err != nil {
		return seccomp.Profile{}, nil, err
	}
	for _, e := range root.Keys {
		if e.Key == "name" || e.Key == "description" {
			text, err := r.text(e.Val, e.Key)
			if err != nil {
				return seccomp.Profile{}, nil, err
			}
			if e.Key == "name" {
				r.p.Name = text
			} else {
				r.p.Description = text
			}
		}
	}
	if err := r.body(root); err != nil {
		return seccomp.Profile{}, nil, err
	}
	if root.Get("default") == nil {
		return seccomp.Profile{}, nil, &Error{File: file, Key: "default", Err: errors.New(`missing: say what happens to calls that no rule is about, such as default = "EPERM"`)}
	}
	return r.p, r.warnings(host, root), nil
}

// Keys are those of a profile that stands in a table of another file.
func Keys() []string {
	return []string{"default", "unknown", "bad-arch", "flags", "use", "group"}
}

// ReadTable reads a profile that stands in a table of another file, a policy's
// [seccomp]; key is the table's. Keys that are not among [Keys] are the caller's. A
// table without default is only groups: the profile's actions are then 0.
func ReadTable(file, key string, t *document.Value) (seccomp.Profile, []Warning, error) {
	r := &reader{file: file, prefix: key + ".", p: seccomp.Profile{Name: file}}
	if err := r.body(t); err != nil {
		return seccomp.Profile{}, nil, err
	}
	return r.p, r.warnings(Host{}, t), nil
}

type reader struct {
	file, prefix string
	p            seccomp.Profile
	calls        []written
}

// written is a call as it stands in the file, for warnings.
type written struct {
	name   string
	args   []seccomp.Arg
	action seccomp.Action
	line   int
}

func (r *reader) fail(line int, key string, err error) error {
	return &Error{File: r.file, Line: line, Key: r.prefix + key, Err: err}
}

func (r *reader) at(line int) string { return (&Error{File: r.file, Line: line}).Where() }

func (r *reader) want(v *document.Value, key string, kind document.Kind, want string) error {
	if v.Kind == kind {
		return nil
	}
	return r.fail(v.Line, key, fmt.Errorf("want %s, not %s", want, v.Kind))
}

// only refuses keys of a table that are not among these.
func (r *reader) only(t *document.Value, key string, keys ...string) error {
	for _, e := range t.Keys {
		if slices.Contains(keys, e.Key) {
			continue
		}
		path := document.DottedKey(e.Key)
		if key != "" {
			path = key + "." + path
		}
		if near := document.Nearest(e.Key, keys); near != "" {
			return r.fail(e.Line, path, fmt.Errorf("unknown key: did you mean %s?", near))
		}
		return r.fail(e.Line, path, fmt.Errorf("unknown key: here may be %s", strings.Join(keys, ", ")))
	}
	return nil
}

// text reads a string for people, which may be printed on a terminal.
func (r *reader) text(v *document.Value, key string) (string, error) {
	if err := r.want(v, key, document.String, "a string"); err != nil {
		return "", err
	}
	for _, c := range v.Text {
		if c < ' ' && c != '\n' && c != '\t' || c == 0x7f {
			return "", r.fail(v.Line, key, fmt.Errorf("%s holds a control character: take it out", document.Clip(v.Text)))
		}
	}
	return v.Text, nil
}

func (r *reader) action(v *document.Value, key string) (seccomp.Action, error) {
	if err := r.want(v, key, document.String, `an action such as "allow" or "EPERM"`); err != nil {
		return 0, err
	}
	a, err := parseAction(v.Text)
	if err != nil {
		return 0, r.fail(v.Line, key, err)
	}
	return a, nil
}

// body reads the [Keys] of a table.
func (r *reader) body(t *document.Value) error {
	byDefault := t.Get("default")
	if byDefault != nil {
		var err error
		if r.p.Default, err = r.action(byDefault, "default"); err != nil {
			return err
		}
		r.p.Unknown, r.p.BadArch = unknownFor(r.p.Default), seccomp.KillProcess
	}
	for _, e := range t.Keys {
		var err error
		switch e.Key {
		case "unknown":
			r.p.Unknown, err = r.action(e.Val, e.Key)
		case "bad-arch":
			r.p.BadArch, err = r.action(e.Val, e.Key)
		case "flags":
			err = r.flags(e.Val)
		case "group":
			err = r.groups(e.Val)
		}
		if err != nil {
			return err
		}
	}
	for _, key := range []string{"unknown", "bad-arch", "flags"} {
		if v := t.Get(key); v != nil && byDefault == nil {
			return r.fail(v.Line, key, errors.New(`it belongs to a whole profile, which has a default too, such as default = "EPERM"`))
		}
	}
	if v := t.Get("use"); v != nil { // after the file's own, wherever it stands
		return r.use(v)
	}
	return nil
}

// list reads a list of strings.
func (r *reader) list(v *document.Value, key, want string, each func(*document.Value) error) error {
	if err := r.want(v, key, document.Array, "a list of "+want); err != nil {
		return err
	}
	for _, item := range v.Items {
		if err := r.want(item, key, document.String, want); err != nil {
			return err
		}
		if err := each(item); err != nil {
			return r.fail(item.Line, key, err)
		}
	}
	return nil
}

func (r *reader) flags(v *document.Value) error {
	return r.list(v, "flags", `names of flags such as "log"`, func(item *document.Value) error {
		var names []string
		for _, f := range flagNames {
			if f.toml == item.Text {
				r.p.Flags |= f.flag
				return nil
			}
			names = append(names, f.toml)
		}
		return document.OneOf("flag", item.Text, names)
	})
}

// use adds groups of the built-in profiles by their names. Of profiles that have
// groups of one name the first one's is meant.
func (r *reader) use(v *document.Value) error {
	return r.list(v, "use", `names of groups such as "@io"`, func(item *document.Value) error {
		var names []string
		for _, name := range seccomp.Builtins() {
			p, _ := seccomp.Builtin(name)
			for _, g := range p.Groups {
				if g.Name == item.Text {
					g.Rules = slices.Clone(g.Rules)
					for i := range g.Rules {
						g.Rules[i].Origin = r.at(item.Line)
					}
					r.p.Groups = append(r.p.Groups, g)
					return nil
				}
				if !slices.Contains(names, g.Name) {
					names = append(names, g.Name)
				}
			}
		}
		return document.OneOf("group", item.Text, names)
	})
}

func (r *reader) groups(v *document.Value) error {
	if err := r.want(v, "group", document.Array, "a list of tables, [[group]]"); err != nil {
		return err
	}
	for _, item := range v.Items {
		if err := r.want(item, "group", document.Table, "a table with name, why and rule"); err != nil {
			return err
		}
		if err := r.only(item, "group", "name", "why", "rule"); err != nil {
			return err
		}
		var g seccomp.Group
		var err error
		name := item.Get("name")
		if name == nil || name.Kind == document.String && name.Text == "" {
			return r.fail(item.Line, "group.name", errors.New(`missing: call the group something, such as name = "@io"`))
		}
		if g.Name, err = r.text(name, "group.name"); err != nil {
			return err
		}
		if why := item.Get("why"); why != nil {
			if g.Reason, err = r.text(why, "group.why"); err != nil {
				return err
			}
		}
		if rules := item.Get("rule"); rules != nil {
			if g.Rules, err = r.rules(rules); err != nil {
				return err
			}
		}
		r.p.Groups = append(r.p.Groups, g)
	}
	return nil
}

func (r *reader) rules(v *document.Value) ([]seccomp.Rule, error) {
	const key = "group.rule"
	if err := r.want(v, key, document.Array, "a list of tables, [[group.rule]]"); err != nil {
		return nil, err
	}
	var rules []seccomp.Rule
	for _, item := range v.Items {
		if err := r.want(item, key, document.Table, "a table with action and calls"); err != nil {
			return nil, err
		}
		if err := r.only(item, key, "action", "calls"); err != nil {
			return nil, err
		}
		what, calls := item.Get("action"), item.Get("calls")
		if what == nil || calls == nil || calls.Kind == document.Array && len(calls.Items) == 0 {
			return nil, r.fail(item.Line, key, errors.New(`a rule has both: action = "allow" and calls = ["read", "write"]`))
		}
		action, err := r.action(what, key+".action")
		if err != nil {
			return nil, err
		}
		first := len(rules)
		err = r.list(calls, key+".calls", `calls such as "read" or "socket(AF_UNIX)"`, func(item *document.Value) error {
			name, args, err := parseCall(item.Text)
			if err != nil {
				return err
			}
			r.calls = append(r.calls, written{name, args, action, item.Line})
			if n := len(rules); n > first && slices.Equal(rules[n-1].Args, args) {
				rules[n-1].Syscalls = append(rules[n-1].Syscalls, name)
				return nil
			}
			rules = append(rules, seccomp.Rule{Syscalls: []string{name}, Action: action, Args: args, Origin: r.at(item.Line)})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return rules, nil
}
