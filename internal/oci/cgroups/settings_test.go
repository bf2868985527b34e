package cgroups

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	oracle "github.com/opencontainers/cgroups"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// TestSettings has every field of linux.resources once: what is written on v1,
// what on cgroup2, and what is refused by its name.
func TestSettings(t *testing.T) {
	for _, tt := range []struct {
		name, resources string
		v1, v2          string
	}{
		{
			"memory", `{"memory":{"limit":1000000,"reservation":500000,"swap":3000000}}`,
			"memory.limit_in_bytes=1000000 memory.memsw.limit_in_bytes=3000000 memory.soft_limit_in_bytes=500000",
			"memory.swap.max=2000000 memory.max=1000000 memory.low=500000",
		},
		{
			"no swap", `{"memory":{"limit":1000000,"swap":1000000}}`,
			"memory.limit_in_bytes=1000000 memory.memsw.limit_in_bytes=1000000",
			"memory.swap.max=0? memory.max=1000000",
		},
		{
			"unlimited memory", `{"memory":{"limit":-1}}`,
			"memory.limit_in_bytes=-1 memory.memsw.limit_in_bytes=-1?",
			"memory.swap.max=max? memory.max=max",
		},
		{
			"unlimited swap", `{"memory":{"limit":1000000,"swap":-1}}`,
			"memory.limit_in_bytes=1000000 memory.memsw.limit_in_bytes=-1?",
			"memory.swap.max=max? memory.max=1000000",
		},
		{
			"swap below memory", `{"memory":{"limit":2000000,"swap":1000000}}`,
			"!linux.resources.memory.swap: 1000000 is memory and swap together, and less than memory.limit, 2000000",
			"!linux.resources.memory.swap: 1000000 is memory and swap together, and less than memory.limit, 2000000",
		},
		{
			"kernel memory", `{"memory":{"kernel":1000000,"kernelTCP":2000000}}`,
			"memory.kmem.limit_in_bytes=1000000 memory.kmem.tcp.limit_in_bytes=2000000",
			"!linux.resources.memory.kernel: cgroup v2 has nothing for it; leave it out, or boot with cgroup v1",
		},
		{
			"unlimited kernel memory", `{"memory":{"kernel":-1,"kernelTCP":-1}}`,
			"memory.kmem.limit_in_bytes=-1? memory.kmem.tcp.limit_in_bytes=-1?", "",
		},
		{
			"swappiness", `{"memory":{"swappiness":10}}`, "memory.swappiness=10",
			"!linux.resources.memory.swappiness: cgroup v2 has nothing for it; leave it out, or boot with cgroup v1",
		},
		{
			"too swappy", `{"memory":{"swappiness":101}}`,
			"!linux.resources.memory.swappiness: 101 is not in 0 to 100",
			"!linux.resources.memory.swappiness: cgroup v2 has nothing for it; leave it out, or boot with cgroup v1",
		},
		{
			"OOM killer", `{"memory":{"disableOOMKiller":true}}`, "memory.oom_control=1",
			"!linux.resources.memory.disableOOMKiller: cgroup v2 has nothing for it; leave it out, or boot with cgroup v1",
		},
		{"OOM killer on", `{"memory":{"disableOOMKiller":false,"useHierarchy":true}}`, "memory.use_hierarchy=1? memory.oom_control=0", ""},
		{
			"cpu", `{"cpu":{"shares":512,"quota":50000,"burst":20000,"period":200000}}`,
			"cpu.shares=512 cpu.cfs_burst_us=20000 cpu.cfs_period_us=200000 cpu.cfs_quota_us=50000",
			"cpu.weight=59 cpu.max.burst=20000 cpu.max=50000 200000",
		},
		{"quota", `{"cpu":{"quota":50000}}`, "cpu.cfs_quota_us=50000", "cpu.max=50000 100000"},
		{"no quota", `{"cpu":{"quota":-1,"period":50000}}`, "cpu.cfs_period_us=50000 cpu.cfs_quota_us=-1", "cpu.max=max 50000"},
		{
			"realtime", `{"cpu":{"realtimeRuntime":950000,"realtimePeriod":1000000}}`,
			"cpu.rt_period_us=1000000 cpu.rt_runtime_us=950000",
			"!linux.resources.cpu.realtimeRuntime: cgroup v2 limits no realtime processes; leave it out, or boot with cgroup v1",
		},
		{"cpuset", `{"cpu":{"cpus":"0-1","mems":"0"}}`, "cpuset.cpus=0-1 cpuset.mems=0", "cpuset.cpus=0-1 cpuset.mems=0"},
		{"idle", `{"cpu":{"idle":1,"shares":100}}`, "cpu.idle=1", "cpu.idle=1"},
		{"not idle", `{"cpu":{"idle":0,"shares":1024}}`, "cpu.idle=0? cpu.shares=1024", "cpu.idle=0? cpu.weight=100"},
		{"one share", `{"cpu":{"shares":1}}`, "!linux.resources.cpu.shares: 1 is not in 2 to 262144, the kernel's limits", "cpu.weight=1"},
		{"pids", `{"pids":{"limit":100}}`, "pids.max=100", "pids.max=100"},
		{"all pids", `{"pids":{"limit":-1}}`, "pids.max=max?", "pids.max=max?"},
		{"one pid", `{"pids":{"limit":0}}`, "pids.max=1", "pids.max=1"},
		{
			"weight", `{"blockIO":{"weight":500,"weightDevice":[{"major":8,"minor":0,"weight":10}]}}`,
			"blkio.weight=500|blkio.bfq.weight blkio.weight_device=8:0 10|blkio.bfq.weight_device",
			"io.weight=default 4950|io.bfq.weight=500 io.weight=8:0 1|io.bfq.weight=8:0 10",
		},
		{"too light", `{"blockIO":{"weight":9}}`, "!linux.resources.blockIO.weight: 9 is not in 10 to 1000", "!linux.resources.blockIO.weight: 9 is not in 10 to 1000"},
		{
			"leaf", `{"blockIO":{"leafWeight":500}}`, "blkio.leaf_weight=500",
			"!linux.resources.blockIO.leafWeight: cgroup v2 has no weight for a group's own processes; leave it out",
		},
		{
			"throttle", `{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1}],"throttleWriteBpsDevice":[{"major":8,"minor":0,"rate":2}],
			"throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":3}],"throttleWriteIOPSDevice":[{"major":8,"minor":16,"rate":0}]}}`,
			"blkio.throttle.read_bps_device=8:0 1 blkio.throttle.write_bps_device=8:0 2 blkio.throttle.read_iops_device=8:0 3 blkio.throttle.write_iops_device=8:16 0",
			"io.max=8:0 rbps=1 io.max=8:0 wbps=2 io.max=8:0 riops=3 io.max=8:16 wiops=max",
		},
		{
			"huge pages", `{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}`,
			"hugetlb.2MB.limit_in_bytes=4194304 hugetlb.2MB.rsvd.limit_in_bytes=4194304?",
			"hugetlb.2MB.max=4194304 hugetlb.2MB.rsvd.max=4194304?",
		},
		{
			"no page", `{"hugepageLimits":[{"pageSize":"../2MB","limit":1}]}`,
			`!linux.resources.hugepageLimits: "../2MB" is no page size such as "2MB" or "1GB"`,
			`!linux.resources.hugepageLimits: "../2MB" is no page size such as "2MB" or "1GB"`,
		},
		{
			"network", `{"network":{"classID":1048577,"priorities":[{"name":"eth0","priority":500}]}}`,
			"net_cls.classid=1048577 net_prio.ifpriomap=eth0 500",
			"!linux.resources.network.classID: " + noNetwork + "\nlinux.resources.network.priorities: " + noNetwork,
		},
		{
			"rdma", `{"rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":10000},"mlx4_0":{"hcaObjects":1},"rxe3":{}}}`,
			"rdma.max=mlx4_0 hca_object=1 rdma.max=mlx5_1 hca_handle=3 hca_object=10000",
			"rdma.max=mlx4_0 hca_object=1 rdma.max=mlx5_1 hca_handle=3 hca_object=10000",
		},
		{
			"unified", `{"unified":{"memory.high":"1000","io.max":"8:0 rbps=1\n8:16 rbps=2","hugetlb.1GB.max":"0"}}`,
			"hugetlb.1GB.max=0 io.max=8:0 rbps=1 io.max=8:16 rbps=2 memory.high=1000",
			"hugetlb.1GB.max=0 io.max=8:0 rbps=1 io.max=8:16 rbps=2 memory.high=1000",
		},
		{"unified path", `{"unified":{"../memory.max":"1"}}`, `!linux.resources.unified: "../memory.max" is no file of a cgroup, CONTROLLER.NAME`, `!linux.resources.unified: "../memory.max" is no file of a cgroup, CONTROLLER.NAME`},
		{"unified kill", `{"unified":{"cgroup.kill":"1"}}`, `!linux.resources.unified: cgroup.kill is not the limit of a resource`, `!linux.resources.unified: cgroup.kill is not the limit of a resource`},
		{"nothing", `{"memory":{},"cpu":{},"pids":{},"blockIO":{},"network":{}}`, "", ""},
		{"zeroes", `{"memory":{"limit":0,"swap":0,"reservation":0,"kernel":0},"cpu":{"shares":0,"quota":0,"period":0},"blockIO":{"weight":0}}`, "", ""},
	} {
		for v, want := range [...]string{tt.v1, tt.v2} {
			var r specs.LinuxResources
			if err := json.Unmarshal([]byte(tt.resources), &r); err != nil {
				t.Fatal(tt.name, err)
			}
			list, err := settings(&r, func(string) bool { return v == 1 })
			got := show(list)
			if err != nil {
				got = "!" + err.Error()
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, v%d: %s", tt.name, v+1, diff)
			}
		}
	}
}

// show is settings in a line; ?: optional, |: the file that takes another's place.
func show(list []setting) string {
	var out []string
	for _, s := range list {
		one := s.file + "=" + s.value
		if s.optional {
			one += "?"
		}
		if s.alt != "" {
			one += "|" + s.alt
			if s.altValue != "" {
				one += "=" + s.altValue
			}
		}
		out = append(out, one)
	}
	return strings.Join(out, " ")
}

// TestConversions compares the arithmetic with that of opencontainers/cgroups,
// so that a container gets from this runtime what it got from the others.
func TestConversions(t *testing.T) {
	for shares := uint64(1); shares <= 262200; shares++ {
		if got, want := weightOfShares(shares), oracle.ConvertCPUSharesToCgroupV2Value(shares); got != want {
			t.Fatalf("%d shares: weight %d, the library has %d", shares, got, want)
		}
	}
	for w := uint16(10); w <= 1000; w++ {
		if got, want := ioWeight(w), oracle.ConvertBlkIOToIOWeightValue(w); got != want {
			t.Fatalf("weight %d: %d, the library has %d", w, got, want)
		}
	}
	numbers := []int64{-1, 0, 1, 4096, 1 << 20, 1 << 30, 1<<63 - 1}
	for _, limit := range numbers {
		for _, swap := range numbers {
			got, err := swap2(limit, swap)
			want, wantErr := oracle.ConvertMemorySwapToCgroupV2Value(swap, limit)
			if (err == nil) != (wantErr == nil) {
				t.Errorf("memory %d, with swap %d: %v, the library has %v", limit, swap, err, wantErr)
				continue
			}
			text := map[int64]string{0: "", -1: "max"}[want]
			if want > 0 {
				text = fmt.Sprint(want)
			}
			if want == 0 && swap > 0 {
				text = "0" // none at all, which the library's caller writes too
			}
			if err == nil && got != text {
				t.Errorf("memory %d, with swap %d: %q, the library has %q", limit, swap, got, text)
			}
		}
	}
}

func TestPidsBefore13(t *testing.T) {
	zero := int64(0)
	for version, want := range map[string]bool{"1.0.2-dev": true, "1.2.1": true, "1.3.0": false, "": false} {
		c := Config{Version: version, Resources: &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &zero}}}
		c.normalise()
		if got := c.Resources.Pids == nil; got != want {
			t.Errorf("%q: a limit of 0 means none: %t, want %t", version, got, want)
		}
	}
}

func TestCheckBeforeUpdate(t *testing.T) {
	limit, yes := int64(1000), true
	r := &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}}
	if err := check2(r, 2000); err != nil {
		t.Error("without the check: ", err)
	}
	r.Memory.CheckBeforeUpdate = &yes
	if err := check2(r, 999); err != nil {
		t.Error(err)
	}
	err := check2(r, 1000)
	if want := "linux.resources.memory.limit: 1000 is not above the 1000 bytes in use, and memory.checkBeforeUpdate is set"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// FuzzSettings: no resources make it fail otherwise than by an error, and no
// value that would be written has a line of its own.
func FuzzSettings(f *testing.F) {
	f.Add([]byte(`{"unified":{"memory.max":"1\n2"},"devices":[{"allow":true,"access":"rwm"}]}`))
	f.Add([]byte(`{"devices":[{"allow":false,"type":"c","major":-1,"minor":4294967295,"access":"r"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r specs.LinuxResources
		if json.Unmarshal(data, &r) != nil {
			return
		}
		for _, v2 := range []bool{false, true} {
			list, err := settings(&r, func(string) bool { return v2 })
			if err != nil {
				continue
			}
			for _, s := range list {
				if strings.Contains(s.file, "/") || strings.Contains(s.value, "\n") {
					t.Errorf("%q would be written to %q", s.value, s.file)
				}
			}
		}
		rules, err := deviceRules(r.Devices)
		if err != nil {
			return
		}
		agree(t, rules)
	})
}
