package supervise

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// Denied is a kind of call that the policy's filter denied or logged.
type Denied struct {
	Call    string // with the arguments that a rule looks at, by their constants where they have some
	Action  string // what the filter answers
	Group   string // of the rule that decided; "": none did
	Reason  string
	Count   int
	PID     int    // of the first that made it, outside
	Program string // its name, proc_pid_comm(5)
}

// maxDenied is how many kinds are kept: a hostile program could invent more.
const maxDenied = 256

// kind is what tells two calls apart: their number and what a rule looks at.
type kind struct {
	nr     int32
	action seccomp.Action
	args   [6]uint64
}

// Audit is a filter whose denials are seen. Its Notify takes the filter's place: each denial
// is a notification, answered with what the filter would have said.
type Audit struct {
	profile seccomp.Profile
	archs   []seccomp.Arch
	looked  map[string][6]uint64 // by call: the bits of arguments that rules look at

	mu     sync.Mutex
	index  map[kind]int
	list   []Denied
	more   int          // calls of kinds that were not kept
	killed map[int]bool // by pid inside
}

// newAudit is nil where the policy has no filter.
func newAudit(p *policy.Policy, facts *host.Facts) (*Audit, error) {
	profile, archs, _, err := profileOf(p, facts)
	if err != nil {
		return nil, err
	}
	if !p.Filtered() {
		return nil, &plan.Error{Setting: "--audit", Why: "the policy has no filter of which denials could be reported", Fix: "use --seccomp default, build or strict"}
	}
	a := &Audit{profile: profile, archs: archs, looked: map[string][6]uint64{}, index: map[kind]int{}, killed: map[int]bool{}}
	a.look(profile)
	if known, ok := seccomp.Builtin("default"); ok {
		a.look(known) // what it tells apart is of use also where no rule of the profile does
	}
	return a, nil
}

// look takes in which arguments a profile's rules look at.
func (a *Audit) look(profile seccomp.Profile) {
	for _, g := range profile.Groups {
		for _, r := range g.Rules {
			for _, name := range r.Syscalls {
				l := a.looked[name]
				for _, c := range r.Args {
					if l[c.Index] |= 1<<32 - 1; !c.Low32 {
						l[c.Index] = ^uint64(0)
					}
				}
				a.looked[name] = l
			}
		}
	}
}

// handle records a call and answers it with what the filter says. The registers
// alone decide, so that a call which the filter only logs may continue.
func (a *Audit) handle(l *seccomp.Listener, n *seccomp.Notification) {
	d := seccomp.DecideAmong(a.profile, a.archs, n.Data)
	t := readTarget(n.PID)
	if !l.Valid(n.ID) {
		return // killed meanwhile, and the pid perhaps somebody else's
	}
	a.record(n, d, t.program)
	answer := seccomp.Response{Errno: unix.EPERM}
	switch {
	case d.Action == seccomp.Allow || d.Action == seccomp.Log:
		answer = seccomp.Response{Continue: true}
	case d.Action == seccomp.KillProcess || d.Action == seccomp.KillThread:
		a.kill(l, n.ID, t)
	case d.Action == seccomp.Trap:
		// Pending when the call returns: the thread sleeps through it until then
		// (WAIT_KILLABLE_RECV).
		_ = unix.Tgkill(t.tgid, n.PID, unix.SIGSYS)
		answer.Errno = unix.ENOSYS
	case d.Action&0xffff0000 == unix.SECCOMP_RET_ERRNO:
		answer.Errno = unix.Errno(d.Action & 0xffff)
		if answer.Errno == 0 { // the call is skipped, and returns 0
			answer = seccomp.Response{}
		}
	default: // notify and trace, which nobody answers here
		answer.Errno = unix.ENOSYS
	}
	_ = l.Respond(n.ID, answer) // ErrGone: it was killed
}

// kill ends the process. The notification is looked at again once its descriptor is
// there: as long as it waits, the pid is the process's.
func (a *Audit) kill(l *seccomp.Listener, id uint64, t target) {
	fd, err := unix.PidfdOpen(t.tgid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if !l.Valid(id) {
		return
	}
	a.mu.Lock()
	a.killed[t.inside] = true
	a.mu.Unlock()
	_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
}

func (a *Audit) record(n *seccomp.Notification, d seccomp.Decision, program string) {
	name := "call " + strconv.Itoa(int(n.Data.NR))
	for _, arch := range a.archs {
		if s, ok := arch.Name(n.Data.NR); ok && arch.Audit == n.Data.Arch {
			name = s
		}
	}
	k := kind{nr: n.Data.NR, action: d.Action}
	for i, bits := range a.looked[name] {
		k.args[i] = n.Data.Args[i] & bits
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if i, seen := a.index[k]; seen {
		a.list[i].Count++
		return
	}
	if len(a.list) == maxDenied {
		a.more++
		return
	}
	a.index[k] = len(a.list)
	a.list = append(a.list, Denied{
		Call: a.text(name, k), Action: d.Action.String(), Group: d.Group, Reason: d.Reason,
		Count: 1, PID: n.PID, Program: program,
	})
}

// text is a call with its arguments up to the last one that a rule looks at.
func (a *Audit) text(name string, k kind) string {
	var args []string
	for i, bits := range a.looked[name] {
		if bits == 0 {
			continue
		}
		for len(args) < i {
			args = append(args, "0x0")
		}
		word := seccomp.ConstantName(name, i, k.args[i])
		if word == "" {
			word = fmt.Sprintf("%#x", k.args[i])
		}
		args = append(args, word)
	}
	return name + "(" + strings.Join(args, ", ") + ")"
}

// report is what was denied; more counts the calls of kinds beyond the limit.
func (a *Audit) report() (list []Denied, more int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.list), a.more
}

// count is how many calls were denied so far.
func (a *Audit) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.more
	for i := range a.list {
		n += a.list[i].Count
	}
	return n
}

// Denials is how many calls the filter has denied or logged so far; -1: nobody counts them.
func (p *Process) Denials() int {
	if p.audit == nil {
		return -1
	}
	return p.audit.count()
}

// killedInside reports whether the process with this pid inside was killed for a call.
func (a *Audit) killedInside(pid int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.killed[pid]
}

// target is the process of a thread, proc_pid_status(5).
type target struct {
	tgid, inside int
	program      string
}

func readTarget(tid int) (t target) {
	text, _ := os.ReadFile(procDir(tid) + "/status") // gone: nothing is known of it
	for line := range bytes.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(string(line)), ":")
		words := strings.Fields(value)
		switch {
		case key == "Name":
			t.program = strings.TrimSpace(value)
		case len(words) == 0:
		case key == "Tgid":
			t.tgid, _ = strconv.Atoi(words[0])
		case key == "NStgid":
			t.inside, _ = strconv.Atoi(words[len(words)-1])
		}
	}
	return t
}
