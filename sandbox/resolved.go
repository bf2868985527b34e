package sandbox

import (
	"reflect"
	"sync"

	"github.com/cloche-sandbox/cloche/policy"
)

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
