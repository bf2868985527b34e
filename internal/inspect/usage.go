package inspect

import (
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
)

// Usage is what a sandbox, or the cgroup of a process, uses at a moment. What is not known
// is nil.
type Usage struct {
	When time.Time `json:"time"`

	CPU       *int64   `json:"cpu_ns"`       // time used so far
	CPULimit  *float64 `json:"cpu_limit"`    // processors; nil: no limit
	Memory    *int64   `json:"memory_bytes"` // of a cgroup with its page cache; of processes what is theirs alone
	MemoryMax *int64   `json:"memory_limit_bytes"`
	Pids      *int64   `json:"pids"` // processes and threads, with pid 1 of the sandbox
	PidsMax   *int64   `json:"pids_limit"`
	Read      *int64   `json:"read_bytes"`
	Written   *int64   `json:"written_bytes"`
	Periods   *int64   `json:"cpu_periods"`
	Throttled *int64   `json:"throttled_periods"`
	OOMKills  *int64   `json:"oom_kills"`
	Denied    *int64   `json:"denied"` // system calls that the filter refused, as far as somebody counts them
	Frozen    bool     `json:"frozen"`

	Pressure map[string]cgroup.Wait `json:"pressure,omitempty"` // cgroup2 alone

	// Summed names what is no cgroup's number but the sum over the processes that live.
	Summed []string `json:"summed"`
}

// Meter reads the usage of many sandboxes at once.
type Meter struct {
	cgroups *cgroup.Reader
	seen    *Snapshot // of the last Look
}

// NewMeter makes one.
func NewMeter() (*Meter, error) {
	r, err := cgroup.NewReader()
	return &Meter{cgroups: r}, err
}

// Look finds out which processes there are; Usage adds up those of its sandbox.
func (m *Meter) Look() (err error) {
	m.seen, err = Snap()
	return err
}

// Usage reads that of the sandbox that process pid lives in: of its cgroups, as far as it has
// some apart from the caller's; else of the processes in its pid namespace; else of itself.
func (m *Meter) Usage(pid int, start uint64) (*Usage, error) {
	t, err := open(pid, start)
	if err != nil {
		return nil, err
	}
	defer t.close()
	u := &Usage{When: time.Now(), Summed: []string{}}
	text, err := t.read("cgroup")
	if err != nil {
		return nil, t.gone()
	}
	readings := m.cgroups.Read(text, true)
	for i := range readings {
		u.take(&readings[i])
	}
	u.sum(m.processes(t))
	return u, nil
}

// Own is what the process's own cgroups count alone, those in which the caller is not: memory, CPU
// time, and whether they stand still.
func (m *Meter) Own(pid int) (cgroup.Own, error) {
	text, err := readSmall("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return cgroup.Own{}, err
	}
	return m.cgroups.Own(text), nil
}

// known is a number of a cgroup, or nil.
func known(n int64) *int64 {
	if n < 0 {
		return nil
	}
	return &n
}

// take takes in what one hierarchy knows.
func (u *Usage) take(r *cgroup.Reading) {
	if r.Shared || r.Dir == "" {
		return
	}
	if r.Memory != nil {
		u.Memory, u.MemoryMax = known(r.Memory.Used), known(r.Memory.Limit)
		u.OOMKills = known(r.OOMKills)
	}
	if r.Pids != nil {
		u.Pids, u.PidsMax = known(r.Pids.Used), known(r.Pids.Limit)
	}
	if c := r.CPU; c != nil {
		if c.Used >= 0 {
			u.CPU = known(int64(c.Used))
		}
		if c.Limit > 0 {
			u.CPULimit = &c.Limit
		}
		if c.Periods >= 0 {
			u.Periods, u.Throttled = known(c.Periods), known(c.Throttled)
		}
	}
	if r.IO != nil {
		u.Read, u.Written = known(r.IO.Read), known(r.IO.Written)
	}
	if r.Pressure != nil {
		u.Pressure = r.Pressure
	}
	u.Frozen = u.Frozen || r.Frozen
}

// processes are those that a sandbox's numbers are the sum of.
func (m *Meter) processes(t *target) (all, hidden []int) {
	if m.seen == nil || m.seen.ns[t.pid] == 0 {
		return []int{t.pid}, nil // in the caller's pid namespace, or new
	}
	all = slices.Clone(m.seen.members[m.seen.ns[t.pid]])
	// Pid 1 is not dumpable, so that its namespaces are shown to root alone.
	if s, err := t.status("status"); err == nil {
		for _, up := range hiddenAbove(s) {
			if !slices.Contains(all, up) {
				hidden = append(hidden, up)
			}
		}
	}
	return all, hidden
}

// sum fills what no cgroup counts from the processes themselves.
// The hidden do no I/O.
func (u *Usage) sum(pids, hidden []int) {
	var cpu, memory, tasks, read, written int64
	seen, seenIO := false, true
	for i, pid := range slices.Concat(pids, hidden) {
		dir := "/proc/" + strconv.Itoa(pid) + "/"
		stat, err := readSmall(dir + "stat")
		if err != nil {
			continue // it has ended
		}
		seen = true
		// With the times of children that were waited for, so that nothing is lost when one ends.
		for field := 14; field <= 17; field++ {
			cpu += int64(statField(stat, field)) * int64(tick)
		}
		tasks += int64(statField(stat, 20))
		if u.Memory == nil {
			if statm, err := readSmall(dir + "statm"); err == nil {
				memory += private(statm)
			}
		}
		if u.Read == nil && seenIO && i < len(pids) {
			io, err := os.ReadFile(dir + "io") // takes the right to trace it
			seenIO = err == nil
			r, _ := strconv.ParseInt(infoField(string(io), "read_bytes"), 10, 64)
			w, _ := strconv.ParseInt(infoField(string(io), "write_bytes"), 10, 64)
			read, written = read+r, written+w
		}
	}
	if !seen {
		return
	}
	fill := func(name string, to **int64, n int64) {
		if *to == nil {
			*to = &n
			u.Summed = append(u.Summed, name)
		}
	}
	fill("cpu_ns", &u.CPU, cpu)
	fill("memory_bytes", &u.Memory, memory)
	fill("pids", &u.Pids, tasks)
	if seenIO {
		fill("read_bytes", &u.Read, read)
		fill("written_bytes", &u.Written, written)
	}
}
