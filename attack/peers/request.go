package main

import (
	"slices"
	"strings"

	"github.com/cloche-sandbox/cloche/attack"
)

// request is what an attack needs of whatever sandbox, read from Cloche's flags.
type request struct {
	mounts []mount
	limits map[string]string // by the flag's name
	root   string            // a tree that is to be the root
}

// mount is one of them, in their order.
type mount struct {
	kind     string // "bind", "hide", "tmpfs", "overlay"
	from, to string
	write    bool
	size     string // of a tmpfs
}

// requestOf reads the flags that mean something to others. Those that open one of Cloche's
// own layers for the tests (seccomp none, share pid) are nobody's, Cloche's column
// included.
func requestOf(a *attack.Attack, o *attack.Outside) request {
	r := request{limits: map[string]string{}}
	for _, l := range a.Limits {
		name, value, _ := strings.Cut(l, " ")
		if to, size, ok := strings.Cut(value, ":size="); name == "tmpfs" && ok {
			r.mounts = append(r.mounts, mount{kind: "tmpfs", to: to, size: size})
			continue
		}
		r.limits[name] = value
	}
	for _, d := range o.Given(slices.Concat(a.Given, doors(a))) {
		name, value, _ := strings.Cut(d, " ")
		switch name {
		case "root":
			r.root = value
		case "bind":
			from, to, _ := strings.Cut(value, ":")
			r.mounts = append(r.mounts, mount{kind: "bind", from: from, to: to})
		case "read", "write":
			r.mounts = append(r.mounts, mount{kind: "bind", from: value, to: value, write: name == "write"})
		case "hide", "tmpfs":
			r.mounts = append(r.mounts, mount{kind: name, to: value})
		case "overlay":
			to, from, _ := strings.Cut(value, ":lower=")
			r.mounts = append(r.mounts, mount{kind: "overlay", from: from, to: to})
		}
	}
	return r
}

// doors are those to the directory outside.
func doors(a *attack.Attack) (flags []string) {
	for _, d := range a.Door {
		if strings.Contains(d, "$DIR") && !strings.HasPrefix(d, "seccomp ") {
			flags = append(flags, d)
		}
	}
	return flags
}
