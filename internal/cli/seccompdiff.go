package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/cloche-sandbox/cloche/seccomp"
	"github.com/cloche-sandbox/cloche/seccomp/profile"
)

// widened is a call that B lets pass and A does not, as JSON.
type widened struct {
	Arch   string `json:"arch,omitempty"` // absent: numbers that no table has
	Call   string `json:"call"`           // an input that is allowed
	Whole  bool   `json:"whole"`          // whatever its arguments; else at least for these
	Before string `json:"before"`
	After  string `json:"after"`
}

// Diff is `cloche seccomp diff`: what b allows that a does not.
func (s *Seccomp) Diff(a, b string) error {
	before, err := s.read(a)
	if err != nil {
		return err
	}
	after, err := s.read(b)
	if err != nil {
		return err
	}
	if len(s.Archs) == 0 && after.profile != nil && before.profile == nil {
		before.archs = after.archs
	}
	from, err := before.program()
	if err != nil {
		return err
	}
	to, err := after.program()
	if err != nil {
		return err
	}
	list, err := seccomp.Widenings(from, to)
	if err != nil {
		return err
	}
	all := make([]widened, 0, len(list))
	for _, w := range list {
		v := widened{Arch: w.Arch.String(), Call: callOf(w), Whole: w.Whole, Before: w.Before.String(), After: w.After.String()}
		if w.Call == "" {
			v.Arch = ""
		}
		all = append(all, v)
	}
	if s.JSON {
		err = writeJSON(os.Stdout, all)
	} else {
		_, err = os.Stdout.WriteString(plainText(diffText(all, a, b)))
	}
	if err == nil && len(all) > 0 {
		err = &exitError{code: exitNo}
	}
	return err
}

// callOf writes the input of a widening: the call with its arguments up to the last
// that is not 0, constants by their names.
func callOf(w seccomp.Widening) string {
	if w.Call == "" {
		return fmt.Sprintf("call %d of architecture %#x", w.Data.NR, w.Data.Arch)
	}
	if w.Whole {
		return w.Call
	}
	last := 0
	for i, v := range w.Data.Args {
		if v != 0 {
			last = i
		}
	}
	var args []string
	for i, v := range w.Data.Args[:last+1] {
		word := seccomp.ConstantName(w.Call, i, v)
		if word == "" {
			word = fmt.Sprintf("%#x", v)
		}
		args = append(args, word)
	}
	return w.Call + "(" + strings.Join(args, ", ") + ")"
}

func diffText(all []widened, a, b string) string {
	if len(all) == 0 {
		return fmt.Sprintf("%s allows nothing that %s does not\n", b, a)
	}
	arch, call := 0, 0
	for _, w := range all {
		arch, call = max(arch, len(w.Arch)), max(call, min(len(w.Call), 50))
	}
	var s strings.Builder
	for _, w := range all {
		how := ", whatever its arguments"
		if !w.Whole {
			how = ", and perhaps other arguments"
		}
		fmt.Fprintf(&s, "%-*s  %-*s  %s → %s%s\n", arch, w.Arch, call, w.Call, w.Before, w.After, how)
	}
	return s.String()
}

// Convert is `cloche seccomp convert`: the other form of a profile file.
func (s *Seccomp) Convert(name, to, output string) error {
	f, err := s.read(name)
	if err != nil {
		return err
	}
	if err := f.needsProfile(); err != nil {
		return err
	}
	switch {
	case to != "" && to != "toml" && to != "json":
		return fmt.Errorf("--to %s: write toml or json", clip(to))
	case to == "" && isTOML(f):
		to = "json"
	case to == "":
		to = "toml"
	}
	var text []byte
	if to == "toml" {
		for _, a := range f.archs[1:] {
			complain(fmt.Sprintf("%s: TOML has no list of architectures: to filter %s's calls too, compile with --arch %s --arch %s", clip(name), a, f.archs[0], a))
		}
		text, err = profile.Write(*f.profile)
	} else {
		var warnings []profile.Warning
		text, warnings, err = profile.WriteOCI(*f.profile, f.archs...)
		for _, w := range warnings {
			complain(w.String())
		}
	}
	if err != nil {
		return err
	}
	return writeOut(output, text)
}

// isTOML reports whether a profile was read from a TOML file.
func isTOML(f *filterFile) bool {
	data, err := readFile(f.name)
	return err == nil && !strings.HasPrefix(strings.TrimLeft(string(data), " \t\r\n"), "{")
}
