package cli

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloche-sandbox/cloche/internal/inspect"
	"github.com/cloche-sandbox/cloche/internal/named"
)

// Row is a sandbox as `cloche ps` shows it. What is not known is nil.
type Row struct {
	Name    string    `json:"name"`
	State   string    `json:"state"` // "starting", "running", "paused", "ended"
	PID     int       `json:"pid"`   // of the command; 0: it does not run
	Created time.Time `json:"created"`
	Age     string    `json:"age"`
	Command string    `json:"command"`

	Processes *int64 `json:"processes"`
	Threads   *int64 `json:"threads"`
	Memory    *int64 `json:"memory_bytes"`
	CPU       *int64 `json:"cpu_ns"`

	MemoryLimit *int64   `json:"memory_limit_bytes"`
	CPULimit    *float64 `json:"cpu_limit"`
	PidsLimit   *int64   `json:"pids_limit"`

	Reason   string `json:"reason,omitempty"` // how it ended
	ExitCode *int   `json:"exit_code"`
}

// Ps is `cloche ps`; show prints the rows if it is not nil, as --format asks for.
func Ps(asJSON bool, show func([]Row) error) error {
	rows, err := psRows()
	switch {
	case err != nil:
		return err
	case show != nil:
		return show(rows)
	case asJSON:
		return writeJSON(os.Stdout, rows)
	}
	_, err = os.Stdout.Write(psTable(rows))
	return err
}

func psRows() ([]Row, error) {
	all, err := listNamed("ps")
	if err != nil {
		return nil, err
	}
	seen, err := inspect.Snap()
	if err != nil {
		return nil, fmt.Errorf("ps: %w", err)
	}
	meter, err := inspect.NewMeter()
	if err != nil {
		return nil, fmt.Errorf("ps: %w", err)
	}
	// Most of the time goes into the kernel, for each sandbox some twenty calls.
	rows := make([]Row, len(all))
	var next atomic.Int64
	var wait sync.WaitGroup
	for range runtime.NumCPU() {
		wait.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(all)); i = next.Add(1) - 1 {
				rows[i] = psRow(all[i], seen, meter)
			}
		})
	}
	wait.Wait()
	return rows, nil
}

func psRow(s *named.Sandbox, seen *inspect.Snapshot, meter *inspect.Meter) Row {
	r := Row{Name: s.Name, State: "starting", Created: s.Created, Age: age(s.Age()), Command: commandLine(s.Args, s.Name)}
	if s.Limits.Memory > 0 {
		r.MemoryLimit = new(int64(s.Limits.Memory))
	}
	if s.Limits.Pids > 0 {
		r.PidsLimit = new(s.Limits.Pids)
	}
	if s.Limits.CPUs > 0 {
		r.CPULimit = new(s.Limits.CPUs)
	}
	if s.Ended != nil {
		r.State, r.Reason = "ended", s.Ended.Reason
		if s.Ended.ExitCode >= 0 {
			r.ExitCode = new(s.Ended.ExitCode)
		}
		return r
	}
	init := s.InitPID()
	if init == 0 {
		return r
	}
	r.State, r.PID = "running", init
	if child := inspect.FirstChild(init); child != 0 {
		r.PID = child
	}
	sum := seen.Sum(r.PID, init)
	r.Processes, r.Threads, r.Memory, r.CPU = &sum.Processes, &sum.Threads, &sum.Memory, new(int64(sum.CPU))
	if s.Counted {
		// What its own cgroup counts is exact.
		if own, err := meter.Own(init); err == nil {
			if own.Frozen {
				r.State = "paused"
			}
			if own.Memory >= 0 {
				r.Memory = &own.Memory
			}
			if own.CPU >= 0 {
				r.CPU = new(int64(own.CPU))
			}
		}
	}
	return r
}

// age is a time for people, with its two largest units at most.
func age(d time.Duration) string {
	switch {
	case d < 0:
		return "0s" // the clock was set back
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

func psTable(rows []Row) []byte {
	cells := [][]string{{"NAME", "PID", "AGE", "STATE", "PROCS", "THREADS", "MEMORY", "LIMIT", "CPU TIME", "COMMAND"}}
	for _, r := range rows {
		pid, cpu, state := "-", "-", r.State
		if r.PID != 0 {
			pid = fmt.Sprint(r.PID)
		}
		if r.CPU != nil {
			cpu = time.Duration(*r.CPU).Round(10 * time.Millisecond).String()
		}
		if r.Reason != "" {
			state = r.Reason
			if r.ExitCode != nil {
				state = fmt.Sprintf("%s (%d)", r.Reason, *r.ExitCode)
			}
		}
		cells = append(cells, []string{
			r.Name, pid, r.Age, state, cell(r.Processes, decimal), cell(r.Threads, decimal), cell(r.Memory, inBytes), cell(r.MemoryLimit, inBytes), cpu, r.Command,
		})
	}
	return table(cells)
}
