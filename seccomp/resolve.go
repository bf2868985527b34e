package seccomp

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// RuleError is a rule that can't be compiled.
type RuleError struct {
	Profile, Group string
	GroupIndex     int // of the group in the profile
	Rule           int // index of the rule in its group
	Origin         string
	Err            error
}

func (e *RuleError) Error() string {
	if e.Origin != "" {
		return fmt.Sprintf("%s: group %s: %v", e.Origin, e.Group, e.Err)
	}
	return fmt.Sprintf("seccomp profile %s, group %s, rule %d: %v", e.Profile, e.Group, e.Rule+1, e.Err)
}

func (e *RuleError) Unwrap() error { return e.Err }

// validate finds the first rule that no architecture could have.
func (p *Profile) validate() error {
	for what, a := range map[string]Action{"default": p.Default, "unknown": p.Unknown, "bad-arch": p.BadArch} {
		if err := a.validate(); err != nil {
			return fmt.Errorf("seccomp profile %s: %s: %w", p.Name, what, err)
		}
	}
	for i, g := range p.Groups {
		for j := range g.Rules {
			if err := g.Rules[j].validate(); err != nil {
				return &RuleError{Profile: p.Name, Group: g.Name, GroupIndex: i, Rule: j, Origin: g.Rules[j].Origin, Err: err}
			}
		}
	}
	return nil
}

func (a Action) validate() error {
	switch a & unix.SECCOMP_RET_ACTION_FULL {
	case KillProcess, KillThread, Trap, Log, UserNotify, Allow, unix.SECCOMP_RET_TRACE:
		return nil
	case unix.SECCOMP_RET_ERRNO:
		if e := a & unix.SECCOMP_RET_DATA; e > 4095 {
			return fmt.Errorf("errno %d: the highest is 4095", e)
		}
		return nil
	}
	return fmt.Errorf("there is no action %#x; use one of seccomp(2)'s SECCOMP_RET_*", uint32(a))
}

func (r *Rule) validate() error {
	if err := r.Action.validate(); err != nil {
		return err
	}
	for _, name := range r.Syscalls {
		if err := validateCall(name); err != nil {
			return err
		}
	}
	for i := range r.Args {
		if err := r.Args[i].validate(); err != nil {
			return fmt.Errorf("argument %d: %w", r.Args[i].Index, err)
		}
	}
	return nil
}

// validateCall refuses what is neither a call's name nor a number.
func validateCall(name string) error {
	if n, err := strconv.ParseUint(name, 10, 31); err == nil && strconv.FormatUint(n, 10) == name {
		return nil
	}
	if Known(name) {
		return nil
	}
	if strings.Trim(name, "0123456789+-") == "" {
		return fmt.Errorf("%q is no number of a system call; write one from 0 to %d in decimal", name, 1<<31-1)
	}
	if n := Nearest(name); n != "" {
		return fmt.Errorf("there is no system call %q; do you mean %s?", name, n)
	}
	return fmt.Errorf("there is no system call %q in Linux %s; write the number of a newer one", name, Kernel)
}

// validate refuses comparisons whose outcome does not depend on the argument:
// nobody means them.
func (c *Arg) validate() error {
	if c.Index < 0 || c.Index > 5 {
		return errors.New("a call has arguments 0 to 5")
	}
	limit := ^uint64(0)
	if c.Low32 {
		limit = 0xffffffff
	}
	if c.Value > limit {
		return fmt.Errorf("the lower 32 bits can't be compared with %#x, which has more; drop the upper bits or compare all 64", c.Value)
	}
	switch c.Op {
	case Equal, NotEqual, LessEqual, GreaterEqual:
	case Less:
		if c.Value == 0 {
			return errors.New("no value is below 0: arguments are compared unsigned; leave the rule out")
		}
	case Greater:
		if c.Value == limit {
			return fmt.Errorf("no value is above %#x; leave the rule out", limit)
		}
	case MaskedEqual:
		if c.Mask > limit {
			return fmt.Errorf("the lower 32 bits can't be masked with %#x, which has more; drop the upper bits or compare all 64", c.Mask)
		}
		if c.Value&^c.Mask != 0 {
			return fmt.Errorf("the masked value can't be %#x, which has bits outside of the mask %#x; add them to the mask or drop them from the value", c.Value, c.Mask)
		}
	default:
		return fmt.Errorf("there is no comparison %d", c.Op)
	}
	return nil
}

// entry is a number and the rules about it, in order, up to the first that has
// no conditions.
type entry struct {
	nr        int32
	rules     []Rule
	otherwise Action // when none of them holds
}

// closed reports whether the rules decide every call of the number.
func (e *entry) closed() bool {
	n := len(e.rules)
	return n > 0 && len(e.rules[n-1].Args) == 0
}

// resolve lists what the profile says of each of a's numbers up to the highest
// that may not get the answer Unknown, in ascending order. Numbers without an
// entry, and all that are higher, get that answer.
func resolve(p *Profile, a Arch) []entry {
	var entries []entry
	index := map[int32]int{}
	at := func(nr int32) *entry {
		i, ok := index[nr]
		if !ok {
			i = len(entries)
			index[nr] = i
			entries = append(entries, entry{nr: nr, otherwise: p.Default})
		}
		return &entries[i]
	}
	for _, g := range p.Groups {
		for _, r := range g.Rules {
			for _, name := range r.Syscalls {
				if nr, ok := a.number(name); ok {
					if e := at(nr); !e.closed() {
						e.rules = append(e.rules, Rule{Action: r.Action, Args: r.Args})
					}
				}
			}
		}
	}
	highest := p.highest(a)
	for nr, name := range a.Calls() {
		_, named := index[nr]
		blind := blindRules(p, a, name)
		if !named && nr > highest && len(blind) == 0 {
			continue
		}
		e := at(nr)
		if !e.closed() {
			e.rules = append(e.rules, blind...)
		}
		if !named && nr > highest {
			e.otherwise = p.Unknown
		}
	}
	slices.SortFunc(entries, func(x, y entry) int { return int(x.nr) - int(y.nr) })
	return entries
}
