package cli

import (
	"strconv"
	"strings"
)

// earlyExec carries out a well-formed `cloche exec` before the rest of the program is
// initialised, which takes longer than to join. Anything else is for the cobra tree, whose
// grammar this is: done is false then, and nothing was done.
func earlyExec(words []string) (status int, done bool) {
	x, args, ok := parseExec(words)
	if !ok {
		return 0, false
	}
	if err := x.Run(args); err != nil {
		return fail(err), true
	}
	return 0, true
}

// parseExec reads flags up to the first word that is none.
func parseExec(words []string) (x *Exec, args []string, ok bool) {
	x = &Exec{}
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
			for _, c := range word[1:] {
				switch c {
				case 'i':
					x.Interactive = true
				case 't':
					x.TTY = true
				default:
					return nil, nil, false
				}
			}
			continue
		}
		name, value, attached := strings.Cut(word[2:], "=")
		switch name {
		case "interactive", "tty":
			if attached {
				return nil, nil, false
			}
			x.Interactive = x.Interactive || name == "interactive"
			x.TTY = x.TTY || name == "tty"
			continue
		}
		if !attached {
			if len(words) == 0 {
				return nil, nil, false
			}
			value, words = words[0], words[1:]
		}
		switch name {
		case "user":
			x.User = value
		case "cwd":
			x.Cwd = value
		case "env":
			x.Env = append(x.Env, value)
		case "pid":
			n, err := strconv.Atoi(value)
			if err != nil {
				return nil, nil, false
			}
			x.PID = n
		default:
			return nil, nil, false
		}
	}
	return x, words, true
}
