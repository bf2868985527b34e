// Package attack tries the known ways out of a sandbox. `cloche attack` runs them
// inside the sandbox that its flags describe, against targets that it makes
// outside. One file holds what goes through one mechanism.
//
// An attack names the layers that are meant to stop it, and how each shows that
// it did. The tests prove both halves of that claim: with all of them out of the
// way the attack works, and any one of them alone stops it as it says. An attack
// that would fail in any case proves nothing.
package attack

import "strings"

// Attack is one known way out.
type Attack struct {
	Name      string // what it does, in words joined by hyphens
	Group     string // what it goes through: a key of Groups
	Reference string // the man page, CVE or advisory that describes it
	Tries     string // one line for people

	// Stops are the layers meant to stop it, each by itself.
	Stops []Stop

	// Outside makes what is attacked, and tells Inside about it by o.Tell. It
	// may be nil.
	Outside func(o *Outside) error
	// Inside is carried out in the sandbox. It returns nil when it got through,
	// else what stopped it, as Failed or Refused make it.
	Inside func(in *Inside) error
	// Child is the part of it that Inside has a child carry out, if any.
	Child func() error
	// Escaped looks from outside whether it worked, when Inside returned nil. Nil:
	// Inside is believed. An attack whose prey is a secret needs none: what
	// Inside took by in.Take must be the secret.
	Escaped func(o *Outside) bool

	// Given are flags that every sandbox gets for the attack, as Door's: what the
	// caller asks for, and set-up meets a trap in. A sandbox that is refused with
	// them has stopped it. "root DIR", as the first, makes a tree the root.
	Given []string
	// Apart: the sandbox is started by a process of its own, for Outside to kill.
	Apart bool
	// Races: set-up may meet the trap or not, so that a sandbox which is refused and one
	// that is made are the same sign, Unharmed.
	Races bool
	// Door is what a policy needs so that the attack has something to try, as flags
	// of `cloche run` without hyphens, where $DIR is the directory outside. The
	// tests open it in both halves. `cloche attack` does not: where the policy
	// has no such door, that is what stops the attack.
	Door []string
	// Limits are flags that make the policy's own limits small enough for the
	// attempt to reach one without harm to the machine. Where a policy does not
	// set one of them there is nothing to try.
	Limits []string
	// Granted is the group of a filter by which a policy lets it be done on purpose.
	Granted string
	// Needs names what this kernel or user must have, or returns "".
	Needs func() string
	// Unshown is why the first half can't be shown: the kernel itself stops it
	// today, say. Such an attack is counted apart.
	Unshown string
}

// Meant are the layers that are meant to stop it, each by itself, in words.
func (a *Attack) Meant() string {
	var names []string
	for _, s := range a.Stops {
		names = append(names, s.Layer.Name)
	}
	return strings.Join(names, ", ")
}

// Stop is a layer and the sign by which an attack shows that it was this one: the
// name of an errno, of a signal that ended the attacker, or Unharmed.
type Stop struct {
	Layer *Layer
	Sign  string
}

// Signs that are no errno.
const (
	Unharmed = "unharmed" // it all seemed to work, and what is outside did not notice
	Hidden   = "hidden"   // what it looks for is not there to be found
)

// Layer is one of the things that a sandbox is made of. One with neither Off nor
// Step is always there: an attack that it stops is shown to work on the bare host.
type Layer struct {
	Name string
	// Off takes it out of a policy: flags of `cloche run` without hyphens.
	Off []string
	// Root: only root can do without it.
	Root bool
	// Step is the step of a plan that is this layer, for those that no policy can
	// switch off. Only tests leave it out, from the plan.
	Step string
	// Call is the one system call of Step that is this layer; empty: all of them.
	Call string
	// First is the call's first argument, where Step has several of that Call; 0: any.
	First uint64
	// Refused: a policy without it is refused. Only tests make a plan of one.
	Refused bool
	// Missing is why this layer stops nothing for this user; nil: it always can.
	Missing func() string
}

// planned reports whether doing without the layer takes a plan that no policy makes.
func (l *Layer) planned() bool { return l.Step != "" || l.Refused }
