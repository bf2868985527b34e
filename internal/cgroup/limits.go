package cgroup

import (
	"fmt"
	"math"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// maxPids is the most that pids.max takes beside "max", PID_MAX_LIMIT.
const maxPids = 4 << 20

// validate refuses values that no kernel takes, before anything is made.
func validate(l *policy.Limits) error {
	bad := func(name, value, why string) error {
		return fmt.Errorf("limits.%s = %s: %s", name, value, why)
	}
	switch {
	case l.Memory < 0:
		return bad("memory", strconv.FormatInt(int64(l.Memory), 10), "a number of bytes can't be negative; leave it out for no limit")
	case l.Swap != nil && *l.Swap < 0:
		return bad("swap", strconv.FormatInt(int64(*l.Swap), 10), "a number of bytes can't be negative; leave it out for no limit")
	case l.Pids < 0:
		return bad("pids", strconv.FormatInt(l.Pids, 10), "a number of processes can't be negative; leave it out for no limit")
	case l.CPUs != 0 && (math.IsNaN(l.CPUs) || l.CPUs < 0.001 || l.CPUs > 1e6):
		return bad("cpus", strconv.FormatFloat(l.CPUs, 'g', -1, 64), "cpu.max takes 0.001 to 1000000 processors")
	case l.CPUWeight > 10000:
		return bad("cpu-weight", strconv.FormatUint(l.CPUWeight, 10), "cpu.weight takes 1 to 10000")
	}
	if l.Cpuset != "" && !cpuList(l.Cpuset) {
		return bad("cpuset", strconv.Quote(l.Cpuset), "cpuset.cpus takes a list such as \"0-2,7\"")
	}
	return nil
}

// cpuList reports whether s is a list as cpuset(7) has it, "0-2,7".
func cpuList(s string) bool {
	digits, dash, comma := 0, false, true
	for i := 0; i <= len(s); i++ {
		switch {
		case i == len(s) || s[i] == ',':
			if digits == 0 {
				return false
			}
			digits, dash, comma = 0, false, true
		case s[i] >= '0' && s[i] <= '9':
			digits++
			comma = false
			if digits > 6 {
				return false
			}
		case s[i] == '-' && !dash && !comma && digits > 0:
			digits, dash = 0, true
		default:
			return false
		}
	}
	return true
}

// quota is a number of processors as microseconds in a period. The kernel wants
// a quota of 1 ms at least, so a small share gets a longer period.
func quota(cpus float64) (quota, period int64) {
	period = 100_000
	if cpus*float64(period) < 1000 {
		period = 1_000_000
	}
	return max(1000, int64(math.Round(cpus*float64(period)))), period
}

// What limits of v1 are not.
const (
	noteBuffered = "limits.io: cgroup v1 sees only reads and writes that bypass the page cache (O_DIRECT); writes that the kernel flushes later are not limited"
	noteSwap     = "limits.swap: cgroup v1 limits memory and swap together, so what the command leaves of its memory it may use as swap"
)

// note tells which limits hold less here than they promise; a dry run knows it too.
func (g *Group) note(l *policy.Limits) {
	v1 := func(c Controller) bool { return g.by[c] >= 0 && g.dirs[g.by[c]].h.Version == 1 }
	if l.Swap != nil && v1(Memory) {
		g.Notes = append(g.Notes, noteSwap)
	}
	if len(l.IO) != 0 && v1(IO) {
		g.Notes = append(g.Notes, noteBuffered)
	}
}

// limit writes all limits.
func (g *Group) limit(l *policy.Limits, o Options) error {
	w := &writer{g: g}
	if l.Memory != 0 || l.Swap != nil {
		w.memory(l)
	}
	if l.CPUs != 0 || l.CPUWeight != 0 {
		w.cpu(l)
	}
	if l.Pids != 0 {
		n := l.Pids
		if !o.NoInit {
			n++
		}
		value := "max"
		if n < maxPids {
			value = strconv.FormatInt(n, 10)
		}
		w.set(Pids, "limits.pids", "pids.max", value)
	}
	if l.Cpuset != "" {
		w.cpuset(l.Cpuset)
	}
	for i := range l.IO {
		w.io(&l.IO[i])
	}
	return w.err
}

// writer writes limits until one fails.
type writer struct {
	g   *Group
	err error
}

// v2 reports whether a controller is cgroup2's.
func (w *writer) v2(c Controller) bool { return w.g.dir(c).h.Version == 2 }

// set writes one file, and puts into words why the kernel did not take it.
func (w *writer) set(c Controller, setting, file, value string) {
	if w.err != nil {
		return
	}
	d := w.g.dir(c)
	if err := writeBelow(d.fd, file, value); err == unix.ENOENT {
		w.err = lacks(strings.TrimPrefix(setting, "limits."), c, d.h)
	} else if err != nil {
		w.err = fmt.Errorf("%s: write %q to %s: %w: %s", setting, value, path.Join(d.dir, w.g.Name, file), err, whyRefused(err, file, d))
	}
}

func whyRefused(err error, file string, d *groupDir) string {
	switch err {
	case unix.EACCES, unix.EPERM:
		return "the file is not delegated to this user; chown it, or run as its owner"
	case unix.EBUSY:
		return "more is in use already than the limit allows"
	case unix.ENODEV:
		return "there is no such block device"
	case unix.ENOSPC:
		return "no processor or memory node is left in it"
	case unix.EINVAL, unix.ERANGE:
		switch file {
		case "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.max":
			return "the value is out of range, or more than the cgroup above (" + d.dir + ") may use; lower limits.cpus"
		case "cpuset.cpus":
			return "a processor of the list does not exist or is not online; `nproc --all` tells how many there are"
		}
		return "the value is out of range"
	}
	return "see cgroups(7)"
}
