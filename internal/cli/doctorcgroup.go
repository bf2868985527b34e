package cli

import (
	"errors"
	"os"
	"slices"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/policy"
)

// limitRows are the limits that need a cgroup, found out where `cloche run` has them: at
// this process, or in a scope of systemd's user manager, which this process enters for it.
func limitRows() []host.Row {
	rows := cgroupRows("")
	refused := slices.ContainsFunc(rows, func(r host.Row) bool { return r.Status == host.Missing })
	if refused && os.Geteuid() != 0 && EnterScope != nil && hasManager() && EnterScope("doctor") == nil {
		return cgroupRows(", in a scope of systemd's user manager")
	}
	return rows // the manager's own row tells why it does not help
}

// cgroupRows are those of where this process is; with is said of what works.
func cgroupRows(with string) []host.Row {
	const group = "limits"
	layout, err := cgroup.Detect()
	if err != nil {
		return []host.Row{{Group: group, Name: "cgroups", Status: host.Missing, Cause: err.Error(), Remedy: "mount /proc and a cgroup file system"}}
	}
	rows := []host.Row{{Group: group, Name: "cgroups", Status: host.Works, Detail: layout.String()}}
	for _, limit := range [...]struct{ name, limit, setting string }{
		{"memory", "memory", "--memory"},
		{"swap", "swap", "--swap"},
		{"share of the processors", "cpus", "--cpus"},
		{"weight against others", "cpu-weight", "limits.cpu-weight"},
		{"choice of processors", "cpuset", "--cpuset"},
		{"processes", "pids", "--pids"},
		{"disk", "io", "--io"},
		{"CPU time", "cpu-time", "--cpu-time"},
	} {
		r := host.Row{Group: group, Name: limit.name, Status: host.Works, Detail: limit.setting + with}
		if err := layout.Check(limit.limit, &policy.Limits{}); err != nil {
			r.Status, r.Detail, r.Cause = host.Missing, limit.setting, err.Error()
			var u *cgroup.Unavailable
			if errors.As(err, &u) {
				r.Cause, r.Remedy = u.Cause, u.Remedy
			}
		}
		rows = append(rows, r)
	}
	return rows
}
