package late

import (
	"errors"

	lib "github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/fs"
	"github.com/opencontainers/cgroups/fs2"

	"github.com/cloche-sandbox/cloche/internal/oci"
	"github.com/cloche-sandbox/cloche/internal/oci/cgroups"
)

func init() { oci.RegisterStats(stats) }

// The form of runc's `events`, field by field.

type statistics struct {
	CPU               cpu                `json:"cpu"`
	CPUSet            cpuset             `json:"cpuset"`
	Memory            memory             `json:"memory"`
	Pids              pids               `json:"pids"`
	Blkio             blkio              `json:"blkio"`
	Hugetlb           map[string]hugetlb `json:"hugetlb"`
	IntelRdt          struct{}           `json:"intel_rdt"`
	NetworkInterfaces []struct{}         `json:"network_interfaces"`
}

type hugetlb struct {
	Usage   uint64 `json:"usage,omitempty"`
	Max     uint64 `json:"max,omitempty"`
	Failcnt uint64 `json:"failcnt"`
}

type blkioEntry struct {
	Major uint64 `json:"major,omitempty"`
	Minor uint64 `json:"minor,omitempty"`
	Op    string `json:"op,omitempty"`
	Value uint64 `json:"value,omitempty"`
}

type blkio struct {
	ServiceBytes []blkioEntry  `json:"ioServiceBytesRecursive,omitempty"`
	Serviced     []blkioEntry  `json:"ioServicedRecursive,omitempty"`
	Queued       []blkioEntry  `json:"ioQueueRecursive,omitempty"`
	ServiceTime  []blkioEntry  `json:"ioServiceTimeRecursive,omitempty"`
	WaitTime     []blkioEntry  `json:"ioWaitTimeRecursive,omitempty"`
	Merged       []blkioEntry  `json:"ioMergedRecursive,omitempty"`
	Time         []blkioEntry  `json:"ioTimeRecursive,omitempty"`
	Sectors      []blkioEntry  `json:"sectorsRecursive,omitempty"`
	PSI          *lib.PSIStats `json:"psi,omitempty"`
}

type pids struct {
	Current uint64 `json:"current,omitempty"`
	Limit   uint64 `json:"limit,omitempty"`
}

type throttling struct {
	Periods          uint64 `json:"periods,omitempty"`
	ThrottledPeriods uint64 `json:"throttledPeriods,omitempty"`
	ThrottledTime    uint64 `json:"throttledTime,omitempty"`
}

// cpuUsage is in nanoseconds.
type cpuUsage struct {
	Total        uint64   `json:"total,omitempty"`
	Percpu       []uint64 `json:"percpu,omitempty"`
	PercpuKernel []uint64 `json:"percpu_kernel,omitempty"`
	PercpuUser   []uint64 `json:"percpu_user,omitempty"`
	Kernel       uint64   `json:"kernel"`
	User         uint64   `json:"user"`
}

type cpu struct {
	Usage      cpuUsage      `json:"usage"`
	Throttling throttling    `json:"throttling"`
	PSI        *lib.PSIStats `json:"psi,omitempty"`
}

type cpuset struct {
	CPUs                  []uint16 `json:"cpus,omitempty"`
	CPUExclusive          uint64   `json:"cpu_exclusive"`
	Mems                  []uint16 `json:"mems,omitempty"`
	MemHardwall           uint64   `json:"mem_hardwall"`
	MemExclusive          uint64   `json:"mem_exclusive"`
	MemoryMigrate         uint64   `json:"memory_migrate"`
	MemorySpreadPage      uint64   `json:"memory_spread_page"`
	MemorySpreadSlab      uint64   `json:"memory_spread_slab"`
	MemoryPressure        uint64   `json:"memory_pressure"`
	SchedLoadBalance      uint64   `json:"sched_load_balance"`
	SchedRelaxDomainLevel int64    `json:"sched_relax_domain_level"`
}

type memoryEntry struct {
	Limit   uint64 `json:"limit"`
	Usage   uint64 `json:"usage,omitempty"`
	Max     uint64 `json:"max,omitempty"`
	Failcnt uint64 `json:"failcnt"`
}

type memory struct {
	Cache     uint64            `json:"cache,omitempty"`
	Usage     memoryEntry       `json:"usage"`
	Swap      memoryEntry       `json:"swap"`
	Kernel    memoryEntry       `json:"kernel"`
	KernelTCP memoryEntry       `json:"kernelTCP"`
	Raw       map[string]uint64 `json:"raw,omitempty"`
	PSI       *lib.PSIStats     `json:"psi,omitempty"`
}

// stats reads what a container has used.
func stats(s cgroups.State) (any, error) {
	if len(s.Dirs) == 0 {
		return nil, errors.New("the container has no cgroup, which would count what it uses")
	}
	read, err := readStats(s)
	if err != nil {
		return nil, err
	}
	return convert(read), nil
}

func readStats(s cgroups.State) (*lib.Stats, error) {
	cg := &lib.Cgroup{Rootless: s.Rootless, Resources: &lib.Resources{}}
	if len(s.Dirs) == 1 && s.Dirs[0].V2 {
		m, err := fs2.NewManager(cg, s.Dirs[0].Path)
		if err != nil {
			return nil, err
		}
		return m.GetStats()
	}
	m, err := fs.NewManager(cg, paths(s.Dirs))
	if err != nil {
		return nil, err
	}
	return m.GetStats()
}

func convert(s *lib.Stats) *statistics {
	out := &statistics{
		CPU: cpu{
			Usage: cpuUsage{
				Total: s.CpuStats.CpuUsage.TotalUsage, Percpu: s.CpuStats.CpuUsage.PercpuUsage,
				PercpuKernel: s.CpuStats.CpuUsage.PercpuUsageInKernelmode, PercpuUser: s.CpuStats.CpuUsage.PercpuUsageInUsermode,
				Kernel: s.CpuStats.CpuUsage.UsageInKernelmode, User: s.CpuStats.CpuUsage.UsageInUsermode,
			},
			Throttling: throttling{s.CpuStats.ThrottlingData.Periods, s.CpuStats.ThrottlingData.ThrottledPeriods, s.CpuStats.ThrottlingData.ThrottledTime},
			PSI:        s.CpuStats.PSI,
		},
		CPUSet: cpuset(s.CPUSetStats),
		Memory: memory{
			Cache: s.MemoryStats.Cache, Usage: entry(s.MemoryStats.Usage), Swap: entry(s.MemoryStats.SwapUsage),
			Kernel: entry(s.MemoryStats.KernelUsage), KernelTCP: entry(s.MemoryStats.KernelTCPUsage),
			Raw: s.MemoryStats.Stats, PSI: s.MemoryStats.PSI,
		},
		Pids: pids{s.PidsStats.Current, s.PidsStats.Limit},
		Blkio: blkio{
			ServiceBytes: entries(s.BlkioStats.IoServiceBytesRecursive), Serviced: entries(s.BlkioStats.IoServicedRecursive),
			Queued: entries(s.BlkioStats.IoQueuedRecursive), ServiceTime: entries(s.BlkioStats.IoServiceTimeRecursive),
			WaitTime: entries(s.BlkioStats.IoWaitTimeRecursive), Merged: entries(s.BlkioStats.IoMergedRecursive),
			Time: entries(s.BlkioStats.IoTimeRecursive), Sectors: entries(s.BlkioStats.SectorsRecursive), PSI: s.BlkioStats.PSI,
		},
		Hugetlb: map[string]hugetlb{},
	}
	for size, h := range s.HugetlbStats {
		out.Hugetlb[size] = hugetlb{h.Usage, h.MaxUsage, h.Failcnt}
	}
	return out
}

func entry(m lib.MemoryData) memoryEntry {
	return memoryEntry{Limit: m.Limit, Usage: m.Usage, Max: m.MaxUsage, Failcnt: m.Failcnt}
}

func entries(list []lib.BlkioStatEntry) (out []blkioEntry) {
	for _, e := range list {
		out = append(out, blkioEntry(e))
	}
	return out
}
