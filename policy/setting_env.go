package policy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cloche-sandbox/cloche/internal/document"
)

// keepEnv lets a variable of the caller's through, whatever a profile set it to.
func keepEnv(p *Policy, name, where string) (string, error) {
	if err := checkKeep(name); err != nil {
		return "", err
	}
	delete(p.Env.Set, name)
	delete(p.Origins, "env.set."+name)
	p.Env.Unset = without(p.Env.Unset, name)
	if !slices.Contains(p.Env.Keep, name) {
		p.Env.Keep = append(p.Env.Keep, name)
	}
	p.from("env.keep."+name, where)
	return name, nil
}

func checkKeep(name string) error {
	if name == "*" {
		return errors.New("* is everything: write inherit = true")
	}
	return checkEnvName(strings.TrimSuffix(name, "*"))
}

func unsetEnv(p *Policy, name, where string) (string, error) {
	if err := checkEnvName(name); err != nil {
		return "", err
	}
	delete(p.Env.Set, name)
	delete(p.Origins, "env.set."+name)
	if !slices.Contains(p.Env.Unset, name) {
		p.Env.Unset = append(p.Env.Unset, name)
	}
	p.from("env.unset."+name, where)
	return name, nil
}

func (p *Policy) setEnv(name, val, where string) error {
	if err := checkEnvName(name); err != nil {
		return err
	}
	if strings.IndexByte(val, 0) >= 0 {
		return fmt.Errorf("the value of %s holds a NUL byte, which ends it", document.Clip(name))
	}
	p.Env.Unset = without(p.Env.Unset, name)
	p.Env.Keep = without(p.Env.Keep, name)
	delete(p.Origins, "env.keep."+name)
	if p.Env.Set == nil {
		p.Env.Set = make(map[string]string)
	}
	p.Env.Set[name] = val
	p.from("env.set."+name, where)
	return nil
}

// clearEnv forgets what profiles and files asked for, and keeps what flags did.
func (p *Policy) clearEnv(where string) {
	p.Env.Inherit = false
	p.Env.Keep = slices.DeleteFunc(p.Env.Keep, func(n string) bool { return !p.fromFlag("env.keep." + n) })
	maps.DeleteFunc(p.Env.Set, func(n, _ string) bool { return !p.fromFlag("env.set." + n) })
	if len(p.Env.Keep) == 0 {
		p.Env.Keep = nil
	}
	if len(p.Env.Set) == 0 {
		p.Env.Set = nil
	}
	p.Env.Unset = nil
	p.from("env.inherit", where)
}

func checkEnvName(name string) error {
	switch {
	case name == "":
		return errors.New(`an empty name: write one such as "TERM"`)
	case strings.IndexByte(name, '=') >= 0:
		return fmt.Errorf("the name %s holds a =, which would end it", document.Clip(name))
	case strings.IndexByte(name, 0) >= 0:
		return fmt.Errorf("the name %s holds a NUL byte, which would end it", document.Clip(name))
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		// What prints one variable a line, as env(1) does, would show two.
		return fmt.Errorf("the name %s holds a control character", document.Clip(name))
	case strings.IndexByte(name, '*') >= 0:
		return fmt.Errorf("the name %s: a * may only end a name of keep", document.Clip(name))
	}
	return nil
}
