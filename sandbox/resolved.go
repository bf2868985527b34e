package sandbox

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync"

	"github.com/cloche-sandbox/cloche/internal/named"
	"github.com/cloche-sandbox/cloche/internal/program"
	"github.com/cloche-sandbox/cloche/policy"
)

// resolve makes a policy's paths absolute and checks it. Where it shows the
// command, args are its arguments, and are returned as they are inside.
func resolve(p *policy.Policy, args, env []string, dir string) (*policy.Policy, []string, error) {
	if dir == "" {
		var err error
		if dir, err = os.Getwd(); err != nil {
			return nil, nil, fmt.Errorf("sandbox: the working directory can't be found: %w; cd to one that exists", err)
		}
	}
	home := ""
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "HOME="); ok {
			home = v
		}
	}
	if p.ShowCommand {
		p = p.Clone()
		args = program.Show(p, args, p.Environ(env), home, dir)
		p, err := expand(p, home, dir)
		return p, args, err
	}
	k := resolved{written: p, home: home, dir: dir}
	if q := k.recall(); q != nil {
		return q, args, nil
	}
	q, err := expand(p.Clone(), home, dir)
	if err != nil {
		return nil, nil, err
	}
	k.keep(q)
	return q, args, nil
}

func expand(p *policy.Policy, home, dir string) (*policy.Policy, error) {
	if err := policy.Expand(p, home, dir); err != nil {
		return nil, err
	}
	if err := policy.Validate(p); err != nil {
		return nil, err
	}
	return p, nil
}

// hideRecords has a command not see the records of its caller, whose environment is env.
func hideRecords(p *policy.Policy, env []string) (*policy.Policy, error) {
	dir, err := named.DirIn(env)
	if err != nil {
		return p, nil // then no command looks for them
	}
	q, err := named.Hide(p, dir, true)
	if err != nil || q == p {
		return q, err
	}
	return q, policy.Validate(q)
}

// resolved is a policy as it was written and as it came out: that depends on nothing but
// the home and the working directory. A program that starts one
// sandbox after another does so with the same policy again and again.
type resolved struct {
	written   *policy.Policy
	home, dir string
	p         *policy.Policy // nobody changes it
}

var lastResolved struct {
	sync.Mutex
	list [4]resolved
	next int
}

// recall finds what came of the policy before; nil: it was not asked for lately.
func (k *resolved) recall() *policy.Policy {
	lastResolved.Lock()
	defer lastResolved.Unlock()
	for i := range lastResolved.list {
		r := &lastResolved.list[i]
		if r.p != nil && r.home == k.home && r.dir == k.dir && reflect.DeepEqual(r.written, k.written) {
			return r.p
		}
	}
	return nil
}

// keep remembers p. The policy as written is the caller's, who may change it later.
func (k *resolved) keep(p *policy.Policy) {
	k.written, k.p = k.written.Clone(), p
	lastResolved.Lock()
	defer lastResolved.Unlock()
	lastResolved.list[lastResolved.next] = *k
	lastResolved.next = (lastResolved.next + 1) % len(lastResolved.list)
}
