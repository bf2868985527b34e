package cgroups

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func device(major, minor int64) string { return fmt.Sprintf("%d:%d", major, minor) }

func blockIO1(r *specs.LinuxResources) (out []setting, err error) {
	b := r.BlockIO
	if b == nil {
		return nil, nil
	}
	if n := value(b.Weight); n != 0 {
		if err := weight("blockIO.weight", n); err != nil {
			return nil, err
		}
		out = append(out, setting{field: "blockIO.weight", file: "blkio.weight", alt: "blkio.bfq.weight", value: decimal(n)})
	}
	if n := value(b.LeafWeight); n != 0 {
		out = append(out, setting{field: "blockIO.leafWeight", file: "blkio.leaf_weight", value: decimal(n)})
	}
	for _, d := range b.WeightDevice {
		dev := device(d.Major, d.Minor)
		if n := value(d.Weight); n != 0 {
			if err := weight("blockIO.weightDevice", n); err != nil {
				return nil, err
			}
			out = append(out, setting{field: "blockIO.weightDevice", file: "blkio.weight_device", alt: "blkio.bfq.weight_device", value: dev + " " + decimal(n)})
		}
		if n := value(d.LeafWeight); n != 0 {
			out = append(out, setting{field: "blockIO.weightDevice", file: "blkio.leaf_weight_device", value: dev + " " + decimal(n)})
		}
	}
	for _, t := range throttles(b) {
		for _, d := range t.list {
			out = append(out, setting{field: t.field, file: t.v1, value: device(d.Major, d.Minor) + " " + decimal(d.Rate)})
		}
	}
	return out, nil
}

func blockIO2(r *specs.LinuxResources) (out []setting, err error) {
	b := r.BlockIO
	if b == nil {
		return nil, nil
	}
	const none = "cgroup v2 has no weight for a group's own processes; leave it out"
	if value(b.LeafWeight) != 0 {
		return nil, refused("blockIO.leafWeight", none)
	}
	if n := value(b.Weight); n != 0 {
		if err := weight("blockIO.weight", n); err != nil {
			return nil, err
		}
		out = append(out, setting{field: "blockIO.weight", file: "io.weight", value: "default " + decimal(ioWeight(n)), alt: "io.bfq.weight", altValue: decimal(n)})
	}
	for _, d := range b.WeightDevice {
		if value(d.LeafWeight) != 0 {
			return nil, refused("blockIO.weightDevice.leafWeight", none)
		}
		if n := value(d.Weight); n != 0 {
			if err := weight("blockIO.weightDevice", n); err != nil {
				return nil, err
			}
			dev := device(d.Major, d.Minor) + " "
			out = append(out, setting{field: "blockIO.weightDevice", file: "io.weight", value: dev + decimal(ioWeight(n)), alt: "io.bfq.weight", altValue: dev + decimal(n)})
		}
	}
	for _, t := range throttles(b) {
		for _, d := range t.list {
			rate := "max" // 0 lifts a limit on v1
			if d.Rate != 0 {
				rate = decimal(d.Rate)
			}
			out = append(out, setting{field: t.field, file: "io.max", value: device(d.Major, d.Minor) + " " + t.v2 + "=" + rate})
		}
	}
	return out, nil
}

type throttle struct {
	field, v1, v2 string
	list          []specs.LinuxThrottleDevice
}

func throttles(b *specs.LinuxBlockIO) []throttle {
	return []throttle{
		{"blockIO.throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps", b.ThrottleReadBpsDevice},
		{"blockIO.throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps", b.ThrottleWriteBpsDevice},
		{"blockIO.throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops", b.ThrottleReadIOPSDevice},
		{"blockIO.throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops", b.ThrottleWriteIOPSDevice},
	}
}

func weight(field string, n uint16) error {
	if n < 10 || n > 1000 {
		return refused(field, decimal(n)+" is not in 10 to 1000")
	}
	return nil
}

// ioWeight maps 10 … 1000 to 1 … 10000.
func ioWeight(w uint16) uint64 { return 1 + (uint64(w)-10)*9999/990 }

// hugepages limits what is in use and, where the kernel can (5.7), what is reserved:
// a process that reserved more than it may use would die by SIGBUS.
func hugepages(r *specs.LinuxResources, limit, reserved string) (out []setting, err error) {
	for _, h := range r.HugepageLimits {
		if !pageSize(h.Pagesize) {
			return nil, refused("hugepageLimits", strconv.Quote(h.Pagesize)+" is no page size such as \"2MB\" or \"1GB\"")
		}
		prefix := "hugetlb." + h.Pagesize
		out = append(out,
			setting{field: "hugepageLimits." + h.Pagesize, file: prefix + limit, value: decimal(h.Limit)},
			setting{field: "hugepageLimits." + h.Pagesize, file: prefix + reserved, value: decimal(h.Limit), optional: true})
	}
	return out, nil
}

func hugepages1(r *specs.LinuxResources) ([]setting, error) {
	return hugepages(r, ".limit_in_bytes", ".rsvd.limit_in_bytes")
}

func hugepages2(r *specs.LinuxResources) ([]setting, error) {
	return hugepages(r, ".max", ".rsvd.max")
}

// pageSize is the kernel's way to write a size: "64KB", "2MB", "1GB".
func pageSize(s string) bool {
	n := strings.TrimRight(s, "KMGB")
	if n == "" || n[0] == '0' || strings.Trim(n, "0123456789") != "" {
		return false
	}
	switch s[len(n):] {
	case "KB", "MB", "GB":
		return true
	}
	return false
}

func netClass(r *specs.LinuxResources) ([]setting, error) {
	if r.Network == nil || value(r.Network.ClassID) == 0 {
		return nil, nil
	}
	return []setting{{field: "network.classID", file: "net_cls.classid", value: decimal(*r.Network.ClassID)}}, nil
}

func netPriorities(r *specs.LinuxResources) (out []setting, err error) {
	if r.Network == nil {
		return nil, nil
	}
	for _, p := range r.Network.Priorities {
		if p.Name == "" || strings.ContainsAny(p.Name, " \t\n\x00/") || len(p.Name) > 15 {
			return nil, refused("network.priorities", strconv.Quote(p.Name)+" is no name of a network interface")
		}
		out = append(out, setting{field: "network.priorities", file: "net_prio.ifpriomap", value: p.Name + " " + decimal(p.Priority)})
	}
	return out, nil
}

const noNetwork = "cgroup v2 marks no packets (net_cls and net_prio are v1's); leave it out, or match the cgroup by nftables"

func noNetClass(r *specs.LinuxResources) ([]setting, error) {
	if r.Network != nil && value(r.Network.ClassID) != 0 {
		return nil, refused("network.classID", noNetwork)
	}
	return nil, nil
}

func noNetPriorities(r *specs.LinuxResources) ([]setting, error) {
	if r.Network != nil && len(r.Network.Priorities) > 0 {
		return nil, refused("network.priorities", noNetwork)
	}
	return nil, nil
}

func rdma(r *specs.LinuxResources) (out []setting, err error) {
	for _, name := range slices.Sorted(maps.Keys(r.Rdma)) {
		if name == "" || strings.ContainsAny(name, " \t\n\x00") {
			return nil, refused("rdma", strconv.Quote(name)+" is no name of an RDMA device")
		}
		v := name
		if n := r.Rdma[name].HcaHandles; n != nil {
			v += " hca_handle=" + decimal(*n)
		}
		if n := r.Rdma[name].HcaObjects; n != nil {
			v += " hca_object=" + decimal(*n)
		}
		if v != name {
			out = append(out, setting{field: "rdma." + name, file: "rdma.max", value: v})
		}
	}
	return out, nil
}

// unified are files of cgroup2 by their names, a line at a time.
func unified(r *specs.LinuxResources) (out []setting, err error) {
	for _, file := range slices.Sorted(maps.Keys(r.Unified)) {
		controller, _, dot := strings.Cut(file, ".")
		if !dot || controller == "" || strings.ContainsAny(file, "/\x00") {
			return nil, refused("unified", strconv.Quote(file)+" is no file of a cgroup, CONTROLLER.NAME")
		}
		// What moves processes or hands out controllers is the runtime's.
		switch file {
		case "cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "cgroup.type", "cgroup.kill", "cgroup.freeze":
			return nil, refused("unified", file+" is not the limit of a resource")
		}
		for line := range strings.Lines(r.Unified[file]) {
			out = append(out, setting{field: "unified." + file, file: file, value: strings.TrimSuffix(line, "\n")})
		}
	}
	return out, nil
}
