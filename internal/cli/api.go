package cli

import (
	"io"
	"os"
	"strings"

	"github.com/cloche-sandbox/cloche/policy"
)

// What package tree makes the cobra tree of. That is a package of its own,
// so that `cloche run` can be over before cobra is initialised.

// Verb is a verb that takes the flags of a policy.
type Verb = verb

// The verbs with a policy.
const (
	Run    = verbRun
	Plan   = verbPlan
	Build  = verbBuild
	Can    = verbCan
	Attack = verbAttack
	Learn  = verbLearn
)

// Invocation is the command line of such a verb.
type Invocation = invocation

// Record takes a flag in, in the order written.
func (i *invocation) Record(v Verb, name, value string) { i.record(v, name, value) }

// Recorded are the flags that were taken in, first those of the verb and then
// those of the policy, and Args what followed them.
func (i *invocation) Recorded() (flags [][2]string) {
	for _, g := range i.given {
		flags = append(flags, [2]string{g.name, g.value})
	}
	for _, s := range i.settings {
		flags = append(flags, [2]string{s.flag.Name, s.value})
	}
	return flags
}

// Policy is the policy that the flags ask for, not yet expanded.
func (i *invocation) Policy() (*policy.Policy, error) { return i.policy() }

// JSON reports whether --json was given.
func (i *invocation) JSON() bool { return i.json }

// Args are the words after the flags.
func (i *invocation) Args() []string { return i.args }

// Do carries the verb out.
func (i *invocation) Do(v Verb, args []string) error {
	i.args = args
	switch v {
	case verbPlan:
		i.withholdValues()
		return showPlan(i, os.Stdout)
	case verbBuild:
		return build(i)
	case verbCan:
		return can(i, os.Stdout)
	}
	code, unfinished := run(i, os.Args)
	if unfinished != nil {
		code = unfinished.finish()
	}
	if code != 0 {
		return &exitError{code: code}
	}
	return nil
}

// ParseRun reads the command line of `cloche run`; ErrHelp asks for its help page.
func ParseRun(words []string) (*Invocation, error) { return parseRun(words) }

// ErrHelp asks for a help page.
var ErrHelp = errHelp

// Flag is a flag of a verb, for registering it.
type Flag struct {
	Name, Short, Usage string
	Value              string   // what to write for the value; "": it takes none
	Without            string   // what it means without a value; "": it needs one
	File               bool     // the value is a path
	Words              []string // those that the value may be, where they are known
}

// Flags are those of a verb, in the order of a help page.
func Flags(v Verb) []Flag {
	var all []Flag
	for i := range options {
		if o := &options[i]; o.verbs&v != 0 {
			f := Flag{Name: o.name, Short: o.short, Usage: o.usage, Value: o.value, File: o.file}
			if o.value == "" {
				f.Without = "true"
			}
			if o.name == "profile" {
				f.Words = policy.Builtins()
			}
			all = append(all, f)
		}
	}
	for i := range policy.Flags {
		p := &policy.Flags[i]
		f := Flag{Name: p.Name, Short: policyShort(v, p.Name), Usage: p.Usage, Value: p.Value, Without: p.OptionalValue, Words: wordsOf(p)}
		if p.Value == "" {
			f.Without = "true"
		}
		f.File = strings.HasPrefix(p.Value, "PATH") || p.Name == "seccomp" || p.Name == "bind" || p.Name == "io"
		all = append(all, f)
	}
	return all
}

// wordsOf are the values that a shell can offer for a flag.
func wordsOf(f *policy.Flag) []string {
	switch f.Name {
	case "cap-add", "cap-drop":
		return append(policy.CapabilityNames(), "ALL")
	case "unshare", "share":
		return policy.NamespaceNames()
	case "seccomp":
		return policy.SeccompProfiles()
	case "rlimit":
		names := policy.RlimitNames()
		for i := range names {
			names[i] += "="
		}
		return names
	}
	if strings.IndexByte(f.Value, '|') > 0 && strings.ToLower(f.Value) == f.Value {
		return strings.Split(f.Value, "|")
	}
	return nil
}

// ParseExec reads the command line of `cloche exec` where it is well-formed.
func ParseExec(words []string) (x *Exec, args []string, ok bool) { return parseExec(words) }

// Questions are the words that `cloche can` understands.
func Questions() []string { return questionVerbs[:] }

// IsFlag reports whether any verb with a policy has this flag.
func IsFlag(name string) bool {
	_, _, known := flagTakes(verbAll, name)
	return known
}

// UnknownFlag is the error for a flag that a verb does not have, MissingValue
// for one without its value, UnknownShort for -x.
func UnknownFlag(v Verb, name string) error { return unknownFlag(v, name) }

// UnknownShort is the error for -x.
func UnknownShort(v Verb, word string) error { return unknownShort(v, word) }

// MissingValue is the error for a flag without its value.
func MissingValue(name string) error { return missingValue(name) }

// Clip cuts s short where it is long, for a message of one line.
func Clip(s string) string { return clip(s) }

// Plain is s with its control characters as \xNN.
func Plain(s string) string { return string(appendPlain(nil, s)) }

// WriteJSON prints v as all verbs print JSON.
func WriteJSON(out io.Writer, v any) error { return writeJSON(out, v) }

// ExitStatus is an error that ends the program with a status and no more words.
func ExitStatus(code int) error { return &exitError{code: code} }
