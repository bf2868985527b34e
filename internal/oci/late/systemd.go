// Package late holds what costs time at the start of a program and what few
// commands need: systemd's cgroup driver, which speaks over a message bus, and the
// statistics of a container. Both are opencontainers/cgroups. It makes itself
// known to the packages that are light.
package late

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	sd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
	lib "github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/systemd"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/cloche-sandbox/cloche/internal/oci/cgroups"
)

func init() { cgroups.RegisterSystemd(driver{}) }

type driver struct{}

// scopePrefix begins the name of a scope whose container names none.
const scopePrefix = "cloche"

// New finds the unit that linux.cgroupsPath names: slice:prefix:name is the scope
// prefix-name.scope in the slice, or the slice name if that ends so.
func (driver) New(c *cgroups.Config) (cgroups.Unit, error) {
	if !systemd.IsRunningSystemd() {
		return nil, errors.New("--systemd-cgroup: systemd does not run this machine (no /run/systemd/system); leave it out, and have the engine use the driver cgroupfs")
	}
	cg := &lib.Cgroup{Name: c.ID, ScopePrefix: scopePrefix, Rootless: c.Rootless, Systemd: true}
	if c.Path != "" {
		parts := strings.Split(c.Path, ":")
		if len(parts) != 3 {
			return nil, fmt.Errorf("expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got %q instead", c.Path)
		}
		cg.Parent, cg.ScopePrefix, cg.Name = parts[0], parts[1], parts[2]
	}
	if strings.ContainsAny(cg.Parent+cg.ScopePrefix+cg.Name, "/\x00") || cg.Name == "" {
		return nil, fmt.Errorf("linux.cgroupsPath: %q names no unit of systemd", c.Path)
	}
	r, err := resources(c.Resources)
	if err != nil {
		return nil, err
	}
	cg.Resources = r
	if cg.SystemdProps, err = properties(c.Annotations); err != nil {
		return nil, err
	}
	return newUnit(cg, nil)
}

// Load comes back to a unit.
func (driver) Load(s cgroups.State) (cgroups.Unit, error) {
	name := s.Unit
	prefix := ""
	if scope, ok := strings.CutSuffix(name, ".scope"); ok {
		if prefix, name, ok = strings.Cut(scope, "-"); !ok {
			return nil, fmt.Errorf("the container's unit %q is none that this runtime makes", s.Unit)
		}
	}
	return newUnit(&lib.Cgroup{
		Name: name, ScopePrefix: prefix, Parent: s.Slice, Rootless: s.Rootless, Systemd: true,
		Resources: &lib.Resources{SkipDevices: true, SkipFreezeOnSet: true},
	}, s.Dirs)
}

type unit struct {
	cg      *lib.Cgroup
	manager lib.Manager
}

func newUnit(cg *lib.Cgroup, dirs []cgroups.DirState) (*unit, error) {
	u := &unit{cg: cg}
	var err error
	if lib.IsCgroup2UnifiedMode() {
		dir := ""
		if len(dirs) > 0 {
			dir = dirs[0].Path
		}
		u.manager, err = systemd.NewUnifiedManager(cg, dir)
	} else {
		u.manager, err = systemd.NewLegacyManager(cg, paths(dirs))
	}
	if err != nil {
		return nil, fmt.Errorf("systemd's cgroup driver: %w", err)
	}
	return u, nil
}

// paths are the directories by controller, as the library keeps them on v1.
func paths(dirs []cgroups.DirState) map[string]string {
	if dirs == nil {
		return nil
	}
	m := map[string]string{}
	for i := range dirs {
		if dirs[i].V2 {
			m[""] = dirs[i].Path
		}
		for _, c := range dirs[i].Controllers {
			m[c] = dirs[i].Path
		}
	}
	return m
}

func (u *unit) name() string {
	if strings.HasSuffix(u.cg.Name, ".slice") {
		return u.cg.Name
	}
	return u.cg.ScopePrefix + "-" + u.cg.Name + ".scope"
}

func (u *unit) State() cgroups.State {
	return cgroups.State{Unit: u.name(), Slice: u.cg.Parent, Rootless: u.cg.Rootless}
}

func (u *unit) Start(pid int) (cgroups.State, error) {
	if err := u.manager.Apply(pid); err != nil {
		return cgroups.State{}, fmt.Errorf("systemd made no unit %s: %w; look in `journalctl -n 20`", u.name(), err)
	}
	s := u.State()
	byPath := map[string]*cgroups.DirState{}
	all := u.manager.GetPaths()
	for _, controller := range slices.Sorted(maps.Keys(all)) {
		dir := all[controller]
		d := byPath[dir]
		if d == nil {
			if _, err := os.Stat(dir); err != nil {
				continue // a hierarchy that systemd does not use
			}
			d = &cgroups.DirState{Path: dir}
			byPath[dir] = d
		}
		if controller == "" {
			d.V2 = true
		} else {
			d.Controllers = append(d.Controllers, controller)
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(byPath)) {
		s.Dirs = append(s.Dirs, *byPath[dir])
	}
	return s, nil
}

func (u *unit) Set(r *specs.LinuxResources) error {
	converted, err := resources(r)
	if err != nil {
		return err
	}
	if err := u.manager.Set(converted); err != nil {
		return fmt.Errorf("limits of systemd's unit %s: %w", u.name(), err)
	}
	return nil
}

func (u *unit) Stop() error { return u.manager.Destroy() }

// properties are those of annotations: org.systemd.property.NAME, whose value is
// written as gdbus(1) does. Durations may be given in seconds.
func properties(annotations map[string]string) ([]sd.Property, error) {
	var all []sd.Property
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		name, ok := strings.CutPrefix(key, "org.systemd.property.")
		if !ok {
			continue
		}
		if len(name) < 3 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			return nil, fmt.Errorf("annotation %s: %q is no name of a property: letters alone, three at least", key, name)
		}
		v, err := dbus.ParseVariant(annotations[key], dbus.Signature{})
		if err != nil {
			return nil, fmt.Errorf("annotation %s=%s: %w", key, annotations[key], err)
		}
		if base, ok := strings.CutSuffix(name, "Sec"); ok && base != "" && base[len(base)-1] >= 'a' && base[len(base)-1] <= 'z' {
			name = base + "USec"
			if v, err = microseconds(v); err != nil {
				return nil, fmt.Errorf("annotation %s=%s: %w", key, annotations[key], err)
			}
		}
		all = append(all, sd.Property{Name: name, Value: v})
	}
	return all, nil
}

func microseconds(v dbus.Variant) (dbus.Variant, error) {
	var n float64
	switch s := v.Value().(type) {
	case float64:
		n = s
	case int32:
		n = float64(s)
	case uint32:
		n = float64(s)
	case int64:
		n = float64(s)
	case uint64:
		n = float64(s)
	default:
		return v, errors.New("not a number of seconds")
	}
	if n < 0 || n > 1e12 {
		return v, errors.New("out of range")
	}
	return dbus.MakeVariant(uint64(n * 1e6)), nil
}

// resources are the limits as the library takes them. Device rules are left
// out: package cgroups sets them.
func resources(r *specs.LinuxResources) (*lib.Resources, error) {
	out := &lib.Resources{SkipDevices: true, SkipFreezeOnSet: true}
	if r == nil {
		return out, nil
	}
	if m := r.Memory; m != nil {
		out.Memory, out.MemorySwap, out.MemoryReservation = value(m.Limit), value(m.Swap), value(m.Reservation)
		out.MemorySwappiness, out.OomKillDisable = m.Swappiness, value(m.DisableOOMKiller)
		out.MemoryCheckBeforeUpdate = value(m.CheckBeforeUpdate)
	}
	if c := r.CPU; c != nil {
		out.CpuShares, out.CpuWeight = value(c.Shares), lib.ConvertCPUSharesToCgroupV2Value(value(c.Shares))
		out.CpuQuota, out.CpuPeriod, out.CpuBurst = value(c.Quota), value(c.Period), c.Burst
		out.CpuRtRuntime, out.CpuRtPeriod = value(c.RealtimeRuntime), value(c.RealtimePeriod)
		out.CpusetCpus, out.CpusetMems, out.CPUIdle = c.Cpus, c.Mems, c.Idle
	}
	if r.Pids != nil {
		out.PidsLimit = r.Pids.Limit
	}
	if b := r.BlockIO; b != nil {
		out.BlkioWeight, out.BlkioLeafWeight = value(b.Weight), value(b.LeafWeight)
		for _, d := range b.WeightDevice {
			out.BlkioWeightDevice = append(out.BlkioWeightDevice, lib.NewWeightDevice(d.Major, d.Minor, value(d.Weight), value(d.LeafWeight)))
		}
		for _, t := range [...]struct {
			from []specs.LinuxThrottleDevice
			to   *[]*lib.ThrottleDevice
		}{
			{b.ThrottleReadBpsDevice, &out.BlkioThrottleReadBpsDevice},
			{b.ThrottleWriteBpsDevice, &out.BlkioThrottleWriteBpsDevice},
			{b.ThrottleReadIOPSDevice, &out.BlkioThrottleReadIOPSDevice},
			{b.ThrottleWriteIOPSDevice, &out.BlkioThrottleWriteIOPSDevice},
		} {
			for _, d := range t.from {
				*t.to = append(*t.to, lib.NewThrottleDevice(d.Major, d.Minor, d.Rate))
			}
		}
	}
	for _, h := range r.HugepageLimits {
		out.HugetlbLimit = append(out.HugetlbLimit, &lib.HugepageLimit{Pagesize: h.Pagesize, Limit: h.Limit})
	}
	if n := r.Network; n != nil {
		out.NetClsClassid = value(n.ClassID)
		for _, p := range n.Priorities {
			out.NetPrioIfpriomap = append(out.NetPrioIfpriomap, &lib.IfPrioMap{Interface: p.Name, Priority: int64(p.Priority)})
		}
	}
	for name, l := range r.Rdma {
		if out.Rdma == nil {
			out.Rdma = map[string]lib.LinuxRdma{}
		}
		out.Rdma[name] = lib.LinuxRdma{HcaHandles: l.HcaHandles, HcaObjects: l.HcaObjects}
	}
	if len(r.Unified) > 0 {
		out.Unified = maps.Clone(r.Unified)
	}
	return out, nil
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
