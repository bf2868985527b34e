package oci

import (
	"encoding/binary"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/policy"
)

// process decides about the process of a container, or of an exec into one.
func (k *compiler) process(p *specs.Process, out *plan.ContainerProcess) error {
	out.Terminal = p.Terminal
	out.UID, out.GID, out.Groups = p.User.UID, p.User.GID, p.User.AdditionalGids
	out.Umask = 0o022
	if u := p.User.Umask; u != nil {
		if *u > 0o777 {
			return refusal("process.user.umask", "0%o is no umask", *u)
		}
		out.Umask = *u
	}
	out.Cwd = path.Clean(p.Cwd)
	out.NoNewPrivileges = p.NoNewPrivileges
	out.PreserveFDs = k.o.PreserveFDs
	if err := k.checkIDs(p); err != nil {
		return err
	}
	if err := capabilities(p.Capabilities, out); err != nil {
		return err
	}
	if err := rlimits(p.Rlimits, out); err != nil {
		return err
	}
	if err := scheduling(p, out); err != nil {
		return err
	}
	if pe := k.c.Linux.Personality; pe != nil {
		domains := map[specs.LinuxPersonalityDomain]uint64{specs.PerLinux: 0, specs.PerLinux32: 8}
		v, ok := domains[pe.Domain]
		if !ok {
			return refusal("linux.personality.domain", "%q is neither LINUX nor LINUX32", pe.Domain)
		}
		if len(pe.Flags) > 0 {
			return refusal("linux.personality.flags", "the specification defines none yet: %v", pe.Flags)
		}
		out.Personality = &v
	}
	if err := k.memoryPolicy(out); err != nil {
		return err
	}
	return k.filter(out)
}

// checkIDs makes sure that the process's ids are ones in the container.
func (k *compiler) checkIDs(p *specs.Process) error {
	out := &k.in.Process
	out.SetGroups = true
	if !k.c.makes(specs.UserNamespace) {
		return nil
	}
	mapped := func(m []specs.LinuxIDMapping, id uint32) bool {
		return slices.ContainsFunc(m, func(e specs.LinuxIDMapping) bool { return id >= e.ContainerID && id-e.ContainerID < e.Size })
	}
	if !mapped(k.c.Linux.UIDMappings, p.User.UID) {
		return refusal("process.user.uid", "%d is not mapped by linux.uidMappings", p.User.UID)
	}
	for _, g := range append([]uint32{p.User.GID}, p.User.AdditionalGids...) {
		if !mapped(k.c.Linux.GIDMappings, g) {
			return refusal("process.user.gid", "%d is not mapped by linux.gidMappings", g)
		}
	}
	if deniesSetgroups(k.c.Linux.GIDMappings, k.facts.CapEff) {
		if len(p.User.AdditionalGids) > 0 {
			return refusal("process.user.additionalGids", "cannot set any additional groups in a rootless container: its user namespace has setgroups denied")
		}
		out.SetGroups = false
	}
	return nil
}

// capabilities are the five sets. An unknown name is passed over, as a newer
// kernel's is by an older runtime.
func capabilities(c *specs.LinuxCapabilities, out *plan.ContainerProcess) error {
	if c == nil {
		return nil
	}
	set := func(names []string) uint64 { return plan.CapabilitySet(names) }
	out.Bounding, out.Effective, out.Inheritable = set(c.Bounding), set(c.Effective), set(c.Inheritable)
	out.Permitted, out.Ambient = set(c.Permitted), set(c.Ambient)
	if more := out.Effective &^ out.Permitted; more != 0 {
		return refusal("process.capabilities.effective", "%s is not in permitted", plan.CapabilityText(more))
	}
	// As runc has it, an ambient capability that is not inheritable and permitted is passed over.
	out.Ambient &= out.Permitted & out.Inheritable
	return nil
}

func rlimits(limits []specs.POSIXRlimit, out *plan.ContainerProcess) error {
	for i, l := range limits {
		name := strings.ToLower(strings.TrimPrefix(l.Type, "RLIMIT_"))
		if !strings.HasPrefix(l.Type, "RLIMIT_") || !slices.Contains(policy.RlimitNames(), name) {
			return refusal(fmt.Sprintf("process.rlimits[%d].type", i), "%q is not the name of a resource limit, as RLIMIT_NOFILE is", l.Type)
		}
		for _, other := range out.Rlimits {
			if other.Name == name {
				return refusal(fmt.Sprintf("process.rlimits[%d].type", i), "%s is there twice", l.Type)
			}
		}
		if l.Soft > l.Hard {
			return refusal(fmt.Sprintf("process.rlimits[%d]", i), "the soft limit of %s is above the hard one", l.Type)
		}
		out.Rlimits = append(out.Rlimits, plan.ContainerRlimit{Name: name, Soft: l.Soft, Hard: l.Hard})
	}
	return nil
}

var ioClasses = map[specs.IOPriorityClass]uint64{specs.IOPRIO_CLASS_RT: 1, specs.IOPRIO_CLASS_BE: 2, specs.IOPRIO_CLASS_IDLE: 3}

var schedPolicies = map[specs.LinuxSchedulerPolicy]uint32{
	specs.SchedOther: 0, specs.SchedFIFO: 1, specs.SchedRR: 2, specs.SchedBatch: 3, specs.SchedISO: 4, specs.SchedIdle: 5, specs.SchedDeadline: 6,
}

var schedFlags = map[specs.LinuxSchedulerFlag]uint64{
	specs.SchedFlagResetOnFork: 0x01, specs.SchedFlagReclaim: 0x02, specs.SchedFlagDLOverrun: 0x04, specs.SchedFlagKeepPolicy: 0x08,
	specs.SchedFlagKeepParams: 0x10, specs.SchedFlagUtilClampMin: 0x20, specs.SchedFlagUtilClampMax: 0x40,
}

func scheduling(p *specs.Process, out *plan.ContainerProcess) error {
	if io := p.IOPriority; io != nil {
		class, ok := ioClasses[io.Class]
		if !ok {
			return refusal("process.ioPriority.class", "%q is none of IOPRIO_CLASS_RT, IOPRIO_CLASS_BE and IOPRIO_CLASS_IDLE", io.Class)
		}
		if io.Priority < 0 || io.Priority > 7 {
			return refusal("process.ioPriority.priority", "%d is not between 0 and 7", io.Priority)
		}
		v := class<<13 | uint64(io.Priority)
		out.IOPriority = &v
	}
	s := p.Scheduler
	if s == nil {
		return nil
	}
	kind, ok := schedPolicies[s.Policy]
	if !ok {
		return refusal("process.scheduler.policy", "%q is not a policy, as SCHED_OTHER is", s.Policy)
	}
	switch {
	case s.Nice < -20 || s.Nice > 19:
		return refusal("process.scheduler.nice", "%d is not between -20 and 19", s.Nice)
	case s.Priority != 0 && kind != 1 && kind != 2:
		return refusal("process.scheduler.priority", "it is for SCHED_FIFO and SCHED_RR alone")
	case s.Runtime|s.Deadline|s.Period != 0 && kind != 6:
		return refusal("process.scheduler", "runtime, deadline and period are for SCHED_DEADLINE alone")
	}
	var flags uint64
	for _, f := range s.Flags {
		v, ok := schedFlags[f]
		if !ok {
			return refusal("process.scheduler.flags", "%q is not a flag", f)
		}
		flags |= v
	}
	attr := make([]byte, 48) // SCHED_ATTR_SIZE_VER0
	le := binary.LittleEndian
	le.PutUint32(attr, 48)
	le.PutUint32(attr[4:], kind)
	le.PutUint64(attr[8:], flags)
	le.PutUint32(attr[16:], uint32(s.Nice))
	le.PutUint32(attr[20:], uint32(s.Priority))
	le.PutUint64(attr[24:], s.Runtime)
	le.PutUint64(attr[32:], s.Deadline)
	le.PutUint64(attr[40:], s.Period)
	out.SchedAttr = attr
	return nil
}

var memoryModes = map[specs.MemoryPolicyModeType]uint64{
	specs.MpolDefault: 0, specs.MpolPreferred: 1, specs.MpolBind: 2, specs.MpolInterleave: 3, specs.MpolLocal: 4, specs.MpolPreferredMany: 5, specs.MpolWeightedInterleave: 6,
}

var memoryFlags = map[specs.MemoryPolicyFlagType]uint64{specs.MpolFNumaBalancing: 1 << 13, specs.MpolFRelativeNodes: 1 << 14, specs.MpolFStaticNodes: 1 << 15}

func (k *compiler) memoryPolicy(out *plan.ContainerProcess) error {
	m := k.c.Linux.MemoryPolicy
	if m == nil {
		return nil
	}
	mode, ok := memoryModes[m.Mode]
	if !ok {
		return refusal("linux.memoryPolicy.mode", "%q is not a mode, as MPOL_BIND is", m.Mode)
	}
	for _, f := range m.Flags {
		v, ok := memoryFlags[f]
		if !ok {
			return refusal("linux.memoryPolicy.flags", "%q is not a flag", f)
		}
		mode |= v
	}
	nodes, err := parseSet(m.Nodes, 1024)
	if err != nil {
		return refusal("linux.memoryPolicy.nodes", "%v", err)
	}
	mp := &plan.MemoryPolicy{Mode: mode, Nodes: nodes}
	if nodes != nil {
		mp.MaxNode = uint64(8*len(nodes)) + 1
	}
	out.MemoryPolicy = mp
	return nil
}

// parseSet reads a list such as "0-3,7" into a mask of whole words.
func parseSet(s string, limit uint64) ([]byte, error) {
	if strings.TrimSpace(s) == "" {
		return nil, nil
	}
	mask := make([]byte, limit/8)
	top := 0
	for part := range strings.SplitSeq(s, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		a, err := strconv.ParseUint(from, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%q is not a list of numbers and ranges, as 0-3,7 is", s)
		}
		b := a
		if isRange {
			if b, err = strconv.ParseUint(to, 10, 32); err != nil || b < a {
				return nil, fmt.Errorf("%q is not a list of numbers and ranges, as 0-3,7 is", s)
			}
		}
		if b >= limit {
			return nil, fmt.Errorf("%d is more than the %d that can be", b, limit-1)
		}
		for ; a <= b; a++ {
			mask[a/8] |= 1 << (a % 8)
		}
		top = max(top, int(b))
	}
	return mask[:(top/64+1)*8], nil
}

// limitsOf sets the resource limits of a process from outside: a user
// namespace's root may raise none.
func limitsOf(pid int, limits []plan.ContainerRlimit) error {
	for _, l := range limits {
		r := unix.Rlimit{Cur: l.Soft, Max: l.Hard}
		if err := unix.Prlimit(pid, rlimitNumber(l.Name), &r, nil); err != nil {
			return refusal("process.rlimits", "RLIMIT_%s: %w: a hard limit can't be raised without CAP_SYS_RESOURCE; ask for no more than the caller has (ulimit -H)", strings.ToUpper(l.Name), err)
		}
	}
	return nil
}

func rlimitNumber(name string) int {
	return map[string]int{
		"cpu": unix.RLIMIT_CPU, "fsize": unix.RLIMIT_FSIZE, "data": unix.RLIMIT_DATA, "stack": unix.RLIMIT_STACK, "core": unix.RLIMIT_CORE,
		"rss": unix.RLIMIT_RSS, "nproc": unix.RLIMIT_NPROC, "nofile": unix.RLIMIT_NOFILE, "memlock": unix.RLIMIT_MEMLOCK, "as": unix.RLIMIT_AS,
		"locks": unix.RLIMIT_LOCKS, "sigpending": unix.RLIMIT_SIGPENDING, "msgqueue": unix.RLIMIT_MSGQUEUE, "nice": unix.RLIMIT_NICE,
		"rtprio": unix.RLIMIT_RTPRIO, "rttime": unix.RLIMIT_RTTIME,
	}[name]
}
