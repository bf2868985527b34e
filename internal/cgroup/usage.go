package cgroup

import (
	"errors"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// unknownUsage is a Usage of which nothing is known.
func unknownUsage() Usage {
	none := Pressure{Unknown, Unknown}
	return Usage{
		MemoryCurrent: Unknown, MemoryPeak: Unknown, SwapPeak: Unknown, MemoryLimited: Unknown, OOMKills: Unknown,
		CPUUser: Unknown, CPUSystem: Unknown, Periods: Unknown, Throttled: Unknown, ThrottledTime: Unknown,
		PidsCurrent: Unknown, PidsPeak: Unknown, PidsRefused: Unknown,
		CPUPressure: none, MemoryPressure: none, IOPressure: none,
	}
}

var errRemoved = errors.New("the cgroup is removed, or was never made")

// Usage reads what the group has used so far. Only what the group was made for
// is known: without a limit of memory or pids, memory and processes are Unknown
// (on cgroup2 a group that has any limit also counts CPU time).
func (g *Group) Usage() (Usage, error) {
	u := unknownUsage()
	known := false
	for i := range g.dirs {
		d := &g.dirs[i]
		if d.fd < 0 {
			continue
		}
		known = true
		if d.h.Version == 2 {
			usage2(d, &u)
		} else {
			usage1(d, &u)
		}
	}
	if !known {
		return u, errRemoved
	}
	return u, nil
}

// usage2 reads a directory of cgroup2. A file that is not there leaves its
// value unknown: controllers and kernels differ.
func usage2(d *groupDir, u *Usage) {
	micro := func(n int64) time.Duration {
		if n < 0 {
			return Unknown
		}
		return time.Duration(n) * time.Microsecond
	}
	if s, err := readBelow(d.fd, "cpu.stat"); err == nil {
		u.CPUUser, u.CPUSystem = micro(keyed(s, "user_usec")), micro(keyed(s, "system_usec"))
		u.Periods, u.Throttled = keyed(s, "nr_periods"), keyed(s, "nr_throttled")
		u.ThrottledTime = micro(keyed(s, "throttled_usec"))
	}
	if d.use.has(Memory) {
		u.MemoryCurrent = readInt(d.fd, "memory.current")
		u.MemoryPeak = readInt(d.fd, "memory.peak")
		u.SwapPeak = readInt(d.fd, "memory.swap.peak")
		if s, err := readBelow(d.fd, "memory.events"); err == nil {
			u.MemoryLimited, u.OOMKills = keyed(s, "max"), keyed(s, "oom_kill")
		}
	}
	if d.use.has(Pids) {
		usagePids(d, u)
	}
	u.CPUPressure = pressure(d.fd, "cpu.pressure")
	u.MemoryPressure = pressure(d.fd, "memory.pressure")
	u.IOPressure = pressure(d.fd, "io.pressure")
}

// usagePids reads what is the same on both versions.
func usagePids(d *groupDir, u *Usage) {
	u.PidsCurrent = readInt(d.fd, "pids.current")
	u.PidsPeak = readInt(d.fd, "pids.peak")
	// Before Linux 6.11 a refusal was counted where the process was, which is
	// not where the limit is when the group is anchored.
	for i, fd := range [...]int{d.fd, d.leafFD} {
		if i > 0 && fd == d.fd {
			break
		}
		if s, err := readBelow(fd, "pids.events"); err == nil {
			u.PidsRefused = max(u.PidsRefused, keyed(s, "max"))
		}
	}
}

// usage1 reads a directory of v1.
func usage1(d *groupDir, u *Usage) {
	if d.use.has(Memory) {
		u.MemoryCurrent = readInt(d.fd, "memory.usage_in_bytes")
		u.MemoryPeak = readInt(d.fd, "memory.max_usage_in_bytes")
		// Some kernels (6.18 is one) never count here: 0 says nothing.
		for _, file := range [...]string{"memory.failcnt", "memory.memsw.failcnt"} {
			if n := readInt(d.fd, file); n > 0 {
				u.MemoryLimited = max(u.MemoryLimited, 0) + n
			}
		}
		if s, err := readBelow(d.fd, "memory.oom_control"); err == nil {
			u.OOMKills = keyed(s, "oom_kill")
		}
	}
	if d.use.has(Pids) {
		usagePids(d, u)
	}
	if d.use.has(CPU) {
		if s, err := readBelow(d.fd, "cpu.stat"); err == nil {
			u.Periods, u.Throttled = keyed(s, "nr_periods"), keyed(s, "nr_throttled")
			if n := keyed(s, "throttled_time"); n >= 0 {
				u.ThrottledTime = time.Duration(n)
			}
		}
	}
	if d.use.has(CPUAcct) {
		if total := readInt(d.fd, "cpuacct.usage"); total >= 0 {
			u.CPUUser, u.CPUSystem = split(total, readInt(d.fd, "cpuacct.usage_user"), readInt(d.fd, "cpuacct.usage_sys"))
		}
	}
}

// split divides a CPU time, in ns, like the kernel does for getrusage(2): v1
// counts user and system by the tick, which misses all that is shorter, and the
// total exactly.
func split(total, user, system int64) (u, s time.Duration) {
	if user < 0 || system <= 0 {
		return time.Duration(total), 0
	}
	s = time.Duration(float64(total) * (float64(system) / (float64(user) + float64(system))))
	return time.Duration(total) - s, s
}

// keyed is the number after a key at the start of a line; Unknown: none.
func keyed(text, key string) int64 {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, key); ok && rest != "" && rest[0] == ' ' {
			return number(rest[1:])
		}
	}
	return Unknown
}

// pressure reads "some avg10=0.00 … total=0" and "full …", in microseconds.
func pressure(dir int, name string) Pressure {
	p := Pressure{Unknown, Unknown}
	s, err := readBelow(dir, name)
	if err != nil {
		return p
	}
	for line := range strings.Lines(s) {
		_, total, ok := strings.Cut(line, " total=")
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(total), 10, 64)
		if err != nil {
			continue
		}
		if strings.HasPrefix(line, "some ") {
			p.Some = time.Duration(n) * time.Microsecond
		} else {
			p.Full = time.Duration(n) * time.Microsecond
		}
	}
	return p
}

// openCPU keeps the file open that CPUTime reads again and again.
func (g *Group) openCPU() (err error) {
	d := g.dir(CPUAcct)
	file := "cpuacct.usage"
	if d.h.Version == 2 {
		file = "cpu.stat"
	}
	if g.cpuFD, err = openBelow(d.fd, file, unix.O_RDONLY); err != nil {
		return fileError("open", path.Join(d.dir, g.Name, file), err)
	}
	return nil
}

// CPUTimeFD is the file that CPUTime reads, or -1.
func (g *Group) CPUTimeFD() int { return g.cpuFD }

// CPUTime is the user and system time of all processes of the group so far,
// those that are gone included: one pread(2). It needs Options.CPUTime.
func (g *Group) CPUTime() (time.Duration, error) {
	if g.cpuFD < 0 {
		return 0, errors.New("CPU time is not counted; make the group with Options.CPUTime")
	}
	var buf [512]byte
	for {
		n, err := unix.Pread(g.cpuFD, buf[:], 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, fileError("read", "the CPU time of cgroup "+g.Name, err)
		}
		return parseCPUTime(string(buf[:n]))
	}
}

// parseCPUTime reads cpuacct.usage, nanoseconds alone, or cpu.stat.
func parseCPUTime(s string) (time.Duration, error) {
	if n := keyed(s, "usage_usec"); n >= 0 {
		return time.Duration(n) * time.Microsecond, nil
	}
	if n := number(s); n >= 0 {
		return time.Duration(n), nil
	}
	return 0, errors.New("CPU time of a cgroup: neither usage_usec nor a number in " + strconv.Quote(s))
}

// OOMKills is how many processes of the group the OOM killer has ended, or
// Unknown.
func (g *Group) OOMKills() int64 {
	d := g.dir(Memory)
	if d == nil {
		return Unknown
	}
	file := "memory.oom_control"
	if d.h.Version == 2 {
		file = "memory.events"
	}
	s, err := readBelow(d.fd, file)
	if err != nil {
		return Unknown
	}
	return keyed(s, "oom_kill")
}
