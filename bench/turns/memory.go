package turns

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Rollup reads what a process holds, proc_pid_smaps_rollup(5), or statm where that is refused.
func Rollup(name string, pid int) (Memory, error) {
	m := Memory{Name: name, PrivateDirty: -1}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		if data, err = os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid)); err != nil {
			return m, err
		}
		pages, err := strconv.Atoi(strings.Fields(string(data))[1])
		m.RSS = pages * os.Getpagesize() / 1024
		return m, err
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "Rss:":
			m.RSS, err = strconv.Atoi(f[1])
		case "Private_Dirty:":
			m.PrivateDirty, err = strconv.Atoi(f[1])
		}
		if err != nil {
			return m, err
		}
	}
	return m, nil
}
