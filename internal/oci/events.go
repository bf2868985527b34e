package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cloche-sandbox/cloche/internal/oci/cgroups"
)

// event is a line of `events`.
type event struct {
	Type string `json:"type"` // "stats" or "oom"
	ID   string `json:"id"`
	Data any    `json:"data,omitempty"`
}

// readStats reads what a container has used, in runc's form. Package late has
// it, as what it needs costs time at the start of a program.
var readStats = func(cgroups.State) (any, error) {
	return nil, errors.New("the statistics of cgroups are not in this program")
}

// RegisterStats makes the reader of statistics known.
func RegisterStats(read func(cgroups.State) (any, error)) { readStats = read }

// runEvents prints what a container uses, once or again and again until it is
// gone, and that the kernel killed something in it for want of memory.
func runEvents(i *invocation) (int, error) {
	c, err := load(&i.g, i.args[0])
	if err != nil {
		return exitError, err
	}
	if i.interval <= 0 {
		return exitError, errors.New("duration interval must be greater than 0")
	}
	if c.Status() == Stopped {
		return exitError, fmt.Errorf("container with id %s is not running", c.ID)
	}
	out := json.NewEncoder(os.Stdout)
	if i.stats {
		data, err := readStats(c.Cgroup)
		if err != nil {
			return exitError, err
		}
		return 0, out.Encode(event{"stats", c.ID, data})
	}
	g := c.cgroup()
	defer g.Close()
	kills, err := g.WatchOOM()
	if err != nil {
		return exitError, err
	}
	tick := time.NewTicker(i.interval)
	defer tick.Stop()
	for {
		var e event
		select {
		case _, more := <-kills:
			if !more {
				return 0, nil
			}
			e = event{Type: "oom", ID: c.ID}
		case <-tick.C:
			data, err := readStats(c.Cgroup)
			if err != nil {
				reporter.write("error", err.Error())
				continue
			}
			e = event{"stats", c.ID, data}
		}
		if err := out.Encode(e); err != nil {
			return exitError, err
		}
	}
}
