package cli

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/cloche-sandbox/cloche/internal/inspect"
)

// Inspect is `cloche inspect NAME|PID`.
func Inspect(args []string, asJSON, tree bool) error {
	if len(args) != 1 {
		return errors.New("inspect: name one sandbox or process: cloche inspect NAME|PID")
	}
	s, err := findSubject("inspect", args[0])
	if err != nil {
		return err
	}
	if tree {
		roots, err := inspect.Tree(s.pid, s.start)
		if err != nil {
			return fmt.Errorf("inspect: %w", err)
		}
		if asJSON {
			return writeJSON(os.Stdout, roots)
		}
		return writeTree(os.Stdout, roots)
	}
	p, err := inspect.Look(s.pid, s.start)
	if err != nil {
		return fmt.Errorf("inspect: %w", err)
	}
	if asJSON {
		return writeJSON(os.Stdout, p)
	}
	return writeProcess(os.Stdout, p)
}

// subject is what a word of a command line stands for: a sandbox, or a process.
type subject struct {
	name  string // as it was written
	pid   int    // the command of the sandbox, or the process
	start uint64 // when that has started, field 22 of proc_pid_stat(5); 0: not known

	denied *int64 // system calls that its filter refused; nil: nobody counts them
}

// findSubjects finds what each word means; without words all sandboxes that run.
func findSubjects(verb string, words []string) (all []subject, err error) {
	if len(words) == 0 {
		return nil, fmt.Errorf("%s: name a process: cloche %s PID…", verb, verb)
	}
	for _, w := range words {
		s, err := findSubject(verb, w)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// findSubject finds what NAME|PID means. A word of digits alone is a pid.
func findSubject(verb, word string) (subject, error) {
	pid, err := strconv.Atoi(word)
	if err != nil {
		return subject{}, fmt.Errorf("%s: %q is no pid", verb, clip(word))
	}
	return subject{name: word, pid: pid}, nil
}
