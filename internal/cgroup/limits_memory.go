package cgroup

import (
	"errors"
	"fmt"
	"math"
	"path"
	"strconv"

	"github.com/cloche-sandbox/cloche/policy"
)

// memory writes the limits of memory and swap. v1 knows no limit of swap alone
// but one of both together, which can't be below that of memory and so comes second.
func (w *writer) memory(l *policy.Limits) {
	mem := strconv.FormatInt(int64(l.Memory), 10)
	if w.v2(Memory) {
		if l.Memory != 0 {
			w.set(Memory, "limits.memory", "memory.max", mem)
		}
		if l.Swap != nil {
			w.set(Memory, "limits.swap", "memory.swap.max", strconv.FormatInt(int64(*l.Swap), 10))
		}
		return
	}
	if l.Swap != nil && l.Memory == 0 {
		w.fail(errors.New("limits.swap: cgroup v1 limits swap only together with memory; set limits.memory too"))
		return
	}
	w.set(Memory, "limits.memory", "memory.limit_in_bytes", mem)
	if l.Swap == nil {
		return
	}
	both := int64(*l.Swap)
	if both > math.MaxInt64-int64(l.Memory) {
		w.fail(fmt.Errorf("limits.swap = %d: together with limits.memory it is over the kernel's range; lower it", both))
		return
	}
	w.set(Memory, "limits.swap", "memory.memsw.limit_in_bytes", strconv.FormatInt(both+int64(l.Memory), 10))
}

func (w *writer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// cpu writes the quota and the weight.
func (w *writer) cpu(l *policy.Limits) {
	v2 := w.v2(CPU)
	if l.CPUs != 0 {
		q, p := quota(l.CPUs)
		quota, period := strconv.FormatInt(q, 10), strconv.FormatInt(p, 10)
		if v2 {
			w.set(CPU, "limits.cpus", "cpu.max", quota+" "+period)
		} else {
			w.set(CPU, "limits.cpus", "cpu.cfs_period_us", period)
			w.set(CPU, "limits.cpus", "cpu.cfs_quota_us", quota)
		}
	}
	if l.CPUWeight == 0 {
		return
	}
	if v2 {
		w.set(CPU, "limits.cpu-weight", "cpu.weight", strconv.FormatUint(l.CPUWeight, 10))
		return
	}
	// The defaults, 100 and 1024, stand for each other.
	shares := min(max(l.CPUWeight*1024/100, 2), 262144)
	w.set(CPU, "limits.cpu-weight", "cpu.shares", strconv.FormatUint(shares, 10))
}

// cpuset writes the processors. On v1 both files start empty, and a process
// can't enter before they are filled: memory nodes come from the parent.
func (w *writer) cpuset(list string) {
	if w.err != nil {
		return
	}
	if !w.v2(Cpuset) {
		d := w.g.dir(Cpuset)
		mems, err := readBelow(d.parentFD, "cpuset.mems")
		if err != nil {
			w.fail(fileError("read", path.Join(d.dir, "cpuset.mems"), err))
			return
		}
		for mems != "" && mems[len(mems)-1] == '\n' {
			mems = mems[:len(mems)-1]
		}
		if mems == "" {
			w.fail(fmt.Errorf("limits.cpuset: %s is empty, so nothing can run below it; fill it and cpuset.cpus from the cgroup above", path.Join(d.dir, "cpuset.mems")))
			return
		}
		w.set(Cpuset, "limits.cpuset", "cpuset.mems", mems)
	}
	w.set(Cpuset, "limits.cpuset", "cpuset.cpus", list)
}
