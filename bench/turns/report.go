package turns

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"
)

// Report is one run of the benchmark, as -json writes it. Times are in
// milliseconds, memory is in KiB.
type Report struct {
	Kernel     string   `json:"kernel"`
	GOARCH     string   `json:"goarch"`
	CPUs       int      `json:"cpus"`
	UID        int      `json:"uid"`
	Rounds     int      `json:"rounds"`
	Contenders []Timing `json:"contenders"`
	Memory     []Memory `json:"memory"`
	Goals      []Goal   `json:"goals"`
}

// Timing is how long a contender took.
type Timing struct {
	Name   string  `json:"name"`
	What   string  `json:"what"`
	Min    float64 `json:"min_ms,omitempty"`
	Median float64 `json:"median_ms,omitempty"`
	P99    float64 `json:"p99_ms,omitempty"`
	Failed string  `json:"failed,omitempty"` // why it does not run here
}

// Memory is what a process of Cloche's holds while the command runs.
type Memory struct {
	Name         string `json:"name"`
	RSS          int    `json:"rss_kib"`
	PrivateDirty int    `json:"private_dirty_kib"`
}

// Goal is a promise and what came of it.
type Goal struct {
	Name  string  `json:"name"`
	Limit float64 `json:"limit"`
	Got   float64 `json:"got"`
	Met   bool    `json:"met"`
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Ratio is a goal: the median of A is at most Limit times that of B.
type Ratio struct {
	A, B  string
	Limit float64
}

// Judge adds what came of goals; one of which a contender did not run is left out.
func (r *Report) Judge(goals ...Ratio) {
	median := map[string]float64{}
	for _, t := range r.Contenders {
		median[t.Name] = t.Median
	}
	for _, g := range goals {
		if median[g.A] == 0 || median[g.B] == 0 {
			continue
		}
		got := median[g.A] / median[g.B]
		r.Goals = append(r.Goals, Goal{Name: g.A + " / " + g.B, Limit: g.Limit, Got: got, Met: got <= g.Limit})
	}
}

// Met reports whether no goal was missed.
func (r *Report) Met() bool {
	for _, g := range r.Goals {
		if !g.Met {
			return false
		}
	}
	return true
}

// Print writes the tables.
func (r *Report) Print(w io.Writer) {
	fmt.Fprintf(w, "kernel %s, %s, %d CPUs, uid %d; %d rounds by turns; milliseconds\n\n", r.Kernel, r.GOARCH, r.CPUs, r.UID, r.Rounds)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "contender\tmin\tmedian\tp99\twhat it does")
	for _, c := range r.Contenders {
		if c.Failed != "" {
			fmt.Fprintf(t, "%s\t-\t-\t-\tdoes not run here: %s\n", c.Name, c.Failed)
			continue
		}
		fmt.Fprintf(t, "%s\t%.2f\t%.2f\t%.2f\t%s\n", c.Name, c.Min, c.Median, c.P99, c.What)
	}
	t.Flush()
	fmt.Fprintln(w)
	if len(r.Memory) > 0 {
		fmt.Fprintln(t, "memory\tRSS KiB\tprivate dirty KiB")
	}
	for _, m := range r.Memory {
		fmt.Fprintf(t, "%s\t%d\t%d\n", m.Name, m.RSS, m.PrivateDirty)
	}
	if len(r.Memory) > 0 {
		t.Flush()
		fmt.Fprintln(w)
	}
	fmt.Fprintln(t, "goal\tat most\tis\t")
	for _, g := range r.Goals {
		verdict := "met"
		if !g.Met {
			verdict = "MISSED"
		}
		fmt.Fprintf(t, "%s\t%.2f\t%.2f\t%s\n", g.Name, g.Limit, g.Got, verdict)
	}
	t.Flush()
}

// Write keeps the report as JSON in a file.
func (r *Report) Write(file string) error {
	data, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}
