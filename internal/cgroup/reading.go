package cgroup

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Reading is what a cgroup of some process limits and has used, in one hierarchy. What the
// hierarchy does not have is nil.
type Reading struct {
	Version     int      `json:"version"`     // 1 or 2
	Controllers []string `json:"controllers"` // of a v1 hierarchy; on cgroup2 those that the group has
	Path        string   `json:"path"`        // as proc_pid_cgroup(5) tells it
	Dir         string   `json:"dir"`         // where that is here; "": it can't be reached
	Why         string   `json:"why,omitempty"`
	Shared      bool     `json:"shared_with_caller"`

	Memory *Amount `json:"memory_bytes,omitempty"`
	Swap   *Amount `json:"swap_bytes,omitempty"` // of v1: memory and swap together
	Pids   *Amount `json:"pids,omitempty"`
	CPU    *CPUUse `json:"cpu,omitempty"`
	Cpuset string  `json:"cpuset,omitempty"` // the processors that may be used
	IO     *IOUse  `json:"io,omitempty"`

	OOMKills int64           `json:"oom_kills"` // Unknown: the hierarchy does not count them
	Frozen   bool            `json:"frozen"`
	Pressure map[string]Wait `json:"pressure,omitempty"` // "cpu", "memory", "io"; cgroup2
}

// Amount is a use and its limit; Unknown: not known, no limit.
type Amount struct {
	Used      int64  `json:"used"`
	Peak      int64  `json:"peak"`
	Limit     int64  `json:"limit"`                // the tightest, of this group and those above it
	LimitedBy string `json:"limited_by,omitempty"` // the directory that has it
}

// CPUUse is the use of processors.
type CPUUse struct {
	Used          time.Duration `json:"used_ns"`
	Limit         float64       `json:"limit"` // processors; 0: none
	LimitedBy     string        `json:"limited_by,omitempty"`
	Weight        int64         `json:"weight"`            // cpu.weight, or cpu.shares on v1
	Periods       int64         `json:"periods"`           // of the quota
	Throttled     int64         `json:"throttled_periods"` // of them, those in which the group had to wait
	ThrottledTime time.Duration `json:"throttled_ns"`
}

// IOUse is what block devices have moved, in bytes.
type IOUse struct {
	Read    int64 `json:"read_bytes"`
	Written int64 `json:"written_bytes"`
}

// Wait is proc_pressure(5) of a group.
type Wait struct {
	Some   time.Duration `json:"some_ns"`    // in all, that some task waited
	Full   time.Duration `json:"full_ns"`    // that all did
	Some10 float64       `json:"some_avg10"` // percent of the last ten seconds
}

// Reader reads the cgroups of other processes. It knows the hierarchies as they were mounted
// when it was made.
type Reader struct {
	mounts []Hierarchy
	mine   map[string]bool // this process's own groups
}

// NewReader looks at what is mounted.
func NewReader() (*Reader, error) {
	mounts, err := readFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	own, _ := readFile("/proc/self/cgroup")
	r := &Reader{mounts: parseMounts(mounts), mine: map[string]bool{}}
	parseMembership(own, func(controllers, path string) { r.mine[controllers+":"+path] = true })
	return r, nil
}

// Read reads the cgroups that the text of a /proc/PID/cgroup names. With apart those that this
// process is in as well are named and not read.
func (rd *Reader) Read(membership string, apart bool) []Reading {
	l := layoutOf(slices.Clone(rd.mounts), membership)
	var all []Reading
	parseMembership(membership, func(controllers, path string) {
		r := Reading{Version: 2, Path: path, Shared: rd.mine[controllers+":"+path], OOMKills: Unknown}
		if controllers != "" {
			r.Version, r.Controllers = 1, strings.Split(controllers, ",")
		}
		var h *Hierarchy
		for i := range l.Hierarchies {
			if l.Hierarchies[i].matches(controllers) {
				h = &l.Hierarchies[i]
			}
		}
		switch {
		case h == nil:
			r.Why = "its hierarchy is not mounted here"
		case h.Own == "":
			r.Why = "it is not below what is mounted at " + h.Mount
		case apart && r.Shared:
		default:
			if err := l.read(h, &r); err != nil {
				r.Dir, r.Why = "", err.Error()
			}
		}
		all = append(all, r)
	})
	return all
}

// read fills a reading from the directory of a group, and limits from those above it.
func (l *Layout) read(h *Hierarchy, r *Reading) error {
	fd, err := l.openDir(h, h.Own)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	r.Dir = h.Own
	d := groupDir{place: place{h: h}, fd: fd, leafFD: fd}
	if h.Version == 2 {
		s, err := readBelow(fd, "cgroup.controllers")
		if err != nil {
			return err
		}
		r.Controllers = strings.Fields(s)
		d.use = parseNames(s)
	} else {
		d.use = h.holds
	}
	u := unknownUsage()
	if h.Version == 2 {
		usage2(&d, &u)
	} else {
		usage1(&d, &u)
	}
	r.OOMKills = u.OOMKills
	if d.use.has(Memory) {
		r.Memory = &Amount{Used: u.MemoryCurrent, Peak: u.MemoryPeak, Limit: Unknown}
		if h.Version == 2 {
			r.Swap = &Amount{Used: readInt(fd, "memory.swap.current"), Peak: u.SwapPeak, Limit: Unknown}
		} else if n := readInt(fd, "memory.memsw.usage_in_bytes"); n >= 0 {
			r.Swap = &Amount{Used: n, Peak: readInt(fd, "memory.memsw.max_usage_in_bytes"), Limit: Unknown}
		}
	}
	if d.use.has(Pids) {
		r.Pids = &Amount{Used: u.PidsCurrent, Peak: u.PidsPeak, Limit: Unknown}
	}
	if d.use.has(CPU) || d.use.has(CPUAcct) || u.CPUUser >= 0 {
		r.CPU = &CPUUse{Used: Unknown, Periods: u.Periods, Throttled: u.Throttled, ThrottledTime: u.ThrottledTime, Weight: Unknown}
		if u.CPUUser >= 0 {
			r.CPU.Used = u.CPUUser + u.CPUSystem
		}
	}
	if d.use.has(IO) {
		r.IO = ioUse(fd, h.Version)
	}
	r.pressure("cpu", fd, u.CPUPressure)
	r.pressure("memory", fd, u.MemoryPressure)
	r.pressure("io", fd, u.IOPressure)
	r.state(fd)
	for dir := h.Own; ; dir = path.Dir(dir) {
		if dir != h.Own {
			up, err := l.openDir(h, dir)
			if err != nil {
				break // above what this user may search
			}
			r.limits(up, dir, h.Version)
			unix.Close(up)
		} else {
			r.limits(fd, dir, h.Version)
		}
		if dir == h.Mount || !within(dir, h.Mount) {
			break
		}
	}
	return nil
}

// limits takes in those of one directory on the way up.
func (r *Reading) limits(fd int, dir string, version int) {
	amount := func(a *Amount, file string) {
		if a == nil {
			return
		}
		// v1 writes "none" as the largest number of pages.
		if n := readInt(fd, file); n >= 0 && n < 1<<62 && (a.Limit < 0 || n < a.Limit) {
			a.Limit, a.LimitedBy = n, dir
		}
	}
	amount(r.Pids, "pids.max")
	if version == 2 {
		amount(r.Memory, "memory.max")
		amount(r.Swap, "memory.swap.max")
	} else {
		amount(r.Memory, "memory.limit_in_bytes")
		amount(r.Swap, "memory.memsw.limit_in_bytes")
	}
	if r.CPU != nil {
		quota, period := int64(Unknown), int64(0)
		if version == 2 {
			s, _ := readBelow(fd, "cpu.max")
			if q, p, ok := strings.Cut(strings.TrimSpace(s), " "); ok {
				quota, period = number(q), number(p)
			}
		} else {
			quota, period = readInt(fd, "cpu.cfs_quota_us"), readInt(fd, "cpu.cfs_period_us")
		}
		if n := float64(quota) / float64(period); quota > 0 && period > 0 && (r.CPU.Limit == 0 || n < r.CPU.Limit) {
			r.CPU.Limit, r.CPU.LimitedBy = n, dir
		}
	}
	if dir != r.Dir {
		return
	}
	if r.CPU != nil {
		r.CPU.Weight = max(readInt(fd, "cpu.weight"), readInt(fd, "cpu.shares"))
	}
	for _, file := range [...]string{"cpuset.cpus.effective", "cpuset.effective_cpus"} {
		if s, err := readBelow(fd, file); err == nil {
			r.Cpuset = strings.TrimSpace(s)
			break
		}
	}
}

func (r *Reading) pressure(what string, fd int, p Pressure) {
	if p.Some < 0 {
		return
	}
	if r.Pressure == nil {
		r.Pressure = map[string]Wait{}
	}
	w := Wait{Some: p.Some, Full: p.Full}
	if s, err := readBelow(fd, what+".pressure"); err == nil {
		if _, rest, ok := strings.Cut(s, "avg10="); ok {
			avg, _, _ := strings.Cut(rest, " ")
			w.Some10, _ = strconv.ParseFloat(avg, 64)
		}
	}
	r.Pressure[what] = w
}

// state finds out whether the group stands still.
func (r *Reading) state(fd int) {
	if s, err := readBelow(fd, "cgroup.events"); err == nil {
		r.Frozen = keyed(s, "frozen") == 1
	} else if s, err := readBelow(fd, "freezer.state"); err == nil {
		r.Frozen = strings.TrimSpace(s) == "FROZEN"
	}
}

// ioUse adds up all devices.
func ioUse(fd, version int) *IOUse {
	if version == 2 {
		s, err := readBelow(fd, "io.stat")
		if err != nil {
			return nil
		}
		u := &IOUse{}
		for f := range strings.FieldsSeq(s) {
			if v, ok := strings.CutPrefix(f, "rbytes="); ok {
				u.Read += max(0, number(v))
			} else if v, ok := strings.CutPrefix(f, "wbytes="); ok {
				u.Written += max(0, number(v))
			}
		}
		return u
	}
	s, err := readBelow(fd, "blkio.throttle.io_service_bytes_recursive")
	if err != nil {
		if s, err = readBelow(fd, "blkio.throttle.io_service_bytes"); err != nil {
			return nil
		}
	}
	u := &IOUse{}
	for line := range strings.Lines(s) {
		f := strings.Fields(line)
		switch {
		case len(f) != 3:
		case f[1] == "Read":
			u.Read += max(0, number(f[2]))
		case f[1] == "Write":
			u.Written += max(0, number(f[2]))
		}
	}
	return u
}
