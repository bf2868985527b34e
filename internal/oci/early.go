package oci

import (
	"path/filepath"
)

// Called reports whether the program was called as an OCI runtime, by its name or
// as `cloche oci`, and the arguments that begin with the runtime's name.
func Called(args []string) ([]string, bool) {
	switch {
	case len(args) > 0 && filepath.Base(args[0]) == programName:
		return args, true
	case len(args) > 1 && args[1] == "oci":
		return args[1:], true
	}
	return nil, false
}

// Early reports whether a command line is of those that engines wait for, and needs
// nothing that is initialised late: systemd's bus, the statistics.
func Early(args []string) bool {
	inv, err := parse(args[1:])
	if err != nil || inv.help || inv.version || inv.verb == nil {
		return false
	}
	switch inv.verb.name {
	case "start", "state", "kill", "exec":
		return true
	case "create", "run":
		return !inv.g.SystemdCgroup
	case "delete":
		if inv.settle() != nil {
			return false
		}
		c, err := load(&inv.g, inv.args[0])
		return err != nil && !inv.g.SystemdCgroup || err == nil && c.Cgroup.Unit == ""
	}
	return false
}
