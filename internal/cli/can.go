package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/cloche-sandbox/cloche/internal/document"
	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/policy"
)

// answer is that to one question of `cloche can`.
type answer struct {
	Question string `json:"question"` // "read /etc/passwd"
	Yes      bool   `json:"allowed"`
	Why      string `json:"why"`
	Rule     string `json:"rule,omitempty"` // what decides: an entry of the policy with its line, or a flag
	Fix      string `json:"fix,omitempty"`  // a flag that would make it yes
}

// question is a word of `cloche can` and what it is asked about.
type question struct{ verb, about string }

// questionVerbs are the words that begin a question.
var questionVerbs = [...]string{"read", "write", "exec", "connect", "syscall", "signal"}

// parseQuestions reads "read A B write C": a verb, then what it is about, which
// may be called like a verb ("syscall read") where it comes first.
func parseQuestions(words []string) ([]question, error) {
	const usage = "; ask for example: cloche can read /etc/passwd write . connect example.org:443 syscall 'socket(AF_INET)' signal 1"
	var all []question
	verb, used := "", true
	for _, w := range words {
		if used && isVerb(w) {
			verb, used = w, false
			continue
		}
		switch {
		case verb == "" && document.Nearest(w, questionVerbs[:]) != "":
			return nil, fmt.Errorf("can: unknown question %q: did you mean %q?", clip(w), document.Nearest(w, questionVerbs[:]))
		case verb == "":
			return nil, fmt.Errorf("can: unknown question %q: it is one of %s%s", clip(w), strings.Join(questionVerbs[:], ", "), usage)
		case w == "":
			return nil, fmt.Errorf("can: %s \"\": an empty word means nothing", verb)
		}
		all, used = append(all, question{verb, w}), true
	}
	switch {
	case !used:
		return nil, fmt.Errorf("can: %s what?%s", verb, usage)
	case len(all) == 0:
		return nil, errors.New("can: no question" + usage)
	}
	return all, nil
}

func isVerb(w string) bool {
	for _, v := range questionVerbs {
		if v == w {
			return true
		}
	}
	return false
}

// oracle answers questions about one policy.
type oracle struct {
	p      *policy.Policy
	v      *view
	arch   string
	kernel [2]int
	cwd    string // of the caller: relative paths of questions start here
	abi    int    // of Landlock
	proc   func(pid string) (uid uint32, name string, err error)
}

func newOracle(p *policy.Policy, facts host.Facts, cwd string) *oracle {
	v := newView(p, realHost{}, callersCredentials(p), callersIDs(), facts.LandlockABI)
	v.terminal = ownTerminal(p, os.Stdin)
	return &oracle{p: p, v: v, arch: facts.GOARCH, kernel: facts.KernelVersion(), cwd: cwd, abi: facts.LandlockABI, proc: processOwner}
}

// can is `cloche can`.
func can(inv *invocation, out io.Writer) error {
	questions, err := parseQuestions(inv.args)
	if err != nil {
		return err
	}
	p, err := inv.expanded()
	if err != nil {
		return err
	}
	facts, err := host.Quick()
	if err != nil {
		return err
	}
	cwd, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("the working directory can't be found: %w; cd to one that exists", err)
	}
	o := newOracle(p, facts, cwd)
	if err := o.v.absent(); err != nil {
		return err
	}
	answers := make([]answer, 0, len(questions))
	all := true
	for _, q := range questions {
		a, err := o.answer(q)
		if err != nil {
			return fmt.Errorf("can %s %s: %w", q.verb, clip(q.about), err)
		}
		a.Question = q.verb + " " + q.about
		answers = append(answers, a)
		all = all && a.Yes
	}
	if inv.json {
		err = writeJSON(out, answers)
	} else {
		err = writeAnswers(out, answers)
	}
	if err == nil && !all {
		err = &exitError{code: exitNo}
	}
	return err
}

func (o *oracle) answer(q question) (answer, error) {
	switch q.verb {
	case "connect":
		return o.connect(q.about)
	case "syscall":
		return o.syscall(q.about)
	case "signal":
		return o.signal(q.about)
	}
	name := q.about
	if !path.IsAbs(name) {
		// Not path.Join: what ".." after a link means is for the walk to find out.
		name = o.cwd + "/" + name
	}
	switch q.verb {
	case "read":
		return o.read(name)
	case "write":
		return o.write(name)
	}
	return o.exec(name)
}

func writeAnswers(out io.Writer, answers []answer) error {
	var text []byte
	for _, a := range answers {
		word := "no   "
		if a.Yes {
			word = "yes  "
		}
		text = append(text, word...)
		text = appendPlain(text, a.Question)
		text = append(text, ": "...)
		text = appendPlain(text, a.Why)
		if a.Rule != "" {
			text = append(text, ": "...)
			text = appendPlain(text, a.Rule)
		}
		if a.Fix != "" {
			text = append(text, "; to allow it: "...)
			text = appendPlain(text, a.Fix)
		}
		text = append(text, '\n')
	}
	_, err := out.Write(text)
	return err
}

func writeJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
