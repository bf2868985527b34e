package oci

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// programName is what this front end is called in its messages.
const programName = "cloche-oci"

// Exit codes, as engines know them.
const (
	exitError   = 1   // everything that failed
	exitUnknown = 3   // no such command
	exitExec    = 255 // exec, before the command ran
)

// option is a flag: data for the parser and for the help page.
type option struct {
	name   string // without hyphens
	short  string // one letter, or ""
	value  string // what to write for the value; "": the flag takes none
	usage  string
	hidden bool // taken, and not shown
	set    func(*invocation, string) error
}

// verb is a command.
type verb struct {
	name, usage string
	args        string // behind the options, in the help page
	min, max    int    // how many arguments; max < 0: any number
	// greedy: flags end at the first argument, as what follows is a command line.
	greedy  bool
	options []option
	run     func(*invocation) (status int, err error)
}

// invocation is a command line that was read.
type invocation struct {
	g        Global
	rootless string
	help     bool
	version  bool

	verb *verb
	args []string

	specRootless bool
	rootSet      bool
	run          RunOptions
	exec         ExecOptions
	all, force   bool
	format       string
	quiet        bool
	interval     time.Duration
	stats        bool
	update       updateOptions
}

// usageError is a command line that can't be understood.
type usageError struct{ message string }

func (e *usageError) Error() string { return e.message }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// errNoVerb asks for the help page.
var errNoVerb = errors.New("no command")

// unknownVerb is a command that is none.
type unknownVerb string

func (e unknownVerb) Error() string { return "No help topic for '" + string(e) + "'" }

// parse reads a command line without the program's name. Flags are --name value,
// --name=value, -name and -n; a flag that takes no value may be given one of
// Go's words for true and false, --name=false.
func parse(words []string) (*invocation, error) {
	inv := &invocation{format: "table", interval: 5 * time.Second}
	rest, err := inv.flags(globalOptions[:], words, true)
	if err != nil || inv.help || inv.version {
		return inv, err
	}
	if len(rest) == 0 {
		return inv, errNoVerb
	}
	if rest[0] == "help" || rest[0] == "h" {
		inv.help = true
		if len(rest) > 1 {
			if inv.verb = verbNamed(rest[1]); inv.verb == nil {
				return inv, unknownVerb(rest[1])
			}
		}
		return inv, nil
	}
	v := verbNamed(rest[0])
	if v == nil {
		return inv, unknownVerb(rest[0])
	}
	inv.verb = v
	if inv.args, err = inv.flags(v.options, rest[1:], v.greedy); err != nil || inv.help {
		return inv, err
	}
	n := len(inv.args)
	switch {
	case v.min == v.max && n != v.min:
		return inv, usagef("%s: %q requires exactly %d argument(s)", programName, v.name, v.min)
	case n < v.min:
		return inv, usagef("%s: %q requires a minimum of %d argument(s)", programName, v.name, v.min)
	case v.max >= 0 && n > v.max:
		return inv, usagef("%s: %q requires a maximum of %d argument(s)", programName, v.name, v.max)
	}
	if v.min > 0 && inv.args[0] == "" {
		return inv, errors.New("container id cannot be empty")
	}
	return inv, nil
}

func verbNamed(name string) *verb {
	for i := range verbs {
		if verbs[i].name == name {
			return &verbs[i]
		}
	}
	return nil
}

// flags reads flags off words and returns the others; greedy: it ends at the first
// that is none.
func (inv *invocation) flags(options []option, words []string, greedy bool) (args []string, err error) {
	for len(words) > 0 {
		word := words[0]
		if len(word) < 2 || word[0] != '-' {
			if greedy {
				break
			}
			args, words = append(args, word), words[1:]
			continue
		}
		words = words[1:]
		if word == "--" {
			break
		}
		name := strings.TrimPrefix(word[1:], "-")
		name, value, attached := strings.Cut(name, "=")
		if name == "help" || name == "h" {
			inv.help = true
			return nil, nil
		}
		o := optionNamed(options, name)
		switch {
		case o == nil:
			return nil, usagef("flag provided but not defined: -%s", name)
		case attached:
		case o.value == "":
			value = "true"
		case len(words) == 0:
			return nil, usagef("flag needs an argument: -%s", name)
		default:
			value, words = words[0], words[1:]
		}
		if err := o.set(inv, value); err != nil {
			return nil, usagef("invalid value %q for flag -%s: %v", value, name, err)
		}
	}
	return append(args, words...), nil
}

func optionNamed(options []option, name string) *option {
	for i := range options {
		if o := &options[i]; o.name == name || o.short != "" && o.short == name {
			return o
		}
	}
	return nil
}

// toBool sets a flag that takes no value.
func toBool(to *bool, value string) error {
	b, err := strconv.ParseBool(value)
	if err != nil {
		return errors.New("parse error")
	}
	*to = b
	return nil
}

// Main carries out a command line; args begins with the program's name.
func Main(args []string) int {
	inv, err := parse(args[1:])
	log, logErr := openLog(&inv.g)
	defer log.close()
	reporter = &log
	if err == nil {
		err = logErr
	}
	var usage *usageError
	var unknown unknownVerb
	switch {
	case errors.As(err, &usage):
		fmt.Print("Incorrect Usage.\n\n", inv.page())
		return log.fatal(err, exitError)
	case errors.As(err, &unknown):
		return log.fatal(err, exitUnknown)
	case err == errNoVerb, err == nil && inv.help:
		fmt.Print(inv.page())
		return 0
	case err == nil && inv.version:
		fmt.Print(versionText())
		return 0
	case err != nil:
		return log.fatal(err, exitError)
	}
	if err := inv.settle(); err != nil {
		return log.fatal(err, exitError)
	}
	debugf("%s %q, root %s, rootless %t", inv.verb.name, inv.args, inv.g.Root, inv.g.Rootless)
	status, err := inv.verb.run(inv)
	if err != nil {
		if status == 0 {
			status = exitError
		}
		return log.fatal(err, status)
	}
	return status
}

// settle decides what the words of the global flags mean here.
func (inv *invocation) settle() error {
	g := &inv.g
	mapped := os.Geteuid() != 0 || inUserNamespace()
	g.Rootless = mapped
	if r := strings.ToLower(inv.rootless); r != "" && r != "auto" {
		b, err := strconv.ParseBool(r)
		if err != nil {
			return fmt.Errorf("invalid --rootless %q: use true, false or auto", inv.rootless)
		}
		g.Rootless = b
	}
	if !inv.rootSet {
		return inv.defaultRoot(mapped)
	}
	root, err := filepath.Abs(g.Root)
	if err != nil {
		return err
	}
	if root == "/" {
		//lint:ignore ST1005 the words of runc
		return errors.New("Option --root argument should not be set to /")
	}
	g.Root = root
	return nil
}

// defaultRoot is where containers are kept without --root. Who may not write to
// /run has a directory of his own, with the sticky bit, by which its owner is
// told not to be tidied away (XDG Base Directory Specification).
func (inv *invocation) defaultRoot(mapped bool) error {
	inv.g.Root = "/run/" + programName
	user, set := os.LookupEnv("USER")
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" || !mapped || os.Geteuid() == 0 && set && user == "root" {
		return nil
	}
	inv.g.Root = filepath.Join(dir, programName)
	err := os.MkdirAll(inv.g.Root, 0o700)
	if err == nil {
		err = os.Chmod(inv.g.Root, 0o700|os.ModeSticky)
	}
	if err != nil {
		return fmt.Errorf("%w: the path in $XDG_RUNTIME_DIR must be writable by the user; set it, or use --root", err)
	}
	return nil
}
