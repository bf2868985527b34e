package cli

import "strings"

// withheld stands for a value in a plan.
const withheld = "…"

// withholdValues is for `cloche plan`, of which the output ends up in reports and
// chats: the value of a variable that the command line sets may be a token, and
// no step depends on it. (Those of the caller's environment are named alone
// anyway.) What decides where a command and its libraries are found is part
// of the plan, and stays.
func (i *invocation) withholdValues() {
	for n := range i.settings {
		s := &i.settings[n]
		if s.flag.Name != "env" {
			continue
		}
		name, value, set := strings.Cut(s.value, "=")
		if set && value != "" && name != "PATH" && name != "LD_LIBRARY_PATH" {
			s.value = name + "=" + withheld
		}
	}
}
