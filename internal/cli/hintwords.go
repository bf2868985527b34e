package cli

import (
	"path"
	"slices"
	"strings"
)

// What a program writes, as far as its name tells.
type writing uint8

const (
	writesSomewhere writing = iota // any other program
	writesNothing                  // but to its streams: its exit status is an answer
	writesArguments                // to the paths that it is given
)

// commandWords is a command that was run, or one of those in a shell's script.
type commandWords struct {
	words   []string
	writes  writing
	unknown bool // a word is only known when the script runs
}

// target is a path that a command may have written to.
type target struct {
	path string
	sure bool // it is for that: not something to read
}

// namesOf lists programs by what they write.
var namesOf = map[writing]string{
	writesNothing: " [ [[ : alias ar basename break case cat cd cksum cmp command comm continue cut date df diff dirname du echo " +
		"egrep exit export expr false fgrep file for getent getopts grep groups head hash hostname id jobs kill killall less let " +
		"local logname ls lsof md5sum more nproc od pgrep pidof ping pkill printenv printf ps pwd read readlink readonly realpath " +
		"return rg seq set sha1sum sha256sum sha512sum shift sleep stat strings sum tail test time times tr trap tree true tty type ulimit " +
		"umask unalias uname unset uptime wait wc which whoami zgrep ",
	writesArguments: " chgrp chmod chown cp dd install ln mkdir mkfifo mknod mktemp mv rm rmdir shred tee touch truncate unlink ",
}

// shells take a script after -c.
const shells = " ash bash dash ksh mksh sh zsh busybox "

// wrappers run the command that follows them.
const wrappers = " command env exec nice nohup setsid stdbuf time timeout ! "

// keywords stand before a command in a shell's script.
const keywords = " if then elif else do while until { } fi done esac "

func oneOf(list, word string) bool {
	return word != "" && strings.IndexByte(word, ' ') < 0 && strings.Contains(list, " "+word+" ")
}

// commandsOf takes a command apart: what it wraps, and what a shell is told to run.
func commandsOf(args []string) []commandWords {
	for len(args) > 0 && oneOf(wrappers, path.Base(args[0])) {
		timeout := path.Base(args[0]) == "timeout"
		args = args[1:]
		for len(args) > 0 && (strings.HasPrefix(args[0], "-") || strings.IndexByte(args[0], '=') > 0) {
			args = args[1:]
		}
		if timeout && len(args) > 0 {
			args = args[1:]
		}
	}
	if len(args) == 0 {
		return nil
	}
	name := path.Base(args[0])
	if oneOf(shells, name) {
		interactive := true // what it runs is typed, or comes from stdin
		for i, a := range args[1:] {
			if !strings.HasPrefix(a, "-") || len(a) < 2 {
				interactive = false
				break
			}
			if strings.HasPrefix(a, "--") {
				continue
			}
			if strings.IndexByte(a, 'c') > 0 && len(args) > i+2 {
				return scriptCommands(args[i+2])
			}
		}
		if interactive {
			return nil // its exit status is that of the last command, whatever that was
		}
	}
	return []commandWords{newCommand(args)}
}

func newCommand(args []string) commandWords {
	c := commandWords{words: args}
	name := path.Base(args[0])
	for w, list := range namesOf {
		if oneOf(list, name) {
			c.writes = w
		}
	}
	if name == "sed" {
		// Without -i it writes to stdout.
		c.writes = writesNothing
		if slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "-i") || strings.HasPrefix(a, "--in-place") }) {
			c.writes = writesArguments
		}
	}
	for _, a := range args[1:] {
		c.unknown = c.unknown || strings.ContainsAny(a, "$`*?")
	}
	return c
}

// removes reports whether the directory around the arguments changes.
func (c *commandWords) removes() bool { return oneOf(" mv rm rmdir unlink ", path.Base(c.words[0])) }

// targets are the paths among the arguments, those that are surely written to first.
func (c *commandWords) targets() (all []target) {
	name := path.Base(c.words[0])
	last := oneOf(" cp install ln mv ", name)
	for i, a := range c.words[1:] {
		if value, ok := strings.CutPrefix(a, "of="); ok && name == "dd" {
			return []target{{value, true}}
		}
		if strings.HasPrefix(a, "-") {
			_, a, _ = strings.Cut(a, "=")
		}
		if a == "" || strings.ContainsAny(a, "$`*?") || strings.HasPrefix(a, "/dev/") || len(a) > 4096 {
			continue
		}
		sure := c.writes == writesArguments && name != "dd" && (!last || i == len(c.words)-2)
		if sure || c.writes == writesSomewhere {
			all = append(all, target{a, sure})
		}
	}
	return all
}

// scriptCommands finds the commands in a shell's script. It is no shell: what is
// quoted stays together, what begins a command is known, and a redirection to a
// file counts as tee(1).
func scriptCommands(script string) (all []commandWords) {
	var words []string
	var word []byte
	begun, redirect := false, false
	endWord := func() {
		switch {
		case !begun:
			return
		case redirect:
			if string(word) != "/dev/null" {
				all = append(all, newCommand([]string{"tee", string(word)}))
			}
		case len(words) == 0 && (oneOf(keywords, string(word)) || strings.IndexByte(string(word), '=') > 0):
		default:
			words = append(words, string(word))
		}
		word, begun, redirect = nil, false, false
	}
	endCommand := func() {
		endWord()
		if len(words) > 0 {
			all = append(all, commandsOf(words)...)
		}
		words, redirect = nil, false
	}
	quote := byte(0)
	for i := 0; i < len(script); i++ {
		c := script[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case c == '\\' && quote != '\'' && i+1 < len(script):
			i++
			word, begun = append(word, script[i]), true
		case quote != 0:
			word = append(word, c)
		case c == '\'' || c == '"':
			quote, begun = c, true
		case c == ' ' || c == '\t':
			endWord()
		case c == '>' || c == '<':
			if len(word) == 1 && word[0] >= '0' && word[0] <= '9' {
				word, begun = nil, false // 2>file
			}
			endWord()
			for i+1 < len(script) && (script[i+1] == '>' || script[i+1] == '<' || script[i+1] == '|') {
				i++
			}
			if i+1 < len(script) && script[i+1] == '&' {
				i++
				for i+1 < len(script) && script[i+1] >= '0' && script[i+1] <= '9' {
					i++
				}
			} else {
				redirect = c == '>'
			}
		case strings.IndexByte(";&|\n()", c) >= 0:
			endCommand()
		default:
			word, begun = append(word, c), true
		}
	}
	endCommand()
	return all
}
