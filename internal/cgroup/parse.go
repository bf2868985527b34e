package cgroup

import (
	"strconv"
	"strings"
)

// Hierarchy is one mounted tree of cgroups.
type Hierarchy struct {
	Version  int    // 1 or 2
	Mount    string // directory that it is mounted at
	Own      string // directory of this process's own cgroup; "": not below what is mounted here
	Path     string // of the own cgroup, as /proc/self/cgroup tells it
	ReadOnly bool

	// On v1 what the hierarchy limits. On cgroup2 the list is in the directory:
	// it differs from cgroup to cgroup.
	Controllers []string

	holds   set
	root    string // of the mounted part, in the hierarchy
	id      string // mount id
	covered bool
}

// parseMounts finds the cgroup hierarchies in the text of /proc/self/mountinfo.
// A hierarchy can be mounted more than once; what another mount covers is left out.
func parseMounts(text string) []Hierarchy {
	var found []Hierarchy
	for line := range strings.Lines(text) {
		// 36 35 98:0 /root /point rw,noatime master:1 - type source options
		before, after, ok := strings.Cut(line, " - ")
		if !ok || !strings.HasPrefix(after, "cgroup") {
			continue
		}
		kind, rest := cutField(after)
		if kind != "cgroup" && kind != "cgroup2" {
			continue
		}
		id, tail := cutField(before)
		_, tail = cutField(tail)
		_, tail = cutField(tail)
		root, tail := cutField(tail)
		point, tail := cutField(tail)
		options, _ := cutField(tail)
		h := Hierarchy{Version: 2, Mount: unescape(point), root: unescape(root), id: id, ReadOnly: hasOption(options, "ro")}
		if !strings.HasPrefix(h.Mount, "/") {
			continue // no line of the kernel's
		}
		_, super := cutField(rest)
		super = strings.TrimSuffix(super, "\n")
		h.ReadOnly = h.ReadOnly || hasOption(super, "ro")
		if kind == "cgroup" {
			h.Version = 1
			for o := range strings.SplitSeq(super, ",") {
				if c, ok := byName(o); ok {
					h.holds |= 1 << c
				}
				if !isMountOption(o) {
					h.Controllers = append(h.Controllers, o)
				}
			}
		}
		found = append(found, h)
	}
	// A second pass: a mount may be listed before the one that it is mounted on.
	for line := range strings.Lines(text) {
		_, tail := cutField(line)
		parent, tail := cutField(tail)
		_, tail = cutField(tail)
		_, tail = cutField(tail)
		point, _ := cutField(tail)
		point = unescape(point)
		for i := range found {
			if found[i].id == parent && found[i].Mount == point {
				found[i].covered = true
			}
		}
	}
	return found
}

// isMountOption reports whether a word of a v1 mount's options is no controller.
func isMountOption(o string) bool {
	switch o {
	case "rw", "ro", "xattr", "noprefix", "clone_children", "cpuset_v2_mode", "favordynmods", "seclabel", "all", "none":
		return true
	}
	return strings.HasPrefix(o, "release_agent=")
}

// byName is the controller of a name that v1 or cgroup2 uses.
func byName(name string) (Controller, bool) {
	switch name {
	case "memory":
		return Memory, true
	case "cpu":
		return CPU, true
	case "cpuacct":
		return CPUAcct, true
	case "cpuset":
		return Cpuset, true
	case "pids":
		return Pids, true
	case "io", "blkio":
		return IO, true
	case "freezer":
		return Freezer, true
	}
	return 0, false
}

// parseNames is the set of a list such as that in cgroup.controllers.
func parseNames(list string) set {
	var s set
	for name := range strings.FieldsSeq(list) {
		if c, ok := byName(name); ok {
			s |= 1 << c
		}
	}
	return s
}

// parseMembership calls each for every line of the text of /proc/self/cgroup;
// the list of controllers is empty on cgroup2.
func parseMembership(text string, each func(controllers, path string)) {
	for line := range strings.Lines(text) {
		id, rest, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		controllers, path, ok2 := strings.Cut(rest, ":")
		if !ok || !ok2 || (controllers == "" && id != "0") {
			continue
		}
		each(controllers, path)
	}
}

// below is the directory of a cgroup, when it lies in what is mounted.
func (h *Hierarchy) below(path string) (string, bool) {
	// Outside of a cgroup namespace's root paths begin with "/..": the names on
	// the way are not known.
	if strings.HasPrefix(path, "/..") || strings.HasPrefix(h.root, "/..") {
		return h.Mount, h.root == path
	}
	if !strings.HasPrefix(path, "/") {
		return "", false // no path of the kernel's
	}
	rel, ok := path, true
	if h.root != "/" {
		if rel, ok = strings.CutPrefix(path, h.root); !ok || rel != "" && rel[0] != '/' {
			return "", false
		}
	}
	rel = strings.TrimSuffix(rel, "/")
	if h.Mount == "/" && rel != "" {
		return rel, true
	}
	return h.Mount + rel, true
}

func cutField(s string) (field, rest string) {
	field, rest, _ = strings.Cut(s, " ")
	return field, rest
}

func hasOption(list, option string) bool {
	for o := range strings.SplitSeq(list, ",") {
		if o == option {
			return true
		}
	}
	return false
}

// unescape undoes the \040 of proc_pid_mountinfo(5).
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
