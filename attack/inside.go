package attack

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/seccomp"
)

// Arg is the first argument of a program that plays a part in an attack instead of
// being itself. Main does the rest.
const Arg = "attack-part"

// The parts.
const (
	attackerRole   = "attacker"
	victimRole     = "victim"
	i386Role       = "i386"
	naiveRole      = "naive"
	refusedRole    = "refused-call"
	threadsRole    = "threads"
	gainedRole     = "gained"
	leftRole       = "left"
	childRole      = "child"
	vsyscallRole   = "vsyscall"
	timeRole       = "time"
	tracerRole     = "tracer"
	supervisorRole = "supervisor"
	racerRole      = "racer"
)

// Main is the program when its first argument is Arg: args are those behind it.
func Main(args []string) int {
	if len(args) == 0 {
		return 2
	}
	switch args[0] {
	case holderRole:
		return hold()
	case victimRole:
		return victim(args[1:])
	case refusedRole:
		return refusedCallStatus()
	case threadsRole:
		return manyThreads()
	case naiveRole:
		return setUpNaively(args[1:])
	case gainedRole:
		return gained()
	case leftRole:
		return leftBehind(args[1:])
	case childRole:
		if len(args) == 2 {
			return child(args[1])
		}
	case vsyscallRole:
		vsyscallTime()
		return 0
	case tracerRole:
		return traceOwnChild()
	case racerRole:
		return race(args[1:])
	case supervisorRole:
		return superviseApart(args[1:])
	case timeRole:
		return directTime()
	case i386Role:
		return i386()
	case attackerRole:
		if len(args) == 3 {
			return attacker(args[1], args[2])
		}
	}
	return 2
}

// attacker carries the inside of an attack out and writes a report to stdout.
func attacker(name, told string) int {
	a, ok := ByName(name)
	if !ok {
		return 2
	}
	in := &Inside{}
	if err := json.Unmarshal([]byte(told), &in.told); err != nil {
		return 2
	}
	err := a.Inside(in)
	return say(err, in.loot)
}

// child is the same for the part of an attack that is carried out by a child.
func child(name string) int {
	a, ok := ByName(name)
	if !ok || a.Child == nil {
		return 2
	}
	return say(a.Child(), "")
}

// say writes the report.
func say(err error, loot string) int {
	r := report{Loot: loot, Through: err == nil}
	if err != nil {
		var f *Failure
		if !errors.As(err, &f) {
			f = Failed(err)
		}
		r.Failure = f
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		return 2
	}
	return 0
}

// report is what comes out of the sandbox.
type report struct {
	Through bool     `json:"through"`
	Loot    string   `json:"loot,omitempty"`
	Failure *Failure `json:"failure,omitempty"`
}

// Inside is the attacker's side.
type Inside struct {
	told map[string]string
	loot string
}

// Arg is what the outside told by that name.
func (in *Inside) Arg(name string) string { return in.told[name] }

// Int is Arg as a number.
func (in *Inside) Int(name string) int {
	n, _ := strconv.ParseInt(in.told[name], 0, 64)
	return int(n)
}

// Take takes something to be compared with the secret.
func (in *Inside) Take(what []byte) { in.loot += string(what) }

// Failure is why an attack did not work.
type Failure struct {
	Sign string        `json:"sign"`           // the errno's name, or Hidden
	Text string        `json:"text"`           // in words
	Call *seccomp.Data `json:"call,omitempty"` // the call that decided it, where a filter may have
}

func (f *Failure) Error() string { return f.Text }

// Failed is an attack that err ended.
func Failed(err error) *Failure {
	f := &Failure{Sign: "error", Text: err.Error()}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		f.Sign = unix.ErrnoName(errno)
	}
	return f
}

// Refused is an attack that a system call ended with errno. It is named and has
// its arguments, so that it can be said whether the filter decided it.
func Refused(errno syscall.Errno, nr uintptr, args ...uintptr) *Failure {
	d := &seccomp.Data{NR: int32(nr)}
	for i, a := range args {
		d.Args[i] = uint64(a)
	}
	return &Failure{Sign: unix.ErrnoName(errno), Text: fmt.Sprintf("call %d: %s", nr, errno.Error()), Call: d}
}

// NotFound is an attack that looked for something and did not find it.
func NotFound(what string) *Failure { return &Failure{Sign: Hidden, Text: what + " is not there"} }

// Call makes a system call, and is a *Failure if it fails.
func Call(nr uintptr, args ...uintptr) (uintptr, error) {
	var a [6]uintptr
	copy(a[:], args)
	r, _, errno := unix.Syscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
	if errno != 0 {
		return r, Refused(errno, nr, args...)
	}
	return r, nil
}

// Reached is err, unless its sign is one of those by which the kernel's own code
// answers: then the call got through, and was only asked for nothing.
func Reached(err error, signs ...string) error {
	if f, ok := err.(*Failure); ok && slices.Contains(signs, f.Sign) {
		return nil
	}
	return err
}

// TakeFile takes what a file holds.
func (in *Inside) TakeFile(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return Failed(err)
	}
	if len(data) == 0 {
		return NotFound("what " + path + " held")
	}
	in.Take(data)
	return nil
}

// pathOf is a path for Call.
func pathOf(path string) uintptr { return addressOf(&append([]byte(path), 0)[0]) }

// addressOf is the address of a byte for Call.
func addressOf(b *byte) uintptr { return uintptr(unsafe.Pointer(b)) }
