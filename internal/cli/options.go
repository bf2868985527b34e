package cli

import "github.com/cloche-sandbox/cloche/policy"

// option is a flag of the command line that is not a setting of the policy;
// those are policy.Flags.
type option struct {
	name  string // without the hyphens
	short string // one letter, or ""
	value string // what to write for the value; "": the flag takes none
	usage string
	file  bool // the value is the path of a file, for completion
	verbs verb
	set   func(*invocation, string)
}

// verb is a set of verbs that have an option.
type verb uint8

const (
	verbRun verb = 1 << iota
	verbPlan
	verbBuild
	verbCan
	verbAttack
	verbLearn

	verbAll = verbRun | verbPlan | verbBuild | verbCan | verbAttack | verbLearn
)

// options is data, like policy.Flags: both parsers read it.
var options = [...]option{
	{name: "profile", value: "NAME", usage: "start from this built-in profile (default \"default\")", verbs: verbAll, set: func(i *invocation, v string) { i.profile = v }},
	{name: "policy", value: "FILE", usage: "start from this policy file (TOML)", file: true, verbs: verbAll, set: func(i *invocation, v string) { i.policyFile = v }},
	{name: "stdin", value: "FILE", usage: "read stdin from this file", file: true, verbs: verbRun, set: func(i *invocation, v string) { i.stdin = v }},
	{name: "result", value: "FILE", usage: "write what happened to this file, as JSON", file: true, verbs: verbRun, set: func(i *invocation, v string) { i.result = v }},
	{name: "name", value: "NAME", usage: "name of the sandbox, part of its cgroup's name", verbs: verbRun, set: func(i *invocation, v string) { i.name = v }},
	{name: "detach", usage: "run it in the background; needs --name, and cloche logs has the output", verbs: verbRun, set: func(i *invocation, v string) { i.detach = v != "false" }},
	{name: "interactive", short: "i", usage: "nothing: stdin is passed on in any case; so that -it can be written", verbs: verbRun, set: func(*invocation, string) {}},
	{name: "audit", usage: "report each kind of system call that the filter denies", verbs: verbRun | verbPlan, set: func(i *invocation, v string) { i.audit = v != "false" }},
	{name: "output", short: "o", value: "FILE", usage: "write the executable, or the learned policy, to this file", file: true, verbs: verbBuild | verbLearn, set: func(i *invocation, v string) { i.output = v }},
	{name: "append", usage: "add what this run needs to the policy in the file", verbs: verbLearn, set: func(i *invocation, v string) { i.more = v != "false" }},
	{name: "image", value: "FILE", usage: "show what an executable made by cloche build will do", file: true, verbs: verbPlan, set: func(i *invocation, v string) { i.image = v }},
	{name: "json", usage: "print JSON", verbs: verbPlan | verbCan | verbAttack, set: func(i *invocation, v string) { i.json = v != "false" }},
}

// invocation is the command line of a verb that has a policy.
type invocation struct {
	profile, policyFile string
	stdin, result, name string
	output, image       string
	json, audit, more   bool
	detach              bool

	given    []given // of the options above, to notice one that is given twice in vain
	settings []setting
	args     []string // the command and its arguments, or the questions
}

// setting is a flag of policy.Flags with its value, in the order written.
type setting struct {
	flag  *policy.Flag
	value string
}

// given is an option that was written.
type given struct{ name, value string }

// record takes a flag in; it is an error when the verb has none of that name.
func (i *invocation) record(v verb, name, value string) {
	if o := optionNamed(v, name); o != nil {
		i.given = append(i.given, given{name, value})
		o.set(i, value)
		return
	}
	if f := policy.FlagNamed(name); f != nil {
		i.settings = append(i.settings, setting{f, value})
	}
}

// policyShort is the letter for a flag of the policy, "" for none: -t of run is --tty.
func policyShort(v verb, name string) string {
	if v == verbRun && name == "tty" {
		return "t"
	}
	return ""
}

// optionNamed returns the option that verb v has under this name, or nil.
func optionNamed(v verb, name string) *option {
	for i := range options {
		if o := &options[i]; o.name == name && o.verbs&v != 0 {
			return o
		}
	}
	return nil
}

// flagNames lists all flags of a verb.
func flagNames(v verb) []string {
	names := make([]string, 0, len(options)+len(policy.Flags))
	for i := range options {
		if options[i].verbs&v != 0 {
			names = append(names, options[i].name)
		}
	}
	for i := range policy.Flags {
		names = append(names, policy.Flags[i].Name)
	}
	return append(names, "help")
}
