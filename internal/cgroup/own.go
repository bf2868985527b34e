package cgroup

import (
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Own is the little of a Reading that a list of many sandboxes has. Unknown: not counted.
type Own struct {
	Memory int64
	CPU    time.Duration
	Frozen bool
}

// Own reads it from those cgroups that the text of a /proc/PID/cgroup names in which this
// process is not. A list reads hundreds: so it opens nothing that it does not need.
func (rd *Reader) Own(membership string) Own {
	o := Own{Memory: Unknown, CPU: Unknown}
	var others strings.Builder
	for line := range strings.Lines(membership) {
		if _, group, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ":"); ok && !rd.mine[group] {
			others.WriteString(line)
		}
	}
	l := layoutOf(slices.Clone(rd.mounts), others.String())
	for i := range l.Hierarchies {
		h := &l.Hierarchies[i]
		if h.Own != "" && (h.Version == 2 || h.holds.has(Memory) || h.holds.has(CPUAcct) || h.holds.has(Freezer)) {
			l.readOwn(h, &o)
		}
	}
	return o
}

func (l *Layout) readOwn(h *Hierarchy, o *Own) {
	fd, err := l.openDir(h, h.Own)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if h.Version == 2 {
		if n := readInt(fd, "memory.current"); n >= 0 {
			o.Memory = n
		}
		if s, err := readBelow(fd, "cpu.stat"); err == nil {
			if n := keyed(s, "usage_usec"); n >= 0 {
				o.CPU = time.Duration(n) * time.Microsecond
			}
		}
		s, err := readBelow(fd, "cgroup.events")
		o.Frozen = o.Frozen || err == nil && keyed(s, "frozen") == 1
		return
	}
	if h.holds.has(Memory) {
		o.Memory = readInt(fd, "memory.usage_in_bytes")
	}
	if h.holds.has(CPUAcct) {
		if n := readInt(fd, "cpuacct.usage"); n >= 0 {
			o.CPU = time.Duration(n)
		}
	}
	if h.holds.has(Freezer) {
		s, err := readBelow(fd, "freezer.state")
		o.Frozen = o.Frozen || err == nil && strings.TrimSpace(s) == "FROZEN"
	}
}
