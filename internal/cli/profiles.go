package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/cloche-sandbox/cloche/policy"
)

// Profiles is `cloche profiles [NAME]`.
func Profiles(args []string, asJSON bool) error {
	switch len(args) {
	case 0:
		return listProfiles(os.Stdout, asJSON)
	case 1:
		return showProfile(os.Stdout, args[0], asJSON)
	}
	return fmt.Errorf("profiles: one name at most, not %d", len(args))
}

// builtinProfile is a built-in profile as JSON.
type builtinProfile struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Policy      string `json:"policy,omitempty"` // TOML, with what it extends resolved
}

func listProfiles(out io.Writer, asJSON bool) error {
	var all []builtinProfile
	width := 0
	for _, name := range policy.Builtins() {
		p, _ := policy.Builtin(name)
		all = append(all, builtinProfile{Name: name, Description: p.Description})
		width = max(width, len(name))
	}
	if asJSON {
		return writeJSON(out, all)
	}
	var s strings.Builder
	for _, p := range all {
		s.WriteString(p.Name + strings.Repeat(" ", width-len(p.Name)+2) + p.Description + "\n")
	}
	_, err := io.WriteString(out, s.String())
	return err
}

func showProfile(out io.Writer, name string, asJSON bool) error {
	p, ok := policy.Builtin(name)
	if !ok {
		return unknownProfile(name)
	}
	if asJSON {
		return writeJSON(out, builtinProfile{name, p.Description, string(policy.Format(p))})
	}
	_, err := out.Write(policy.Format(p))
	return err
}
