package cgroups

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// setting is one value for one file of a cgroup.
type setting struct {
	controller string // by its name on v1, so "blkio" and not "io"
	field      string // in config.json below linux.resources
	file       string
	value      string
	alt        string // file that takes its place where that one is there
	altValue   string // of alt; "": the same

	// optional: without the file, nothing is lost by leaving it out, as the value
	// says what is so without it.
	optional bool
}

// refused is a field that a version of cgroups has nothing for.
func refused(field, why string) error {
	return fmt.Errorf("linux.resources.%s: %s", field, why)
}

// settings turns resources into writes, in the order in which the kernel takes
// them. v2 tells for each controller which version it is of.
func settings(r *specs.LinuxResources, v2 func(controller string) bool) ([]setting, error) {
	var all []setting
	var errs []error
	for _, c := range [...]struct {
		name   string
		v1, v2 func(*specs.LinuxResources) ([]setting, error)
	}{
		{"cpuset", cpuset, cpuset},
		{"pids", pids, pids},
		{"memory", memory1, memory2},
		{"cpu", cpu1, cpu2},
		{"blkio", blockIO1, blockIO2},
		{"hugetlb", hugepages1, hugepages2},
		{"net_cls", netClass, noNetClass},
		{"net_prio", netPriorities, noNetPriorities},
		{"rdma", rdma, rdma},
		{"", nil, unified},
	} {
		convert := c.v1
		if c.name == "" || v2(c.name) {
			convert = c.v2
		}
		got, err := convert(r)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for i := range got {
			got[i].controller = c.name
		}
		all = append(all, got...)
	}
	return all, errors.Join(errs...)
}

func decimal[T int64 | uint64 | uint32 | uint16](n T) string { return fmt.Sprint(n) }

// orMax is a number that cgroup2 knows another word for when it is negative.
func orMax(n int64) string {
	if n < 0 {
		return "max"
	}
	return strconv.FormatInt(n, 10)
}

// orUnlimited is the same for v1.
func orUnlimited(n int64) string {
	if n < 0 {
		return "-1"
	}
	return strconv.FormatInt(n, 10)
}

// memory1: 0 is "not set", as engines mean it by 0 and the kernel takes no
// limit of 0 for a group that anything runs in.
func memory1(r *specs.LinuxResources) (out []setting, err error) {
	m := r.Memory
	if m == nil {
		return nil, nil
	}
	limit, swap := value(m.Limit), value(m.Swap)
	if limit > 0 && swap > 0 && swap < limit {
		return nil, refused("memory.swap", fmt.Sprintf("%d is memory and swap together, and less than memory.limit, %d", swap, limit))
	}
	if limit != 0 {
		out = append(out, setting{field: "memory.limit", file: "memory.limit_in_bytes", value: orUnlimited(limit)})
	}
	switch {
	case swap != 0:
		out = append(out, setting{field: "memory.swap", file: "memory.memsw.limit_in_bytes", value: orUnlimited(swap), optional: swap < 0})
	case limit < 0:
		// Without a limit of memory the old one of both would stay in its way.
		out = append(out, setting{field: "memory.swap", file: "memory.memsw.limit_in_bytes", value: "-1", optional: true})
	}
	if n := value(m.Reservation); n != 0 {
		out = append(out, setting{field: "memory.reservation", file: "memory.soft_limit_in_bytes", value: orUnlimited(n)})
	}
	//lint:ignore SA1019 deprecated in the specification, and still in it
	if n := value(m.Kernel); n != 0 {
		out = append(out, setting{field: "memory.kernel", file: "memory.kmem.limit_in_bytes", value: orUnlimited(n), optional: n < 0})
	}
	if n := value(m.KernelTCP); n != 0 {
		out = append(out, setting{field: "memory.kernelTCP", file: "memory.kmem.tcp.limit_in_bytes", value: orUnlimited(n), optional: n < 0})
	}
	if m.UseHierarchy != nil {
		out = append(out, setting{field: "memory.useHierarchy", file: "memory.use_hierarchy", value: zeroOrOne(*m.UseHierarchy), optional: *m.UseHierarchy})
	}
	if m.DisableOOMKiller != nil {
		out = append(out, setting{field: "memory.disableOOMKiller", file: "memory.oom_control", value: zeroOrOne(*m.DisableOOMKiller)})
	}
	if m.Swappiness != nil && *m.Swappiness != math.MaxUint64 { // -1, as engines write "not set"
		if *m.Swappiness > 100 {
			return nil, refused("memory.swappiness", decimal(*m.Swappiness)+" is not in 0 to 100")
		}
		out = append(out, setting{field: "memory.swappiness", file: "memory.swappiness", value: decimal(*m.Swappiness)})
	}
	return out, nil
}

// memory2: the specification's swap is memory and swap together, cgroup2's is swap alone.
func memory2(r *specs.LinuxResources) (out []setting, err error) {
	m := r.Memory
	if m == nil {
		return nil, nil
	}
	const none = "cgroup v2 has nothing for it; leave it out, or boot with cgroup v1"
	//lint:ignore SA1019 as above
	kernel := value(m.Kernel)
	switch {
	case kernel > 0:
		return nil, refused("memory.kernel", none)
	case value(m.KernelTCP) > 0:
		return nil, refused("memory.kernelTCP", none)
	case m.DisableOOMKiller != nil && *m.DisableOOMKiller:
		return nil, refused("memory.disableOOMKiller", none)
	case m.UseHierarchy != nil && !*m.UseHierarchy:
		return nil, refused("memory.useHierarchy", "cgroup v2 always counts hierarchically; leave it out")
	case m.Swappiness != nil && *m.Swappiness != math.MaxUint64:
		return nil, refused("memory.swappiness", none)
	}
	limit, swap := value(m.Limit), value(m.Swap)
	both, err := swap2(limit, swap)
	if err != nil {
		return nil, err
	}
	if both != "" {
		out = append(out, setting{field: "memory.swap", file: "memory.swap.max", value: both, optional: both == "max" || both == "0"})
	}
	if limit != 0 {
		out = append(out, setting{field: "memory.limit", file: "memory.max", value: orMax(limit)})
	}
	if n := value(m.Reservation); n != 0 {
		out = append(out, setting{field: "memory.reservation", file: "memory.low", value: orMax(n)})
	}
	return out, nil
}

// swap2 is memory.swap.max; "": leave it as it is.
func swap2(limit, swap int64) (string, error) {
	switch {
	case swap < 0, limit < 0 && swap == 0:
		return "max", nil
	case swap == 0:
		return "", nil
	case limit < 0:
		return decimal(swap), nil
	case limit == 0:
		return "", refused("memory.swap", "it is memory and swap together, and there is no memory.limit to take from it; set both")
	case swap < limit:
		return "", refused("memory.swap", fmt.Sprintf("%d is memory and swap together, and less than memory.limit, %d", swap, limit))
	}
	return decimal(swap - limit), nil
}

// cpu1: an idle group has no shares; the kernel refuses to set them.
func cpu1(r *specs.LinuxResources) (out []setting, err error) {
	c := r.CPU
	if c == nil {
		return nil, nil
	}
	idle := c.Idle != nil && *c.Idle != 0
	if c.Idle != nil {
		out = append(out, setting{field: "cpu.idle", file: "cpu.idle", value: decimal(*c.Idle), optional: !idle})
	}
	if n := value(c.Shares); n != 0 && !idle {
		if n < 2 || n > 262144 {
			return nil, refused("cpu.shares", decimal(n)+" is not in 2 to 262144, the kernel's limits")
		}
		out = append(out, setting{field: "cpu.shares", file: "cpu.shares", value: decimal(n)})
	}
	if c.Burst != nil {
		out = append(out, setting{field: "cpu.burst", file: "cpu.cfs_burst_us", value: decimal(*c.Burst), optional: *c.Burst == 0})
	}
	if n := value(c.Period); n != 0 {
		out = append(out, setting{field: "cpu.period", file: "cpu.cfs_period_us", value: decimal(n)})
	}
	if n := value(c.Quota); n != 0 {
		out = append(out, setting{field: "cpu.quota", file: "cpu.cfs_quota_us", value: orUnlimited(n)})
	}
	if n := value(c.RealtimePeriod); n != 0 {
		out = append(out, setting{field: "cpu.realtimePeriod", file: "cpu.rt_period_us", value: decimal(n)})
	}
	if n := value(c.RealtimeRuntime); n != 0 {
		out = append(out, setting{field: "cpu.realtimeRuntime", file: "cpu.rt_runtime_us", value: decimal(n)})
	}
	return out, nil
}

func cpu2(r *specs.LinuxResources) (out []setting, err error) {
	c := r.CPU
	if c == nil {
		return nil, nil
	}
	if value(c.RealtimeRuntime) != 0 || value(c.RealtimePeriod) != 0 {
		return nil, refused("cpu.realtimeRuntime", "cgroup v2 limits no realtime processes; leave it out, or boot with cgroup v1")
	}
	idle := c.Idle != nil && *c.Idle != 0
	if c.Idle != nil {
		out = append(out, setting{field: "cpu.idle", file: "cpu.idle", value: decimal(*c.Idle), optional: !idle})
	}
	if n := value(c.Shares); n != 0 && !idle {
		out = append(out, setting{field: "cpu.shares", file: "cpu.weight", value: decimal(weightOfShares(n))})
	}
	if c.Burst != nil {
		out = append(out, setting{field: "cpu.burst", file: "cpu.max.burst", value: decimal(*c.Burst), optional: *c.Burst == 0})
	}
	quota, period := value(c.Quota), value(c.Period)
	if quota != 0 || period != 0 {
		if quota == 0 {
			quota = -1
		}
		if period == 0 {
			period = 100000 // the kernel's own
		}
		out = append(out, setting{field: "cpu.quota", file: "cpu.max", value: orMax(quota) + " " + decimal(period)})
	}
	return out, nil
}

// weightOfShares maps 2 … 1024 … 262144 to 1 … 100 … 10000 by the curve through
// these three points that the OCI runtimes have agreed on.
func weightOfShares(shares uint64) uint64 {
	switch {
	case shares <= 2:
		return 1
	case shares >= 262144:
		return 10000
	}
	l := math.Log2(float64(shares))
	return uint64(math.Ceil(math.Pow(10, (l*l+125*l)/612-7.0/34)))
}

// cpuset has the same files in both versions.
func cpuset(r *specs.LinuxResources) (out []setting, err error) {
	if r.CPU == nil {
		return nil, nil
	}
	if r.CPU.Cpus != "" {
		out = append(out, setting{field: "cpu.cpus", file: "cpuset.cpus", value: r.CPU.Cpus})
	}
	if r.CPU.Mems != "" {
		out = append(out, setting{field: "cpu.mems", file: "cpuset.mems", value: r.CPU.Mems})
	}
	return out, nil
}

func pids(r *specs.LinuxResources) ([]setting, error) {
	if r.Pids == nil || r.Pids.Limit == nil {
		return nil, nil
	}
	n := *r.Pids.Limit
	if n == 0 {
		// The process of the container is one, and systemd's TasksMax knows no 0.
		n = 1
	}
	return []setting{{field: "pids.limit", file: "pids.max", value: orMax(n), optional: n < 0}}, nil
}

func zeroOrOne(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// value is what a pointer points to, or nothing.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// check2 mimics, where memory.checkBeforeUpdate asks for it, what v1's kernel
// does: a limit below what is used already is refused. cgroup2 would kill.
func check2(r *specs.LinuxResources, current int64) error {
	m := r.Memory
	if m == nil || !value(m.CheckBeforeUpdate) || current < 0 {
		return nil
	}
	for _, l := range [...]struct {
		field string
		n     int64
	}{{"memory.limit", value(m.Limit)}, {"memory.swap", value(m.Swap)}} {
		if l.n > 0 && l.n <= current {
			return refused(l.field, fmt.Sprintf("%d is not above the %d bytes in use, and memory.checkBeforeUpdate is set", l.n, current))
		}
	}
	return nil
}

// later reports whether the kernel refuses a value for the sake of another one
// that is about to change: memory and memory with swap, quota and burst, a
// realtime period and its runtime each check the other.
func later(err error) bool { return err == unix.EINVAL || err == unix.EBUSY }
