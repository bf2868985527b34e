package sandbox

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The capability sets in /proc/TID/status, in its order.
const (
	inheritable = iota
	permitted
	effective
	bounding
	ambient
)

var capFields = [...]string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}

// thread is what /proc tells of a thread's confinement.
type thread struct {
	noNewPrivs bool
	filters    int // seccomp filters
	caps       [len(capFields)]uint64
}

// threads are a program's threads, by tid.
type threads map[string]thread

// lookAtThreads looks at every thread of this program.
func lookAtThreads() (threads, error) {
	tids, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return nil, fmt.Errorf("the program's threads can't be looked at: %w; mount a proc at /proc", err)
	}
	all := make(threads, len(tids))
	for _, t := range tids {
		s, err := readThread("/proc/self/task/" + t.Name() + "/status")
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // ended meanwhile
		}
		if err != nil {
			return nil, err
		}
		all[t.Name()] = s
	}
	if len(all) == 0 {
		return nil, errors.New("the program's threads can't be looked at: /proc/self/task is empty; mount a proc at /proc")
	}
	return all, nil
}

// readThread reads a thread's status, proc_pid_status(5).
func readThread(name string) (thread, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return thread{}, err
	}
	t, err := parseThread(string(text))
	if err != nil {
		return t, fmt.Errorf("%s: %w", name, err)
	}
	return t, nil
}

func parseThread(status string) (thread, error) {
	fields := map[string]string{}
	for line := range strings.Lines(status) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			fields[name] = strings.TrimSpace(value)
		}
	}
	t := thread{noNewPrivs: fields["NoNewPrivs"] == "1"}
	for i, name := range capFields {
		var err error
		if t.caps[i], err = strconv.ParseUint(fields[name], 16, 64); err != nil {
			return t, fmt.Errorf("no %s in it; mount a proc that shows it", name)
		}
	}
	count, ok := fields["Seccomp_filters"]
	if !ok { // before Linux 5.9: only whether there is a filter
		switch fields["Seccomp"] {
		case "0":
			return t, nil
		case "2":
			t.filters = 1
			return t, nil
		}
		return t, errors.New("neither Seccomp nor Seccomp_filters in it; use a kernel with CONFIG_SECCOMP_FILTER")
	}
	var err error
	if t.filters, err = strconv.Atoi(count); err != nil {
		return t, fmt.Errorf("its Seccomp_filters is no number: %w", err)
	}
	return t, nil
}

// wantedThread is how every thread has to look in the end.
type wantedThread struct {
	caps [len(capFields)]uint64
	// filters is one more than the thread had that loaded the filter; -1: there
	// was none to load. After TSYNC all threads have the filters of that one, so
	// it is more than any of them had before: what a program had loaded earlier
	// can't stand in for ours. (On kernels before 5.9, which do not tell the number,
	// a second filter is refused, as 1 is not 2.)
	filters int
}

// wanted is that of the confinement, but for filters.
func (c *confinement) wanted() wantedThread {
	w := wantedThread{filters: -1}
	for _, t := range c.before {
		for i := range w.caps {
			w.caps[i] = c.keep
		}
		w.caps[bounding] = t.caps[bounding]
		if t.caps[effective]&(1<<unix.CAP_SETPCAP) != 0 {
			w.caps[bounding] &= c.keep
		}
		break // they are all the same
	}
	return w
}

// proveAll looks at every thread, and again until no new one appeared: one that
// did was made by a thread that had perhaps not been looked at.
func (w wantedThread) proveAll() error {
	seen := map[string]bool{}
	for {
		all, err := lookAtThreads()
		if err != nil {
			return err
		}
		fresh := false
		for _, tid := range slices.Sorted(maps.Keys(all)) {
			if err := w.prove(all[tid]); err != nil {
				return fmt.Errorf("thread %s is not confined: %w", tid, err)
			}
			fresh = fresh || !seen[tid]
			seen[tid] = true
		}
		if !fresh {
			return nil
		}
	}
}

func (w wantedThread) prove(t thread) error {
	if !t.noNewPrivs {
		return errors.New("NoNewPrivs is 0 in its status, not 1")
	}
	for i, name := range capFields {
		if t.caps[i] != w.caps[i] {
			return fmt.Errorf("%s is %#x in its status, not %#x", name, t.caps[i], w.caps[i])
		}
	}
	if w.filters >= 0 && t.filters != w.filters {
		return fmt.Errorf("it has %d seccomp filters, not %d", t.filters, w.filters)
	}
	return nil
}

// lockedSecureBits make uid 0 mean nothing to capabilities(7), for good: all but
// SECBIT_KEEP_CAPS.
const lockedSecureBits = 0xef

// dropCapabilities leaves every thread what the policy grants, in all five sets.
// The bounding set can be lowered with CAP_SETPCAP alone; without it no_new_privs
// has to do: no exec gains what is not permitted before.
func (c *confinement) dropCapabilities() error {
	var now thread
	for _, now = range c.before {
		break // they are all the same
	}
	if now.caps[effective]&(1<<unix.CAP_SETPCAP) != 0 {
		for b := range uintptr(64) {
			if (now.caps[bounding]&^c.keep)>>b&1 == 0 {
				continue
			}
			if err := onAllThreads("PR_CAPBSET_DROP", unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, b, 0); err != nil {
				return err
			}
		}
		if c.keep == 0 {
			if err := onAllThreads("PR_SET_SECUREBITS", unix.SYS_PRCTL, unix.PR_SET_SECUREBITS, lockedSecureBits, 0); err != nil {
				return err
			}
		}
	}
	if err := onAllThreads("PR_CAP_AMBIENT_CLEAR_ALL", unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0); err != nil {
		return err
	}
	data := new([2]unix.CapUserData)
	for i := range data {
		half := uint32(c.keep >> (32 * i))
		data[i] = unix.CapUserData{Effective: half, Permitted: half, Inheritable: half}
	}
	if err := allThreadsError("capset", capsetAllThreads(data)); err != nil {
		return err
	}
	for b := range uintptr(64) {
		if c.keep>>b&1 == 0 {
			continue
		}
		if err := onAllThreads("PR_CAP_AMBIENT_RAISE", unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, b); err != nil {
			return err
		}
	}
	return nil
}
