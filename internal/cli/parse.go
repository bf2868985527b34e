package cli

import (
	"errors"
	"strings"

	"github.com/cloche-sandbox/cloche/internal/document"
	"github.com/cloche-sandbox/cloche/policy"
)

// errHelp asks for the help page, which only the cobra tree can print.
var errHelp = errors.New("help")

// parseRun reads the command line of `cloche run`: flags as --flag value or
// --flag=value up to "--" or the first word that is no flag, then the command.
// It is the grammar of pflag without interspersed arguments, and
// TestParsersAgree holds the two together.
func parseRun(words []string) (*invocation, error) {
	inv := &invocation{}
	for len(words) > 0 {
		word := words[0]
		if len(word) < 2 || word[0] != '-' {
			break
		}
		words = words[1:]
		if word == "--" {
			break
		}
		if word[1] != '-' {
			if word == "-h" {
				return nil, errHelp
			}
			if rest := inv.recordShort(word[1:]); rest != "" {
				return nil, unknownShort(verbRun, "-"+rest)
			}
			continue
		}
		name, value, attached := strings.Cut(word[2:], "=")
		if name == "help" {
			return nil, errHelp
		}
		takes, without, known := flagTakes(verbRun, name)
		switch {
		case !known:
			return nil, unknownFlag(verbRun, name)
		case attached:
		case !takes:
			value = without
		case len(words) == 0:
			return nil, missingValue(name)
		default:
			value, words = words[0], words[1:]
		}
		inv.record(verbRun, name, value)
	}
	inv.args = words
	return inv, nil
}

// recordShort takes -i, -t, -it, and -t=VALUE in, and returns what is none of these.
func (i *invocation) recordShort(letters string) (rest string) {
	for letters != "" {
		name, without := "", "true"
		switch letters[0] {
		case 'i':
			name = "interactive"
		case 't':
			name, without = "tty", "always"
		default:
			return letters
		}
		if len(letters) > 2 && letters[1] == '=' {
			i.record(verbRun, name, letters[2:])
			return ""
		}
		i.record(verbRun, name, without)
		letters = letters[1:]
	}
	return ""
}

// flagTakes tells whether a flag takes the word after it as its value, and if
// not what it means without one.
func flagTakes(v verb, name string) (takes bool, without string, known bool) {
	if o := optionNamed(v, name); o != nil {
		return o.value != "", "true", true
	}
	f := policy.FlagNamed(name)
	switch {
	case f == nil:
		return false, "", false
	case f.Value == "":
		return false, "true", true
	case f.OptionalValue != "":
		return false, f.OptionalValue, true
	}
	return true, "", true
}

// flagValue is what a help page writes for the value of a flag.
func flagValue(name string) string {
	for i := range options {
		if options[i].name == name {
			return options[i].value
		}
	}
	if f := policy.FlagNamed(name); f != nil {
		return f.Value
	}
	return ""
}

func missingValue(name string) error {
	return errors.New("--" + name + " needs a value: --" + name + " " + flagValue(name))
}

func unknownFlag(v verb, name string) error {
	if name == "" || name[0] == '-' {
		return errors.New("a flag without a name: write -- alone before the command")
	}
	if near := document.Nearest(name, flagNames(v)); near != "" {
		return errors.New("unknown flag --" + clip(name) + ": did you mean --" + near + "?")
	}
	return errors.New("unknown flag --" + clip(name) + ": `cloche " + verbName(v) + " --help` lists them; if it belongs to the command, write -- before the command")
}

// unknownShort is for -x, or -read where --read is meant.
func unknownShort(v verb, word string) error {
	name, _, _ := strings.Cut(word[1:], "=")
	if _, _, known := flagTakes(v, name); known {
		return errors.New("unknown flag " + clip(word) + ": did you mean --" + name + "?")
	}
	return errors.New("unknown flag " + clip(word) + ": `cloche " + verbName(v) + " --help` lists them; if it belongs to the command, write -- before the command")
}

func verbName(v verb) string {
	switch v {
	case verbPlan:
		return "plan"
	case verbBuild:
		return "build"
	case verbCan:
		return "can"
	case verbAttack:
		return "attack"
	case verbLearn:
		return "learn"
	}
	return "run"
}

// clip cuts s short where it is long, for a message of one line.
func clip(s string) string {
	const longest = 256
	if len(s) > longest {
		return s[:longest] + "…"
	}
	return s
}
