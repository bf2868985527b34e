package cli

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/cloche-sandbox/cloche/internal/inspect"
)

// reading is the usage of one subject, as JSON has it.
type reading struct {
	Name string `json:"name"`
	PID  int    `json:"pid"`
	*inspect.Usage
	Rates *rates `json:"rates,omitempty"`
}

// rates are what changed from one reading to the next, for each second.
type rates struct {
	CPU       float64  `json:"cpu_percent"`              // 100 is one processor
	Throttled *float64 `json:"throttled_percent"`        // of the quota's periods
	Read      *float64 `json:"read_bytes_per_second"`    // from block devices
	Written   *float64 `json:"written_bytes_per_second"` // to block devices
}

// Stats is `cloche stats [NAME|PID…]`.
func Stats(args []string, asJSON bool) error {
	all, err := findSubjects("stats", args)
	if err != nil {
		return err
	}
	m, err := inspect.NewMeter()
	if err != nil {
		return fmt.Errorf("stats: %w", err)
	}
	list, err := measure("stats", m, all, len(args) > 0)
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(os.Stdout, list)
	}
	_, err = os.Stdout.Write(statsTable(list))
	return err
}

// measure reads all subjects. One that was named has to be there.
func measure(verb string, m *inspect.Meter, all []subject, named bool) ([]reading, error) {
	if err := m.Look(); err != nil {
		return nil, fmt.Errorf("%s: %w", verb, err)
	}
	list := []reading{}
	for _, s := range all {
		u, err := m.Usage(s.pid, s.start)
		if err != nil {
			if named {
				return nil, fmt.Errorf("%s: %w", verb, err)
			}
			continue // it has ended since it was listed
		}
		u.Denied = s.denied
		list = append(list, reading{Name: s.name, PID: s.pid, Usage: u})
	}
	return list, nil
}

// statsTable has what was used so far.
func statsTable(list []reading) []byte {
	rows := [][]string{{"NAME", "PID", "CPU TIME", "MEMORY", "LIMIT", "PIDS", "LIMIT", "READ", "WRITTEN", "THROTTLED", "OOM", "DENIED"}}
	for _, r := range list {
		throttled := "-"
		if r.Periods != nil && r.Throttled != nil {
			throttled = fmt.Sprintf("%d/%d", *r.Throttled, *r.Periods)
		}
		cpu := "-"
		if r.CPU != nil {
			cpu = time.Duration(*r.CPU).Round(time.Millisecond).String()
		}
		rows = append(rows, []string{
			r.Name, fmt.Sprint(r.PID), cpu, cell(r.Memory, inBytes), cell(r.MemoryMax, inBytes), cell(r.Pids, decimal), cell(r.PidsMax, decimal),
			cell(r.Read, inBytes), cell(r.Written, inBytes), throttled, cell(r.OOMKills, decimal), cell(r.Denied, decimal),
		})
	}
	return table(rows)
}

// cell is a number, or - where it is not known.
func cell(n *int64, show func(int64) string) string {
	if n == nil {
		return "-"
	}
	return show(*n)
}

// table lays rows out in columns; all but the first, and one of commands, are set to the right.
func table(rows [][]string) (text []byte) {
	width := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, c := range r {
			width[i] = max(width[i], len(c))
		}
	}
	for _, r := range rows {
		line := fmt.Sprintf("%-*s", width[0], r[0])
		for i, c := range r[1:] {
			if rows[0][i+1] == "COMMAND" {
				line += "  " + c
			} else {
				line += fmt.Sprintf("  %*s", width[i+1], c)
			}
		}
		text = append(appendPlain(text, strings.TrimRight(line, " ")), '\n')
	}
	return text
}
