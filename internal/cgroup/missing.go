package cgroup

import (
	"path"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// Missing lists the limits, by the names of policy.Limits.WhereAvailable, that
// this process can't have enforced. Check says why.
func (l *Layout) Missing(lim policy.Limits) []string {
	var missing []string
	for _, name := range lim.Set() {
		if l.Check(name, &lim) != nil {
			missing = append(missing, name)
		}
	}
	return missing
}

// Check reports, by an *Unavailable, that one limit can't be enforced, where
// limits.parent of lim says. name is one of policy.Limits.WhereAvailable, or
// "cpu-time" for counting what time.cpu limits. It makes nothing.
func (l *Layout) Check(name string, lim *policy.Limits) error {
	c := controllerOf(name)
	places, err := l.places(1<<c, lim.Parent)
	if err != nil {
		return err
	}
	if p := &places[0]; !p.holds(name) {
		return lacks(name, c, p.h)
	}
	return nil
}

func controllerOf(limit string) Controller {
	switch limit {
	case "cpus", "cpu-weight":
		return CPU
	case "cpu-time":
		return CPUAcct
	case "pids":
		return Pids
	case "io":
		return IO
	case "cpuset":
		return Cpuset
	}
	return Memory
}

// holds reports whether the kernel's controller was built with a limit: there
// are kernels that have one file of a controller and not another.
func (p *place) holds(limit string) bool {
	var v1, v2, atRoot string
	switch limit {
	case "swap":
		v1, v2, atRoot = "memory.memsw.limit_in_bytes", "memory.swap.max", "/proc/swaps"
	case "cpus":
		v1, v2, atRoot = "cpu.cfs_quota_us", "cpu.max", "/proc/sys/kernel/sched_cfs_bandwidth_slice_us"
	case "cpu-weight":
		v1, v2 = "cpu.shares", "cpu.weight"
	case "io":
		v1, v2 = "blkio.throttle.read_bps_device", "io.max"
	default:
		return true // what every kernel with the controller has
	}
	if p.h.Version == 1 {
		return exists(path.Join(p.dir, v1))
	}
	// Whoever passes a controller on has its files, but for the root of cgroup2
	// (which alone has no cgroup.type). There the kernel's other traces have to
	// do, or the write itself will tell.
	if exists(path.Join(p.dir, "cgroup.type")) {
		return exists(path.Join(p.dir, v2))
	}
	return atRoot == "" || exists(atRoot) || !exists("/proc/sys/kernel")
}

func exists(name string) bool { return unix.Access(name, unix.F_OK) == nil }

// lacks names what the kernel was built or booted without.
func lacks(limit string, c Controller, h *Hierarchy) *Unavailable {
	u := &Unavailable{Controller: c.String(), Limit: limit, Cause: "this kernel has no file for it"}
	config := ""
	switch limit {
	case "swap":
		u.Cause, config = "this kernel does not count swap", "CONFIG_SWAP"
	case "cpus":
		u.Cause, config = "this kernel can't hold a cgroup to a share of the processors", "CONFIG_CFS_BANDWIDTH"
	case "cpu-weight":
		u.Cause, config = "this kernel can't weigh cgroups against each other", "CONFIG_FAIR_GROUP_SCHED"
	case "io":
		u.Cause, config = "this kernel can't throttle a disk", "CONFIG_BLK_DEV_THROTTLING"
	}
	u.Remedy = "leave limits." + limit + " out or list it in limits.where-available"
	switch {
	case limit == "swap" && h.Version == 1:
		u.Remedy += ", or boot with swapaccount=1"
	case config != "":
		u.Remedy += ", or use a kernel with " + config
	}
	return u
}
