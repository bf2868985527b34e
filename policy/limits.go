package policy

import "slices"

// Set lists the limits that are set, by the names that WhereAvailable uses and in
// the order of LimitNames.
func (l *Limits) Set() []string {
	return slices.DeleteFunc(LimitNames(), func(name string) bool { return !l.has(name) })
}

// has reports whether the limit with this name was asked for.
func (l *Limits) has(name string) bool {
	switch name {
	case "memory":
		return l.Memory != 0
	case "swap":
		return l.Swap != nil
	case "cpus":
		return l.CPUs != 0
	case "cpu-weight":
		return l.CPUWeight != 0
	case "pids":
		return l.Pids != 0
	case "io":
		return len(l.IO) != 0
	case "cpuset":
		return l.Cpuset != ""
	}
	return false
}

// Drop takes one limit out, by its name; those of the same controller stay.
func (l *Limits) Drop(name string) {
	switch name {
	case "memory":
		l.Memory = 0
	case "swap":
		l.Swap = nil
	case "cpus":
		l.CPUs = 0
	case "cpu-weight":
		l.CPUWeight = 0
	case "pids":
		l.Pids = 0
	case "io":
		l.IO = nil
	case "cpuset":
		l.Cpuset = ""
	}
}

// MayMiss reports whether the sandbox may go without a limit that can't be had.
func (l *Limits) MayMiss(name string) bool { return slices.Contains(l.WhereAvailable, name) }
