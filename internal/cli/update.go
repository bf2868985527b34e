package cli

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
	"github.com/cloche-sandbox/cloche/internal/named"
	"github.com/cloche-sandbox/cloche/policy"
)

// Update is `cloche update`: other limits for a sandbox that runs. What its policy
// protects can't be changed.
type Update struct {
	Memory, CPUs, Pids string
}

// Run carries it out.
func (u *Update) Run(names []string) error {
	if len(names) == 0 {
		return errors.New("update: name a sandbox: cloche update --memory 1G NAME")
	}
	if *u == (Update{}) {
		return errors.New("update: nothing to change; use --memory, --cpus, --pids")
	}
	p := policy.New()
	for _, f := range []struct{ name, value string }{{"memory", u.Memory}, {"cpus", u.CPUs}, {"pids", u.Pids}} {
		if f.value == "" {
			continue
		}
		if err := policy.FlagNamed(f.name).Apply(p, f.value); err != nil {
			return fmt.Errorf("update: %w", err)
		}
	}
	return eachNamed("update", names, func(s *named.Sandbox) error { return u.change(s, &p.Limits) })
}

func (u *Update) change(s *named.Sandbox, l *policy.Limits) error {
	dirs, closeDirs, err := cgroupsOf(s)
	if err != nil {
		return err
	}
	defer closeDirs()
	p, err := s.Policy()
	if err != nil {
		return err
	}
	// What can't be done as a whole is not begun.
	for _, f := range []struct{ asked, limit, v2, v1 string }{
		{u.Memory, "memory", "memory.max", "memory.limit_in_bytes"}, {u.CPUs, "cpus", "cpu.max", "cpu.cfs_quota_us"}, {u.Pids, "pids", "pids.max", "pids.max"},
	} {
		if f.asked == "" {
			continue
		}
		if _, err := holding(s.Name, dirs, f.limit, f.v2); err != nil {
			if _, err := holding(s.Name, dirs, f.limit, f.v1); err != nil {
				return err
			}
		}
	}
	err = u.set(s, dirs, l, p.Init)
	limits := s.Limits // where one of them was refused by the kernel, with those before it
	return errors.Join(err, named.Update(s.Name, s.Owner, func(now *named.Sandbox) { now.Limits = limits }))
}

// set writes the limits to the cgroups, and to the record of those that were taken.
func (u *Update) set(s *named.Sandbox, dirs []*cgroup.Dir, l *policy.Limits, init bool) error {
	if u.Memory != "" {
		if err := setMemory(s.Name, dirs, int64(l.Memory)); err != nil {
			return err
		}
		s.Limits.Memory = l.Memory
	}
	if u.CPUs != "" {
		if err := setCPUs(s.Name, dirs, l.CPUs); err != nil {
			return err
		}
		s.Limits.CPUs = l.CPUs
	}
	if u.Pids != "" {
		n := l.Pids
		if init {
			n++ // pid 1 lives in the group too
		}
		if err := setLimit(s.Name, dirs, "pids", "pids.max", strconv.FormatInt(n, 10)); err != nil {
			return err
		}
		s.Limits.Pids = l.Pids
	}
	return nil
}

// holding is the directory of the sandbox's own that has a file.
func holding(name string, dirs []*cgroup.Dir, limit, file string) (*cgroup.Dir, error) {
	for _, d := range dirs {
		if d.Has(file) {
			return d, nil
		}
	}
	return nil, fmt.Errorf("%s has no cgroup of its own that limits %s: such a cgroup is made when it starts; start it with a limit (cloche run --%s), which can be changed then", name, limit, limit)
}

func setLimit(name string, dirs []*cgroup.Dir, limit, file, value string) error {
	d, err := holding(name, dirs, limit, file)
	if err != nil {
		return err
	}
	if err := d.Write(file, value); err != nil {
		why := ""
		if err == unix.EBUSY {
			why = ": more is in use already than the limit allows"
		}
		return fmt.Errorf("%s: write %s to %s/%s: %w%s", name, value, d.Path, file, err, why)
	}
	return nil
}

// setMemory changes the limit of memory. On v1 that of memory and swap together may never
// be lower, and moves along.
func setMemory(name string, dirs []*cgroup.Dir, n int64) error {
	value := strconv.FormatInt(n, 10)
	if d, err := holding(name, dirs, "memory", "memory.max"); err == nil && d.V2 {
		return setLimit(name, dirs, "memory", "memory.max", value)
	}
	d, err := holding(name, dirs, "memory", "memory.limit_in_bytes")
	if err != nil {
		return err
	}
	const both = "memory.memsw.limit_in_bytes"
	if !d.Has(both) {
		return setLimit(name, dirs, "memory", "memory.limit_in_bytes", value)
	}
	order := []string{both, "memory.limit_in_bytes"}
	if text, err := d.Read("memory.limit_in_bytes"); err == nil {
		if now, err := strconv.ParseInt(text[:max(0, len(text)-1)], 10, 64); err == nil && now > n {
			order[0], order[1] = order[1], order[0]
		}
	}
	for _, file := range order {
		if err := setLimit(name, dirs, "memory", file, value); err != nil {
			return err
		}
	}
	return nil
}

func setCPUs(name string, dirs []*cgroup.Dir, cpus float64) error {
	const period = 100_000 // µs
	quota := max(1000, int64(math.Round(cpus*period)))
	if d, err := holding(name, dirs, "cpus", "cpu.max"); err == nil && d.V2 {
		return setLimit(name, dirs, "cpus", "cpu.max", strconv.FormatInt(quota, 10)+" "+strconv.Itoa(period))
	}
	if err := setLimit(name, dirs, "cpus", "cpu.cfs_period_us", strconv.Itoa(period)); err != nil {
		return err
	}
	return setLimit(name, dirs, "cpus", "cpu.cfs_quota_us", strconv.FormatInt(quota, 10))
}
