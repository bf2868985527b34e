package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// runPs lists the processes of a container: their pids, or the lines of ps(1)
// that are about them.
func runPs(i *invocation) (int, error) {
	c, err := load(&i.g, i.args[0])
	if err != nil {
		return exitError, err
	}
	g := c.cgroup()
	defer g.Close()
	pids, err := g.Processes(true)
	if err != nil {
		return exitError, err
	}
	switch i.format {
	case "json":
		return 0, json.NewEncoder(os.Stdout).Encode(pids)
	case "table":
	default:
		return exitError, errFormat
	}
	args := i.args[1:]
	if len(args) == 0 {
		args = []string{"-ef"}
	}
	out, err := exec.Command("ps", args...).CombinedOutput()
	if err != nil {
		return exitError, fmt.Errorf("%w: %s", err, out)
	}
	return 0, linesAbout(os.Stdout, string(out), pids)
}

// linesAbout writes the head of ps's table and the lines whose PID is one of pids.
func linesAbout(w io.Writer, text string, pids []int) error {
	head, rest, _ := strings.Cut(text, "\n")
	column := slices.Index(strings.Fields(head), "PID")
	if column < 0 {
		return errors.New("couldn't find PID field in ps output")
	}
	fmt.Fprintln(w, head)
	for line := range strings.Lines(rest) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) <= column {
			return fmt.Errorf("unable to parse pid: no column %d in %q", column+1, line)
		}
		pid, err := strconv.Atoi(fields[column])
		if err != nil {
			return fmt.Errorf("unable to parse pid: %w", err)
		}
		if slices.Contains(pids, pid) {
			fmt.Fprint(w, line)
		}
	}
	return nil
}
