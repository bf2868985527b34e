package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
	"github.com/cloche-sandbox/cloche/internal/inspect"
)

// cgroups writes a block for each hierarchy that says something.
func (s *sheet) cgroups(p *inspect.Process) {
	s.section("cgroups")
	if len(p.Cgroups) == 0 {
		s.text = append(s.text, "  none\n"...)
	}
	for i := range p.Cgroups {
		r := &p.Cgroups[i]
		title := "v2"
		if r.Version == 1 {
			title = "v1 " + strings.Join(r.Controllers, ",")
		}
		line := r.Path
		if r.Shared {
			line += " (yours too)"
		}
		if r.Frozen {
			line += ", frozen"
		}
		s.row(title, "%s", line)
		if r.Shared && r.Path == "/" {
			continue // the whole machine's
		}
		for _, v := range readingWords(r) {
			s.row("", "  %s", v)
		}
	}
}

// readingWords are the numbers of a cgroup, each with its limit.
func readingWords(r *cgroup.Reading) (words []string) {
	amount := func(name string, a *cgroup.Amount, show func(int64) string) {
		if a == nil || a.Used < 0 && a.Limit < 0 {
			return
		}
		w := name + " " + known(a.Used, show)
		if a.Peak >= 0 {
			w += ", at most " + show(a.Peak)
		}
		words = append(words, w+limited(a.Limit >= 0, show(a.Limit), a.LimitedBy, r.Dir))
	}
	amount("memory", r.Memory, inBytes)
	swap := "swap"
	if r.Version == 1 {
		swap = "memory and swap"
	}
	amount(swap, r.Swap, inBytes)
	amount("processes and threads", r.Pids, decimal)
	if c := r.CPU; c != nil {
		if c.Used >= 0 {
			words = append(words, "CPU time "+c.Used.Round(time.Millisecond).String()+limited(c.Limit > 0, fmt.Sprintf("%.4g processors", c.Limit), c.LimitedBy, r.Dir))
		} else if c.Limit > 0 {
			words = append(words, "CPU"+limited(true, fmt.Sprintf("%.4g processors", c.Limit), c.LimitedBy, r.Dir))
		}
		if c.Throttled > 0 {
			words = append(words, fmt.Sprintf("throttled in %d of %d periods, for %v", c.Throttled, c.Periods, c.ThrottledTime.Round(time.Millisecond)))
		}
	}
	if r.Cpuset != "" {
		words = append(words, "processors "+r.Cpuset)
	}
	if r.IO != nil && r.IO.Read+r.IO.Written > 0 {
		words = append(words, fmt.Sprintf("read %s, written %s", inBytes(r.IO.Read), inBytes(r.IO.Written)))
	}
	if r.OOMKills > 0 {
		words = append(words, fmt.Sprintf("%d processes killed for want of memory", r.OOMKills))
	}
	return words
}

func limited(is bool, limit, by, dir string) string {
	switch {
	case !is:
		return ", no limit"
	case by != dir:
		return " of " + limit + " (limit of " + by + ")"
	}
	return " of " + limit
}

func known(n int64, show func(int64) string) string {
	if n < 0 {
		return "unknown"
	}
	return show(n)
}

func decimal(n int64) string { return fmt.Sprint(n) }

// inBytes is a number of bytes for people, such as "1.5M".
func inBytes(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprint(n)
	}
	f, u := float64(n)/1024, 0
	for f >= 999.5 && u < len(units)-1 {
		f, u = f/1024, u+1
	}
	if f < 9.95 {
		return fmt.Sprintf("%.1f%c", f, units[u])
	}
	return fmt.Sprintf("%.0f%c", f, units[u])
}
