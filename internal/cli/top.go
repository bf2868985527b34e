package cli

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cloche-sandbox/cloche/internal/inspect"
)

// Top is how `cloche top` was asked for.
type Top struct {
	Once, JSON bool
	Sort       string        // one of SortKeys
	Interval   time.Duration // from one look to the next
}

// SortKeys are the columns that a table can be sorted by, by the letter of the key.
var SortKeys = [...]string{"cpu", "memory", "pids", "io", "name"}

// minInterval keeps a table of many sandboxes from being all that the machine does.
const minInterval = 100 * time.Millisecond

// Run is `cloche top [NAME|PID…]`.
func (t *Top) Run(args []string) error {
	switch {
	case !slices.Contains(SortKeys[:], t.Sort):
		return fmt.Errorf("top: --sort %q: it is one of %s", clip(t.Sort), strings.Join(SortKeys[:], ", "))
	case t.Interval < minInterval:
		return fmt.Errorf("top: --interval %v: at least %v", t.Interval, minInterval)
	case t.JSON && !t.Once:
		return errors.New("top: --json is for a script: add --once")
	}
	w, err := newWatch(args)
	if err != nil {
		return err
	}
	if !t.Once {
		return t.live(w)
	}
	if err := w.look(); err != nil {
		return err
	}
	time.Sleep(t.Interval)
	if err := w.look(); err != nil {
		return err
	}
	t.sort(w.list, false)
	if t.JSON {
		return writeJSON(os.Stdout, w.list)
	}
	_, err = os.Stdout.Write(t.page(w.list, size{0, 0}))
	return err
}

// watch looks at subjects again and again.
type watch struct {
	args   []string
	meter  *inspect.Meter
	before map[string]reading
	list   []reading
}

func newWatch(args []string) (*watch, error) {
	m, err := inspect.NewMeter()
	if err != nil {
		return nil, fmt.Errorf("top: %w", err)
	}
	return &watch{args: args, meter: m}, nil
}

// look takes a reading of each, with the rates since the one before.
func (w *watch) look() error {
	all, err := findSubjects("top", w.args)
	if err != nil {
		return err
	}
	named := len(w.args) > 0 && w.before == nil // later one may have ended
	if w.list, err = measure("top", w.meter, all, named); err != nil {
		return err
	}
	now := map[string]reading{}
	for i := range w.list {
		r := &w.list[i]
		key := fmt.Sprint(r.PID, " ", r.Name)
		if old, ok := w.before[key]; ok {
			r.Rates = ratesOf(old.Usage, r.Usage)
		}
		now[key] = *r
	}
	w.before = now
	return nil
}

func ratesOf(old, now *inspect.Usage) *rates {
	seconds := now.When.Sub(old.When).Seconds()
	if seconds <= 0 {
		return nil // the clock was set
	}
	per := func(a, b *int64, unit float64) *float64 {
		if a == nil || b == nil {
			return nil
		}
		// A sum over processes gets smaller when one of them ends.
		n := float64(max(0, *b-*a)) * unit / seconds
		return &n
	}
	r := &rates{Read: per(old.Read, now.Read, 1), Written: per(old.Written, now.Written, 1)}
	if cpu := per(old.CPU, now.CPU, 100/1e9); cpu != nil {
		r.CPU = *cpu
	}
	if old.Periods != nil && now.Periods != nil && old.Throttled != nil && now.Throttled != nil {
		n := 0.0
		if periods := *now.Periods - *old.Periods; periods > 0 {
			n = 100 * float64(*now.Throttled-*old.Throttled) / float64(periods)
		}
		r.Throttled = &n
	}
	return r
}

// sort orders readings, the largest first, names from a to z.
func (t *Top) sort(list []reading, reverse bool) {
	value := func(r *reading) float64 {
		of := func(n *int64) float64 {
			if n == nil {
				return -1
			}
			return float64(*n)
		}
		switch {
		case t.Sort == "memory":
			return of(r.Memory)
		case t.Sort == "pids":
			return of(r.Pids)
		case r.Rates == nil:
			return -1
		case t.Sort == "cpu":
			return r.Rates.CPU
		}
		sum := 0.0
		for _, n := range [...]*float64{r.Rates.Read, r.Rates.Written} {
			if n != nil {
				sum += *n
			}
		}
		return sum
	}
	slices.SortStableFunc(list, func(a, b reading) int {
		n := strings.Compare(a.Name, b.Name)
		if t.Sort != "name" {
			n = cmp.Or(cmp.Compare(value(&b), value(&a)), n)
		}
		if reverse {
			n = -n
		}
		return n
	})
}

// size is that of a terminal; 0: unlimited.
type size struct{ columns, rows int }

// page is the table with its head, as large as the terminal.
func (t *Top) page(list []reading, at size) []byte {
	cpu, memory, tasks := 0.0, int64(0), int64(0)
	for i := range list {
		if r := &list[i]; r.Rates != nil {
			cpu += r.Rates.CPU
		}
		if n := list[i].Memory; n != nil {
			memory += *n
		}
		if n := list[i].Pids; n != nil {
			tasks += *n
		}
	}
	lines := []string{
		fmt.Sprintf("cloche top  %s  %d running  CPU %.0f%%  memory %s  pids %d  by %s", time.Now().Format(time.TimeOnly), len(list), cpu, inBytes(memory), tasks, t.Sort),
	}
	// 80 columns without the name are 69; it has what is left.
	name := 11
	for i := range list {
		name = max(name, len(list[i].Name))
	}
	if at.columns > 0 {
		name = min(name, max(11, at.columns-69))
	}
	lines = append(lines, topRow(name, "NAME", "PID", "CPU%", "MEM", "LIMIT", "PIDS", "READ/S", "WRITE/S", "PSI%", "THR%", "DENIED"))
	for i := range list {
		lines = append(lines, topLine(name, &list[i]))
	}
	if at.rows > 0 && len(lines) > at.rows-1 {
		hidden := len(lines) - (at.rows - 2)
		lines = append(lines[:at.rows-2], fmt.Sprintf("… %d more", hidden))
	}
	var text []byte
	for _, l := range lines {
		if at.columns > 0 && len(l) > at.columns {
			l = l[:at.columns]
		}
		text = append(appendPlain(text, l), '\n')
	}
	return text
}

func topRow(name int, cells ...string) string {
	widths := [...]int{name, 7, 6, 5, 5, 5, 6, 7, 5, 5, 6}
	line := fmt.Sprintf("%-*s", widths[0], cells[0])
	if len(cells[0]) > widths[0] {
		line = cells[0][:widths[0]-1] + "+"
	}
	for i, c := range cells[1:] {
		line += fmt.Sprintf(" %*s", widths[i+1], c)
	}
	return line
}

func topLine(name int, r *reading) string {
	percent := func(n *float64) string {
		if n == nil {
			return "-"
		}
		return fmt.Sprintf("%.1f", *n)
	}
	rate := func(n *float64) string {
		if n == nil {
			return "-"
		}
		return inBytes(int64(*n))
	}
	cpu, throttled, read, written := "-", "-", "-", "-"
	if r.Rates != nil {
		cpu, throttled, read, written = percent(&r.Rates.CPU), percent(r.Rates.Throttled), rate(r.Rates.Read), rate(r.Rates.Written)
	}
	// The worst of the three is what slows it down.
	pressure := "-"
	if r.Pressure != nil {
		worst := 0.0
		for _, w := range r.Pressure {
			worst = max(worst, w.Some10)
		}
		pressure = percent(&worst)
	}
	label := r.Name
	if r.Frozen {
		label += " (paused)"
	}
	return topRow(name, label, fmt.Sprint(r.PID), cpu, cell(r.Memory, inBytes), cell(r.MemoryMax, inBytes), cell(r.Pids, decimal),
		read, written, pressure, throttled, cell(r.Denied, decimal))
}
