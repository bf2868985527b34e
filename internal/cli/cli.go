// Package cli is the command line of Cloche: one file for each verb.
//
// `cloche run` is on the path of every sandbox that a shell starts, so it does
// not build the cobra tree that help, completions and the manual come from
// (package tree): it reads its flags with a small parser over the same list
// (options.go).
package cli

import (
	"errors"
	"os"

	"github.com/cloche-sandbox/cloche/internal/host"
)

// Exit codes of Cloche itself, beside those of the command; 128+n means that
// signal n ended it.
const (
	exitNo         = 1   // `cloche can`: at least one answer is no; `cloche doctor`: something is missing
	exitFailure    = 125 // Cloche's own errors: the command never ran
	exitCannotExec = 126 // the command is there and can't be executed
	exitNotFound   = 127 // there is no such command inside
)

// unfinished is what Early left to Main.
var unfinished *attempt

// Early carries out `cloche run`, `cloche exec` and the keeper of logs, and reports whether it is done: whether args
// ask for that, and it needed nothing that is not initialised yet.
func Early(args []string) (status int, done bool) {
	if len(args) < 2 || args[1] != "run" {
		if len(args) > 1 && args[1] == KeeperArg {
			return keepLogs(args), true
		}
		if len(args) > 1 && args[1] == "exec" {
			return earlyExec(args[2:])
		}
		return 0, false
	}
	inv, err := parseRun(args[2:])
	switch {
	case err == nil:
		status, unfinished = run(inv, args)
		return status, unfinished == nil
	case errors.Is(err, errHelp):
		return 0, false // the tree has the page
	}
	return fail(err), true
}

// Main is the program: args are those of the process, tree carries out all
// verbs, and the result is the exit status.
func Main(args []string, tree func(args []string) error) int {
	if unfinished == nil {
		if status, done := Early(args); done {
			return status
		}
	}
	if unfinished != nil {
		return unfinished.finish()
	}
	if len(args) > 1 && args[1] == host.ProbeArg {
		host.ProbeMain(args[2:]) // for `cloche doctor`
	}
	if err := tree(args); err != nil {
		return fail(err)
	}
	return 0
}

// fail prints one line about err and returns the exit status that belongs to it.
func fail(err error) int {
	var e *exitError
	if errors.As(err, &e) {
		if e.err != nil {
			complain(e.err.Error())
		}
		return e.code
	}
	complain(err.Error())
	return exitFailure
}

// exitError is an error with an exit status other than exitFailure.
type exitError struct {
	code int
	err  error // nil: everything is said already
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// complain writes one line to stderr. What a message quotes may come from a
// hostile file name or policy: control characters would reach the terminal.
func complain(message string) {
	line := make([]byte, 0, len(message)+16)
	line = append(line, "cloche: "...)
	line = appendPlain(line, message)
	_, _ = os.Stderr.Write(append(line, '\n'))
}

// appendPlain appends s with its control characters as \xNN.
func appendPlain(line []byte, s string) []byte {
	const hex = "0123456789abcdef"
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == 0x7f {
			line = append(line, '\\', 'x', hex[c>>4], hex[c&15])
		} else {
			line = append(line, c)
		}
	}
	return line
}
