package cli

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/cloche-sandbox/cloche/internal/inspect"
	"github.com/cloche-sandbox/cloche/internal/named"
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
	if err := holdAgainstPolicy(p, &s); err != nil {
		return fmt.Errorf("inspect: %w", err)
	}
	if asJSON {
		return writeJSON(os.Stdout, p)
	}
	return writeProcess(os.Stdout, p)
}

// holdAgainstPolicy checks a process of a sandbox of ours. One that was named by its pid is looked
// for among the sandboxes by its pid namespace.
func holdAgainstPolicy(p *inspect.Process, s *subject) error {
	if s.sandbox == nil {
		all, _, err := named.List()
		if err != nil {
			return nil // it can be none of this user's
		}
		for _, other := range all {
			if init, err := other.InitProcess(); err == nil && (init.Pid == p.PID || inspect.SamePIDNamespace(init.Pid, p.PID)) {
				s.sandbox = other
			}
		}
	}
	if s.sandbox == nil {
		return nil
	}
	want, err := s.sandbox.Policy()
	if err != nil {
		return err
	}
	p.Sandbox = &inspect.Sandbox{Name: s.sandbox.Name, Mismatch: p.Check(want)}
	if p.Landlock.ABI > 0 {
		p.Landlock.Why += "; the policy of " + s.sandbox.Name + " says " + string(want.Landlock)
	}
	return nil
}

// subject is what a word of a command line stands for: a sandbox, or a process.
type subject struct {
	name  string // as it was written
	pid   int    // the command of the sandbox, or the process
	start uint64 // when that has started, field 22 of proc_pid_stat(5); 0: not known

	sandbox *named.Sandbox // nil: it is a pid
	denied  *int64         // system calls that its filter refused; nil: nobody counts them
}

// findSubjects finds what each word means; without words all sandboxes that run.
func findSubjects(verb string, words []string) (all []subject, err error) {
	if len(words) == 0 {
		list, err := listNamed(verb)
		if err != nil {
			return nil, err
		}
		for _, s := range list {
			if command, err := s.Command(); err == nil {
				all = append(all, subject{name: s.Name, pid: command.Pid, start: command.Start, sandbox: s, denied: s.Denied})
			}
		}
		return all, nil
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
	if pid, err := strconv.Atoi(word); err == nil {
		return subject{name: word, pid: pid}, nil
	}
	s, err := named.Find(word)
	if err != nil {
		return subject{}, fmt.Errorf("%s: %w", verb, err)
	}
	command, err := s.Command()
	if err != nil {
		return subject{}, fmt.Errorf("%s: %w", verb, err)
	}
	return subject{name: word, pid: command.Pid, start: command.Start, sandbox: s, denied: s.Denied}, nil
}
