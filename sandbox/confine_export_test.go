package sandbox

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/policy"
)

// ProveAgain looks at all threads, as Confine does at its end, for one filter
// more than the calling thread had when the function was made.
func ProveAgain() (prove func() error, err error) {
	own, err := readThread("/proc/thread-self/status")
	if err != nil {
		return nil, err
	}
	w := wantedThread{caps: own.caps, filters: own.filters + 1}
	return w.proveAll, nil
}

// ProveCapabilities looks at all threads for capabilities alone.
func ProveCapabilities() error {
	all, err := lookAtThreads()
	if err != nil {
		return err
	}
	for _, t := range all {
		if t.caps[permitted]|t.caps[effective]|t.caps[inheritable]|t.caps[ambient] != 0 {
			return errors.New("a thread has capabilities")
		}
	}
	return nil
}

// CompileConfinement makes the filter for another kernel or architecture.
func CompileConfinement(p *policy.Policy, open bool, abi int, goarch string) ([]unix.SockFilter, error) {
	c := confinement{p: p, open: open, abi: abi}
	return c.compile(goarch)
}

// FiltersIn is the number of filters that a thread's status tells.
func FiltersIn(status string) (int, error) {
	t, err := parseThread(status)
	return t.filters, err
}
