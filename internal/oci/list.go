package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"
)

// containerState is what `state` and `list` print: the state of the
// specification, and what runc adds to it, in runc's order.
type containerState struct {
	Version     string            `json:"ociVersion"`
	ID          string            `json:"id"`
	Pid         int               `json:"pid"`
	Status      string            `json:"status"`
	Bundle      string            `json:"bundle"`
	Rootfs      string            `json:"rootfs"`
	Created     time.Time         `json:"created"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Owner       string            `json:"owner"`
}

var errFormat = errors.New("invalid format option")

func runState(i *invocation) (int, error) {
	s, err := StateOf(&i.g, i.args[0])
	if err != nil {
		return exitError, err
	}
	return 0, s.print(os.Stdout)
}

func (s *State) printed() containerState {
	return containerState{
		Version: s.Version, ID: s.ID, Pid: s.Pid, Status: string(s.Status), Bundle: s.Bundle,
		Rootfs: s.Rootfs, Created: s.Created, Annotations: s.Annotations, Owner: s.Owner,
	}
}

func (s *State) print(w io.Writer) error {
	data, err := json.MarshalIndent(s.printed(), "", "  ")
	if err == nil {
		_, err = w.Write(data)
	}
	return err
}

func runList(i *invocation) (int, error) {
	containers, err := list(&i.g)
	if err != nil {
		return exitError, err
	}
	var all []containerState
	for _, c := range containers {
		all = append(all, c.report().printed())
	}
	switch {
	case i.quiet:
		for k := range all {
			fmt.Println(all[k].ID)
		}
	case i.format == "json":
		return 0, json.NewEncoder(os.Stdout).Encode(all)
	case i.format == "table":
		return 0, table(os.Stdout, all)
	default:
		return exitError, errFormat
	}
	return 0, nil
}

func table(to io.Writer, all []containerState) error {
	w := tabwriter.NewWriter(to, 12, 1, 3, ' ', 0)
	fmt.Fprint(w, "ID\tPID\tSTATUS\tBUNDLE\tCREATED\tOWNER\n")
	for i := range all {
		c := &all[i]
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", c.ID, c.Pid, c.Status, c.Bundle, c.Created.Format(time.RFC3339Nano), c.Owner)
	}
	return w.Flush()
}
