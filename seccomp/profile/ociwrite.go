package profile

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/seccomp"
)

// maxEntries is more than runc has use for: its filter would not fit into the kernel.
const maxEntries = 10000

// fixedError is an error that needs no init: `cloche run` imports this package.
type fixedError string

func (e fixedError) Error() string { return string(e) }

const errTooLong = fixedError("its conditions take more entries than any runtime loads; make them simpler")

type ociFile struct {
	DefaultAction   string     `json:"defaultAction"`
	DefaultErrnoRet *uint      `json:"defaultErrnoRet,omitempty"`
	Architectures   []string   `json:"architectures,omitempty"`
	Flags           []string   `json:"flags,omitempty"`
	Syscalls        []ociCalls `json:"syscalls"`
}

type ociCalls struct {
	Names    []string `json:"names"`
	Action   string   `json:"action"`
	ErrnoRet *uint    `json:"errnoRet,omitempty"`
	Args     []ociArg `json:"args,omitempty"`
	Comment  string   `json:"comment,omitempty"`
}

type ociArg struct {
	Index    int    `json:"index"`
	Value    uint64 `json:"value"`
	ValueTwo uint64 `json:"valueTwo,omitempty"`
	Op       string `json:"op"`
}

// WriteOCI returns the JSON form of a profile for the architectures, the machine's
// own first. As its rules have no order and compare 64 bits, a rule is written as
// what it adds to those before it, and a comparison of 32 bits with masks: the
// result can be longer, and answers the same. Warnings are about what the form
// can't say; numbers of calls are an error, as it has only names.
func WriteOCI(p seccomp.Profile, archs ...seccomp.Arch) ([]byte, []Warning, error) {
	w := &ociWriter{p: &p, before: map[string][]seccomp.Rule{}}
	if err := w.head(archs); err != nil {
		return nil, nil, fmt.Errorf("seccomp profile %s: %w", p.Name, err)
	}
	for _, g := range p.Groups {
		for _, r := range g.Rules {
			if err := w.rule(g, r); err != nil {
				return nil, nil, fmt.Errorf("seccomp profile %s, group %s: %w", p.Name, g.Name, err)
			}
		}
	}
	out, err := json.MarshalIndent(&w.file, "", "\t")
	return append(out, '\n'), w.warnings, err
}

type ociWriter struct {
	p        *seccomp.Profile
	file     ociFile
	warnings []Warning
	before   map[string][]seccomp.Rule // rules that each call has had
}

func (w *ociWriter) warn(format string, args ...any) {
	w.warnings = append(w.warnings, Warning{File: w.p.Name, Text: fmt.Sprintf(format, args...)})
}

func (w *ociWriter) head(archs []seccomp.Arch) (err error) {
	f := &w.file
	f.Syscalls = []ociCalls{}
	if f.DefaultAction, f.DefaultErrnoRet, err = ociAction(w.p.Default); err != nil {
		return fmt.Errorf("default: %w", err)
	}
	for _, a := range archs {
		f.Architectures = append(f.Architectures, "SCMP_ARCH_"+strings.ToUpper(a.String()))
	}
	for _, known := range flagNames {
		if w.p.Flags&known.flag != 0 {
			f.Flags = append(f.Flags, known.oci)
		}
	}
	if want := unknownFor(w.p.Default); w.p.Unknown != want {
		w.warn("calls newer than the profile: the form can't ask for %s, and runc answers %s", w.p.Unknown, want)
	}
	if w.p.BadArch != seccomp.KillProcess && w.p.BadArch != seccomp.KillThread {
		w.warn("calls of other architectures: the form can't ask for %s, and runc kills the thread", w.p.BadArch)
	}
	return nil
}

// ociAction is an action by its name, with its value where it has one.
func ociAction(a seccomp.Action) (name string, errnoRet *uint, err error) {
	plain := a
	switch kind := a & unix.SECCOMP_RET_ACTION_FULL; kind {
	case seccomp.Errno(0), seccomp.Trace(0):
		plain = kind
		errnoRet = new(uint(a & unix.SECCOMP_RET_DATA))
	}
	for _, known := range ociActions {
		if known.action == plain {
			return known.name, errnoRet, nil
		}
	}
	return "", nil, fmt.Errorf("there is no action %s", a)
}

// rule writes what a rule adds to those before it.
func (w *ociWriter) rule(g seccomp.Group, r seccomp.Rule) error {
	action, errnoRet, err := ociAction(r.Action)
	if err != nil {
		return err
	}
	entry := ociCalls{Action: action, ErrnoRet: errnoRet, Comment: comment(g)}
	var plain []string // calls about which this is the first word
	for _, name := range r.Syscalls {
		before := w.before[name]
		if n := len(before); n > 0 && len(before[n-1].Args) == 0 {
			continue // decided
		}
		if isNumber(name) {
			return fmt.Errorf("call %s: the form has names alone; write the name, or leave the rule out", name)
		}
		w.before[name] = append(before, r)
		// What has the default's answer anyway needs no words.
		switch fresh := !slices.ContainsFunc(before, func(b seccomp.Rule) bool { return b.Action != r.Action }); {
		case r.Action == w.p.Default && len(before)+len(r.Args) > 0:
		case fresh && len(r.Args) > 0 || len(before) == 0:
			plain = append(plain, name)
		default:
			rest, ok := remainder(r, before)
			if !ok {
				return errTooLong
			}
			for _, args := range rest {
				if err := w.add(entry, []string{name}, args); err != nil {
					return err
				}
			}
		}
	}
	if len(plain) == 0 {
		return nil
	}
	return w.add(entry, plain, r.Args)
}

// comment keeps a group's name, but for one that ReadOCI made.
func comment(g seccomp.Group) string {
	name := g.Name
	if strings.HasPrefix(name, "syscalls[") || name == "default" {
		name = ""
	}
	if name == "" || g.Reason == "" {
		return name + g.Reason
	}
	return name + ": " + g.Reason
}

// add writes an entry for conditions that all must hold: one, where each argument
// has at most one comparison that the form knows, else as many as it takes.
func (w *ociWriter) add(entry ociCalls, names []string, conditions []seccomp.Arg) error {
	entry.Names = names
	var perArg [maxArgs][]ociArg // alternatives
	for i := range perArg {
		alternatives, always := ociConditions(i, about(conditions, i))
		if !always && len(alternatives) == 0 {
			return nil // it never holds
		}
		perArg[i] = alternatives
	}
	entries := []ociCalls{entry}
	for _, alternatives := range perArg {
		if len(alternatives) == 0 {
			continue
		}
		var more []ociCalls
		for _, e := range entries {
			for _, a := range alternatives {
				with := e
				with.Args = append(slices.Clip(e.Args), a)
				more = append(more, with)
			}
			if len(w.file.Syscalls)+len(more) > maxEntries {
				return errTooLong
			}
		}
		entries = more
	}
	w.file.Syscalls = append(w.file.Syscalls, entries...)
	return nil
}

// ociConditions are comparisons of which one must hold where all of args do. always
// says that none is needed.
func ociConditions(index int, args []seccomp.Arg) (alternatives []ociArg, always bool) {
	if len(args) == 1 && !args[0].Low32 && args[0].Op != seccomp.MaskedEqual {
		for _, o := range ociOperators {
			if o.op == args[0].Op {
				return []ociArg{{Index: index, Value: args[0].Value, Op: o.name}}, false
			}
		}
	}
	for _, c := range allOf(args) {
		switch c.mask {
		case 0:
			return nil, true
		case ^uint64(0):
			alternatives = append(alternatives, ociArg{Index: index, Value: c.value, Op: "SCMP_CMP_EQ"})
		default:
			alternatives = append(alternatives, ociArg{Index: index, Value: c.mask, ValueTwo: c.value, Op: "SCMP_CMP_MASKED_EQ"})
		}
	}
	return alternatives, false
}
