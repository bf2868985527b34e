package cli

import (
	"errors"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
	"github.com/cloche-sandbox/cloche/internal/host"
	"github.com/cloche-sandbox/cloche/policy"
)

// cgroupRows are the limits that need a cgroup, found out where the sandbox's
// own would be made.
func cgroupRows() []host.Row {
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
		r := host.Row{Group: group, Name: limit.name, Status: host.Works, Detail: limit.setting}
		if err := layout.Check(limit.limit, &policy.Limits{}); err != nil {
			r.Status, r.Cause = host.Missing, err.Error()
			var u *cgroup.Unavailable
			if errors.As(err, &u) {
				r.Cause, r.Remedy = u.Cause, u.Remedy
			}
		}
		rows = append(rows, r)
	}
	return rows
}
