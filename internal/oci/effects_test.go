package oci

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// TestSchedulingAndMemory asks the kernel for what the process is to have, of the container's own
// process and of one that joins it.
func TestSchedulingAndMemory(t *testing.T) {
	r := newRuntime(t)
	const id = "cloche-effects"
	_, err := os.Stat("/proc/self/numa_maps")
	numa := err == nil // else the kernel has no memory policies
	b := bundle(t, func(s *specs.Spec) {
		s.Domainname = "domain"
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
		s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 5000000, Nanosecs: 1}, "monotonic": {Secs: 7000000, Nanosecs: 2}}
		s.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux32}
		s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedBatch, Nice: 3, Flags: []specs.LinuxSchedulerFlag{specs.SchedFlagResetOnFork}}
		s.Process.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: 3}
		if !numa {
			return
		}
		s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolInterleave, Nodes: "0", Flags: []specs.MemoryPolicyFlagType{specs.MpolFStaticNodes}}
	})
	r.ok("run", "--detach", "--bundle", b, id)
	for _, pid := range []string{"1", "self"} {
		script := fmt.Sprintf(`p=%s
cut -d. -f1 /proc/uptime | sed 's/^[0-9]\{7,\}$/long/'
tr -s ' ' ' ' </proc/$p/timens_offsets
cat /proc/$p/personality
grep -E '^(policy|prio)' /proc/$p/sched | tr -d ' '
[ $p = self ] || ionice -p $p
ionice
[ ! -e /proc/$p/numa_maps ] || head -n1 /proc/$p/numa_maps | cut -d' ' -f2
cat /proc/sys/kernel/domainname`, pid)
		want := "long\nmonotonic 7000000 2\nboottime 5000000 1\n00000008\npolicy:3\nprio:123\nbest-effort: prio 3\n"
		if pid != "self" {
			want += "best-effort: prio 3\n"
		}
		if numa {
			want += "interleave=static:0\n"
		}
		want += "domain\n"
		if got := r.ok("exec", id, "sh", "-c", script); got != want {
			t.Errorf("process %s: got\n%s\nwant\n%s", pid, got, want)
		}
	}
}

// TestExecAffinity: execCPUAffinity is that of processes that join, and of no other.
func TestExecAffinity(t *testing.T) {
	r := newRuntime(t)
	var own unix.CPUSet
	if err := unix.SchedGetaffinity(0, &own); err != nil {
		t.Fatal(err)
	}
	var all []string
	for i := range 64 * len(own) {
		if own.IsSet(i) {
			all = append(all, fmt.Sprint(i))
		}
	}
	first, last := all[0], all[len(all)-1]
	const allowed = "grep Cpus_allowed_list /proc/self/status | cut -f2"
	for i, c := range []struct {
		affinity specs.CPUAffinity
		want     string
	}{
		{specs.CPUAffinity{Initial: first}, first},
		{specs.CPUAffinity{Final: last}, last},
		{specs.CPUAffinity{Initial: first, Final: last}, last},
	} {
		id := fmt.Sprint("cloche-affinity-", i)
		b := bundle(t, func(s *specs.Spec) {
			s.Process.ExecCPUAffinity = &c.affinity
			s.Process.Args = []string{"sh", "-c", allowed + " >/dev/shm/own; exec sleep 1000"}
		})
		r.ok("run", "--detach", "--bundle", b, id)
		if got := r.ok("exec", id, "sh", "-c", allowed); got != c.want+"\n" {
			t.Errorf("%+v: an exec may run on %s", c.affinity, got)
		}
		own := r.ok("exec", id, "sh", "-c", "until [ -s /dev/shm/own ]; do sleep 0.01; done; cat /dev/shm/own")
		if len(all) > 1 && own == c.want+"\n" {
			t.Errorf("%+v: the container's own process may run on %s", c.affinity, own)
		}
		r.ok("delete", "--force", id)
	}
	b := bundle(t, nil)
	r.ok("run", "--detach", "--bundle", b, "cloche-affinity")
	process := filepath.Join(t.TempDir(), "process.json")
	text := `{"args":["sh","-c","` + allowed + `"],"cwd":"/","env":["PATH=/bin"],"user":{"uid":0,"gid":0},"execCPUAffinity":{"final":"` + last + `"}}`
	if err := os.WriteFile(process, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := r.ok("exec", "--process", process, "cloche-affinity"); got != last+"\n" {
		t.Errorf("by a process of its own an exec may run on %s", got)
	}
}
