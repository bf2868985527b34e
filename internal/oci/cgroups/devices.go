package cgroups

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// access is a set of r, w and m, with the kernel's bits (BPF_DEVCG_ACC_*).
type access uint8

const (
	mknod access = 1 << iota
	read
	write
	anyAccess = mknod | read | write
)

func (a access) String() string {
	s := ""
	for _, c := range [...]struct {
		bit  access
		name string
	}{{read, "r"}, {write, "w"}, {mknod, "m"}} {
		if a&c.bit != 0 {
			s += c.name
		}
	}
	return s
}

// anyNumber is a major or minor number that stands for all.
const anyNumber = -1

// rule lets the processes of a group use some devices, or does not.
type rule struct {
	allow        bool
	kind         byte // 'b', 'c', or 'a' for both
	major, minor int64
	access       access
}

// defaultRules are those that every OCI runtime adds behind a container's own:
// making a node is allowed, what can't be opened does no harm; and the devices
// that the specification says every container has. 10:200, /dev/net/tun, is not
// among those, but was in the first runtimes, and engines with a VPN rely on it.
var defaultRules = []rule{
	{true, 'c', anyNumber, anyNumber, mknod},
	{true, 'b', anyNumber, anyNumber, mknod},
	{true, 'c', 1, 3, anyAccess}, // null
	{true, 'c', 1, 8, anyAccess}, // random
	{true, 'c', 1, 7, anyAccess}, // full
	{true, 'c', 5, 0, anyAccess}, // tty
	{true, 'c', 1, 5, anyAccess}, // zero
	{true, 'c', 1, 9, anyAccess}, // urandom
	{true, 'c', 136, anyNumber, anyAccess},
	{true, 'c', 5, 2, anyAccess}, // ptmx
	{true, 'c', 10, 200, anyAccess},
}

// deviceRules are a container's rules with the defaults. A later one wins over
// an earlier one. What no rule is about is denied.
func deviceRules(list []specs.LinuxDeviceCgroup) ([]rule, error) {
	var rules []rule
	for i := range list {
		r, err := deviceRule(&list[i])
		if err != nil {
			return nil, refused("devices["+strconv.Itoa(i)+"]", err.Error())
		}
		rules = append(rules, r)
	}
	return append(rules, defaultRules...), nil
}

func deviceRule(d *specs.LinuxDeviceCgroup) (rule, error) {
	r := rule{allow: d.Allow, kind: 'a', major: anyNumber, minor: anyNumber}
	switch d.Type {
	case "", "a":
	case "b", "c":
		r.kind = d.Type[0]
	default:
		return r, fmt.Errorf("type %q is not \"a\", \"b\" or \"c\"", d.Type)
	}
	for _, n := range [...]struct {
		name string
		from *int64
		to   *int64
	}{{"major", d.Major, &r.major}, {"minor", d.Minor, &r.minor}} {
		if n.from == nil {
			continue
		}
		if *n.from < anyNumber || *n.from > 1<<32-1 {
			return r, fmt.Errorf("%s %d is no device number", n.name, *n.from)
		}
		*n.to = *n.from
	}
	for _, c := range d.Access {
		switch c {
		case 'r':
			r.access |= read
		case 'w':
			r.access |= write
		case 'm':
			r.access |= mknod
		default:
			return r, fmt.Errorf("access %q is not made of r, w and m", d.Access)
		}
	}
	if r.access == 0 {
		return r, fmt.Errorf("access is empty: say which of r, w and m")
	}
	return r, nil
}

// all reports whether a rule is about every device and every access.
func (r *rule) all() bool {
	return r.kind == 'a' && r.major == anyNumber && r.minor == anyNumber && r.access == anyAccess
}

// exceptions is what v1 knows: one default, and what is excepted from it.
type exceptions struct {
	allow bool
	list  []rule // all of them are !allow
}

// reduce brings rules of which the last one wins into the form of v1. It fails
// where that has no such form: a device denied out of a range that is allowed, or
// the other way around. cgroup2 has no such limit.
func reduce(rules []rule) (exceptions, error) {
	var e exceptions
	for _, r := range rules {
		if r.all() {
			e = exceptions{allow: r.allow}
			continue
		}
		for _, kind := range [...]byte{'b', 'c'} {
			if r.kind != kind && r.kind != 'a' {
				continue
			}
			one := r
			one.kind = kind
			if err := e.add(one); err != nil {
				return e, err
			}
		}
	}
	return e, nil
}

func (e *exceptions) add(r rule) error {
	if r.allow != e.allow {
		for i := range e.list {
			if o := &e.list[i]; o.sameDevices(&r) {
				o.access |= r.access
				return nil
			}
		}
		e.list = append(e.list, r)
		return nil
	}
	for i := range e.list {
		o := &e.list[i]
		switch {
		case o.access&r.access == 0 || !o.overlaps(&r):
		case r.covers(o):
			o.access &^= r.access
		default:
			return fmt.Errorf("linux.resources.devices: %v after %v: cgroup v1 can make no exception from an exception; name the devices one by one, or boot with cgroup v2", r, *o)
		}
	}
	e.list = slices.DeleteFunc(e.list, func(o rule) bool { return o.access == 0 })
	return nil
}

func (r *rule) sameDevices(o *rule) bool {
	return r.kind == o.kind && r.major == o.major && r.minor == o.minor
}

func (r *rule) overlaps(o *rule) bool {
	meet := func(a, b int64) bool { return a == b || a == anyNumber || b == anyNumber }
	return r.kind == o.kind && meet(r.major, o.major) && meet(r.minor, o.minor)
}

// covers reports whether r is about all devices that o is about.
func (r *rule) covers(o *rule) bool {
	in := func(a, b int64) bool { return a == anyNumber || a == b }
	return r.kind == o.kind && in(r.major, o.major) && in(r.minor, o.minor)
}

func (r rule) String() string {
	if r.allow {
		return "allow " + r.line()
	}
	return "deny " + r.line()
}

// line is the rule as v1's files take it: "c 1:3 rwm".
func (r *rule) line() string {
	var b strings.Builder
	b.WriteByte(r.kind)
	for i, n := range [...]int64{r.major, r.minor} {
		b.WriteByte(" :"[i])
		if n == anyNumber {
			b.WriteByte('*')
		} else {
			b.WriteString(strconv.FormatInt(n, 10))
		}
	}
	return b.String() + " " + r.access.String()
}
