package profile

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cloche-sandbox/cloche/internal/document"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// maxArgs is how many arguments a system call can have.
const maxArgs = 6

// parseCall reads a call with its conditions. The grammar is the package's comment.
func parseCall(s string) (name string, args []seccomp.Arg, err error) {
	name, rest, called := strings.Cut(s, "(")
	name = strings.TrimSpace(name)
	if name == "" {
		return "", nil, errors.New("an empty name: write a call such as openat, or socket(AF_UNIX)")
	}
	if err := checkCall(name); err != nil {
		return "", nil, err
	}
	if !called {
		return name, nil, nil
	}
	list, closed := strings.CutSuffix(strings.TrimSpace(rest), ")")
	if !closed {
		return "", nil, fmt.Errorf("%s: the closing parenthesis is missing", document.Clip(s))
	}
	if strings.TrimSpace(list) == "" {
		return name, nil, nil
	}
	words := strings.Split(list, ",")
	if len(words) > maxArgs {
		return "", nil, fmt.Errorf("%s: %d arguments: a system call has at most %d", document.Clip(s), len(words), maxArgs)
	}
	for i, word := range words {
		if strings.TrimSpace(word) == "_" {
			continue
		}
		for condition := range strings.SplitSeq(word, "&&") {
			a, err := parseCondition(strings.TrimSpace(condition), narrow(name, i))
			if err != nil {
				return "", nil, fmt.Errorf("%s: argument %d: %w", document.Clip(s), i, err)
			}
			a.Index = i
			args = append(args, a)
		}
	}
	return name, args, nil
}

// narrow reports whether the kernel looks at the low word of an argument alone.
func narrow(name string, arg int) bool {
	w := seccomp.Width(name, arg)
	return w == 32 || w == 16
}

// parseCondition reads a comparison; low32 is what holds without :32 or :64.
func parseCondition(s string, low32 bool) (a seccomp.Arg, err error) {
	a.Low32 = low32
	if t, ok := strings.CutSuffix(s, ":32"); ok {
		s, a.Low32 = t, true
	} else if t, ok := strings.CutSuffix(s, ":64"); ok {
		s, a.Low32 = t, false
	}
	a.Op = seccomp.Equal
	for _, o := range operators {
		if t, ok := strings.CutPrefix(s, o.text); ok {
			s, a.Op = t, o.op
			if o.text == "!&" {
				a.Mask, err = parseValue(s, a.Low32)
				return a, err
			}
			break
		}
	}
	if a.Op == seccomp.MaskedEqual {
		mask, value, ok := strings.Cut(s, "==")
		if !ok {
			return a, fmt.Errorf(`%s: a mask needs a value: "& MASK == V", or "!& MASK" for none of its bits`, document.Clip("&"+s))
		}
		if a.Mask, err = parseValue(mask, a.Low32); err != nil {
			return a, err
		}
		s = value
	}
	if a.Value, err = parseValue(s, a.Low32); err != nil {
		return a, err
	}
	return a, possible(&a)
}

// operators are tried in this order: the longer of two that begin alike first.
var operators = [...]struct {
	text string
	op   seccomp.Op
}{
	{"==", seccomp.Equal},
	{"!=", seccomp.NotEqual},
	{"!&", seccomp.MaskedEqual},
	{"<=", seccomp.LessEqual},
	{">=", seccomp.GreaterEqual},
	{"<", seccomp.Less},
	{">", seccomp.Greater},
	{"&", seccomp.MaskedEqual},
}

// possible refuses a comparison that can never hold.
func possible(a *seccomp.Arg) error {
	most := ^uint64(0)
	if a.Low32 {
		most = 0xffffffff
	}
	switch {
	case a.Op == seccomp.Less && a.Value == 0:
		return errors.New("no value is below 0, as arguments are compared unsigned: leave the condition out")
	case a.Op == seccomp.Greater && a.Value == most:
		return fmt.Errorf("no value is above %#x: leave the condition out", most)
	case a.Op == seccomp.MaskedEqual && a.Value&^a.Mask != 0:
		return fmt.Errorf("a value under the mask %#x is never %#x, which has other bits: add them to the mask, or take them out of the value", a.Mask, a.Value)
	}
	return nil
}

// parseValue reads numbers and constants joined by |.
func parseValue(s string, low32 bool) (v uint64, err error) {
	for word := range strings.SplitSeq(s, "|") {
		word = strings.TrimSpace(word)
		n, err := parseWord(word)
		if err != nil {
			return 0, err
		}
		v |= n
	}
	if !low32 || v <= 0xffffffff {
		return v, nil
	}
	if v>>31 == 1<<33-1 { // a negative int
		return v & 0xffffffff, nil
	}
	return 0, fmt.Errorf("%s has more than the 32 bits that the kernel looks at: take them out, or write %s:64 to compare all 64",
		document.Clip(strings.TrimSpace(s)), strings.TrimSpace(s))
}

func parseWord(word string) (uint64, error) {
	if word == "" {
		return 0, errors.New("a value is missing: write a number, a constant, or _ for any")
	}
	if v, ok := seccomp.Constant(word); ok {
		return v, nil
	}
	if strings.Contains(word, "_") && word[0] >= '0' && word[0] <= '9' {
		return 0, fmt.Errorf("%s: write the number without underscores", document.Clip(word))
	}
	if v, err := strconv.ParseUint(word, 0, 64); err == nil {
		return v, nil
	}
	if v, err := strconv.ParseInt(word, 0, 64); err == nil && word[0] == '-' {
		return uint64(v), nil
	}
	return 0, fmt.Errorf("%s is neither a number of 64 bits nor a constant that is known here: write its number", document.Clip(word))
}

// isNumber reports whether a call is named by its number, in decimal.
func isNumber(name string) bool {
	n, err := strconv.ParseUint(name, 10, 31)
	return err == nil && strconv.FormatUint(n, 10) == name
}

// FormatCall writes a call with its conditions as profiles have it. The conditions come out in the
// order of the arguments.
func FormatCall(name string, args []seccomp.Arg) string {
	if len(args) == 0 {
		return name
	}
	var positions [maxArgs]string
	last := 0
	for _, a := range args {
		if positions[a.Index] != "" {
			positions[a.Index] += " && "
		}
		positions[a.Index] += formatCondition(name, a, narrow(name, a.Index))
		last = max(last, a.Index)
	}
	for i := range positions {
		if positions[i] == "" {
			positions[i] = "_"
		}
	}
	return name + "(" + strings.Join(positions[:last+1], ", ") + ")"
}

func formatCondition(call string, a seccomp.Arg, low32 bool) string {
	s := formatValue(call, a.Index, a.Value)
	switch {
	case a.Op == seccomp.MaskedEqual && a.Value == 0:
		s = "!& " + formatValue(call, a.Index, a.Mask)
	case a.Op == seccomp.MaskedEqual:
		s = "& " + formatValue(call, a.Index, a.Mask) + " == " + s
	case a.Op != seccomp.Equal:
		for _, o := range operators {
			if o.op == a.Op {
				s = o.text + " " + s
			}
		}
	}
	switch {
	case a.Low32 == low32:
		return s
	case a.Low32:
		return s + ":32"
	}
	return s + ":64"
}

// formatValue writes constants by their names, small numbers in decimal, and what
// looks like bits in hexadecimal.
func formatValue(call string, arg int, v uint64) string {
	if name := seccomp.ConstantName(call, arg, v); name != "" {
		return name
	}
	if v < 1024 {
		return strconv.FormatUint(v, 10)
	}
	return "0x" + strconv.FormatUint(v, 16)
}

// sorted are conditions in the order in which they are read back.
func sorted(args []seccomp.Arg) []seccomp.Arg {
	return slices.SortedStableFunc(slices.Values(args), func(a, b seccomp.Arg) int { return a.Index - b.Index })
}
