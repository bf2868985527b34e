// Package learn turns what a command was seen to do into the narrowest policy
// that lets it do the same again. It only decides: what it is told was observed
// elsewhere, and nothing here observes or enforces.
package learn

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cloche-sandbox/cloche/seccomp"
)

// What is kept of a call is bounded, however long the command runs.
const (
	maxValues   = 16 // distinct values of the arguments that select; with more, any value is allowed
	maxPrograms = 8  // programs that are named for a call
	maxCalls    = 1024
	maxFiles    = 8192 // paths; more of a directory become the directory
)

// Calls is what is known of the system calls that were let through. The zero
// value knows none.
type Calls struct {
	seen map[string]*call
}

type call struct {
	count    uint64
	programs map[string]uint64
	// values are the combinations of the arguments that select; nil once there were
	// more than maxValues.
	values map[[maxArgs]uint64]bool
	// bits are those that were set in each argument that holds flags.
	bits [maxArgs]uint64
}

const maxArgs = 6

// Add notes a call by its name, its arguments and the program that made it. A call
// that was refused does not belong here: the policy would allow it. It reports
// false for a call that finds no place any more, which no program can reach by
// names that exist.
func (c *Calls) Add(name string, args [6]uint64, program string) bool {
	if c.seen == nil {
		c.seen = map[string]*call{}
	}
	k := c.seen[name]
	if k == nil {
		if len(c.seen) == maxCalls {
			return false
		}
		k = &call{programs: map[string]uint64{}, values: map[[maxArgs]uint64]bool{}}
		c.seen[name] = k
	}
	k.count++
	if _, ok := k.programs[program]; ok || len(k.programs) < maxPrograms {
		k.programs[program]++
	}
	var values [maxArgs]uint64
	for _, s := range selectors[name] {
		v := s.seen(args[s.index])
		if s.flags {
			k.bits[s.index] |= v
		} else {
			values[s.index] = v
		}
	}
	if k.values != nil {
		k.values[values] = true
		if len(k.values) > maxValues {
			k.values = nil
		}
	}
	return true
}

// Groups returns rules that allow the calls that were seen: first [Core], then a
// group for the calls of each set of programs, the ones that called most first.
func (c *Calls) Groups() []seccomp.Group {
	core := Core()
	byPrograms := map[string][]string{}
	counts := map[string]uint64{}
	for _, name := range slices.Sorted(maps.Keys(c.seen)) {
		if len(missing(core.Rules, c.seen[name].rules(name))) == 0 {
			continue
		}
		key := strings.Join(slices.Sorted(maps.Keys(c.seen[name].programs)), ", ")
		byPrograms[key] = append(byPrograms[key], name)
		counts[key] += c.seen[name].count
	}
	order := slices.SortedFunc(maps.Keys(byPrograms), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	groups := []seccomp.Group{core}
	for i, key := range order {
		g := seccomp.Group{
			Name:   fmt.Sprintf("learned-%d", i+1),
			Reason: fmt.Sprintf("made by %s, times: %d", key, counts[key]),
		}
		plain := seccomp.Rule{Action: seccomp.Allow} // the calls whose arguments do not matter, in one rule
		var rules []seccomp.Rule
		for _, name := range byPrograms[key] {
			for _, r := range c.seen[name].rules(name) {
				if len(r.Args) == 0 {
					plain.Syscalls = append(plain.Syscalls, name)
				} else {
					rules = append(rules, r)
				}
			}
		}
		if len(plain.Syscalls) > 0 {
			g.Rules = append(g.Rules, plain)
		}
		g.Rules = append(g.Rules, rules...)
		groups = append(groups, g)
	}
	return groups
}

// rules allow what was seen of one call.
func (k *call) rules(name string) []seccomp.Rule {
	var flags []seccomp.Arg
	for _, s := range selectors[name] {
		if s.flags {
			flags = append(flags, s.noOtherBits(k.bits[s.index]))
		}
	}
	rule := func(args []seccomp.Arg) seccomp.Rule {
		return seccomp.Rule{Syscalls: []string{name}, Action: seccomp.Allow, Args: args}
	}
	if k.values == nil {
		return []seccomp.Rule{rule(flags)}
	}
	var rules []seccomp.Rule
	for _, values := range slices.SortedFunc(maps.Keys(k.values), func(a, b [maxArgs]uint64) int { return slices.Compare(a[:], b[:]) }) {
		var args []seccomp.Arg
		for _, s := range selectors[name] {
			if !s.flags {
				args = append(args, seccomp.Arg{Index: s.index, Op: seccomp.Equal, Value: values[s.index], Low32: s.low32})
			}
		}
		rules = append(rules, rule(append(args, flags...)))
	}
	return rules
}
