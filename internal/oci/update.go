package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// updateOptions are the limits that update changes.
type updateOptions struct {
	file      string // of --resources, which then is all
	resources specs.LinuxResources
	kernel    bool // limits of kernel memory were given, which no kernel has any more
	rdt       string
}

func (u *updateOptions) memory() *specs.LinuxMemory {
	if u.resources.Memory == nil {
		u.resources.Memory = &specs.LinuxMemory{}
	}
	return u.resources.Memory
}

func (u *updateOptions) cpu() *specs.LinuxCPU {
	if u.resources.CPU == nil {
		u.resources.CPU = &specs.LinuxCPU{}
	}
	return u.resources.CPU
}

// updateFlags are the flags of update. An empty value, which scripts pass for what they
// leave as it is, sets nothing.
var updateFlags = [...]option{
	{name: "resources", short: "r", value: "FILE", usage: "path to the file containing the resources to update or '-' to read from the standard input; all other options are ignored then", set: func(i *invocation, v string) error { i.update.file = v; return nil }},
	{name: "blkio-weight", value: "N", usage: "Specifies per cgroup weight, range is from 10 to 1000", set: func(i *invocation, v string) error {
		n, err := strconv.ParseUint(v, 10, 16)
		if err == nil && n != 0 {
			w := uint16(n)
			i.update.resources.BlockIO = &specs.LinuxBlockIO{Weight: &w}
		}
		return err
	}},
	unsigned("cpu-period", "CPU CFS period to be used for hardcapping (in usecs). 0 to use system default", func(c *specs.LinuxCPU) **uint64 { return &c.Period }),
	signed("cpu-quota", "CPU CFS hardcap limit (in usecs). Allowed cpu time in a given period", func(c *specs.LinuxCPU) **int64 { return &c.Quota }),
	unsigned("cpu-burst", "CPU CFS hardcap burst limit (in usecs). Allowed accumulated cpu time additionally for burst a given period", func(c *specs.LinuxCPU) **uint64 { return &c.Burst }),
	unsigned("cpu-share", "CPU shares (relative weight vs. other containers)", func(c *specs.LinuxCPU) **uint64 { return &c.Shares }),
	unsigned("cpu-rt-period", "CPU realtime period to be used for hardcapping (in usecs). 0 to use system default", func(c *specs.LinuxCPU) **uint64 { return &c.RealtimePeriod }),
	signed("cpu-rt-runtime", "CPU realtime hardcap limit (in usecs). Allowed cpu time in a given period", func(c *specs.LinuxCPU) **int64 { return &c.RealtimeRuntime }),
	{name: "cpuset-cpus", value: "LIST", usage: "CPU(s) to use", set: func(i *invocation, v string) error { i.update.cpu().Cpus = v; return nil }},
	{name: "cpuset-mems", value: "LIST", usage: "Memory node(s) to use", set: func(i *invocation, v string) error { i.update.cpu().Mems = v; return nil }},
	{name: "kernel-memory", value: "BYTES", hidden: true, set: func(i *invocation, v string) error { i.update.kernel = i.update.kernel || v != ""; return nil }},
	{name: "kernel-memory-tcp", value: "BYTES", hidden: true, set: func(i *invocation, v string) error { i.update.kernel = i.update.kernel || v != ""; return nil }},
	sized("memory", "Memory limit (in bytes)", func(m *specs.LinuxMemory) **int64 { return &m.Limit }),
	signed("cpu-idle", "set cgroup SCHED_IDLE or not, 0: default behavior, 1: SCHED_IDLE", func(c *specs.LinuxCPU) **int64 { return &c.Idle }),
	sized("memory-reservation", "Memory reservation or soft_limit (in bytes)", func(m *specs.LinuxMemory) **int64 { return &m.Reservation }),
	sized("memory-swap", "Total memory usage (memory + swap); set '-1' to enable unlimited swap", func(m *specs.LinuxMemory) **int64 { return &m.Swap }),
	{name: "pids-limit", value: "N", usage: "Maximum number of pids allowed in the container", set: func(i *invocation, v string) error {
		n, err := strconv.ParseInt(v, 10, 64)
		if err == nil && n != 0 {
			i.update.resources.Pids = &specs.LinuxPids{Limit: &n}
		}
		return err
	}},
	{name: "l3-cache-schema", value: "SCHEMA", usage: "not supported: the string of Intel RDT/CAT L3 cache schema", set: func(i *invocation, v string) error { i.update.rdt += v; return nil }},
	{name: "mem-bw-schema", value: "SCHEMA", usage: "not supported: the string of Intel RDT/MBA memory bandwidth schema", set: func(i *invocation, v string) error { i.update.rdt += v; return nil }},
}

func unsigned(name, usage string, field func(*specs.LinuxCPU) **uint64) option {
	return option{name: name, value: "N", usage: usage, set: func(i *invocation, v string) error {
		if v == "" {
			return nil
		}
		n, err := strconv.ParseUint(v, 10, 64)
		*field(i.update.cpu()) = &n
		return err
	}}
}

func signed(name, usage string, field func(*specs.LinuxCPU) **int64) option {
	return option{name: name, value: "N", usage: usage, set: func(i *invocation, v string) error {
		if v == "" {
			return nil
		}
		n, err := strconv.ParseInt(v, 10, 64)
		*field(i.update.cpu()) = &n
		return err
	}}
}

func sized(name, usage string, field func(*specs.LinuxMemory) **int64) option {
	return option{name: name, value: "BYTES", usage: usage, set: func(i *invocation, v string) error {
		if v == "" {
			return nil
		}
		n, err := parseBytes(v)
		*field(i.update.memory()) = &n
		return err
	}}
}

// parseBytes reads a size as runc does: 64m, 1.5GiB, 1024, or -1 for no limit.
func parseBytes(s string) (int64, error) {
	if s == "-1" {
		return -1, nil
	}
	number := strings.TrimRight(s, "bBiIkKmMgGtTpP ")
	unit := strings.ToLower(strings.TrimSpace(s[len(number):]))
	factor := 1.0
	switch strings.TrimSuffix(strings.TrimSuffix(unit, "b"), "i") {
	case "":
		if unit != "" && unit != "b" {
			return 0, fmt.Errorf("invalid suffix: '%s'", unit)
		}
	case "k":
		factor = 1 << 10
	case "m":
		factor = 1 << 20
	case "g":
		factor = 1 << 30
	case "t":
		factor = 1 << 40
	case "p":
		factor = 1 << 50
	default:
		return 0, fmt.Errorf("invalid suffix: '%s'", unit)
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(n) || strings.ContainsAny(number, "eExX_+") {
		return 0, fmt.Errorf("invalid size: '%s'", s)
	}
	if n *= factor; n < 0 || n >= math.MaxInt64 {
		return 0, fmt.Errorf("invalid size: '%s' is out of range", s)
	}
	return int64(n), nil
}

func runUpdate(i *invocation) (int, error) {
	c, err := loadLocked(&i.g, i.args[0])
	if err != nil {
		return exitError, err
	}
	defer c.unlock()
	u := &i.update
	switch {
	case u.rdt != "":
		//lint:ignore ST1005 the name of the thing
		return exitError, errors.New("Intel RDT is not supported: leave --l3-cache-schema and --mem-bw-schema out")
	case u.file != "":
		if u.resources, err = readResources(u.file); err != nil {
			return exitError, err
		}
	case u.kernel:
		warnf("Kernel memory settings are ignored and will be removed")
	}
	if c.Status() == Stopped {
		return exitError, errNotRunning
	}
	g := c.cgroup()
	defer g.Close()
	return 0, g.Update(&u.resources, c.OCIVersion)
}

// maxResources bounds what --resources reads: no limits have that many lines.
const maxResources = 1 << 20

// readResources reads the resources of a file, or of standard input.
func readResources(name string) (r specs.LinuxResources, err error) {
	f := os.Stdin
	if name != "-" {
		if f, err = os.Open(name); err != nil {
			return r, err
		}
		defer f.Close()
	}
	data, err := io.ReadAll(io.LimitReader(f, maxResources+1))
	if err != nil {
		return r, err
	}
	if len(data) > maxResources {
		return r, fmt.Errorf("--resources: %s is longer than %d bytes", name, maxResources)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("--resources: %w", err)
	}
	return r, nil
}
