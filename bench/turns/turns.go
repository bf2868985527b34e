// Package turns times contenders by turns, A B C A B C …, so that a machine that is busy
// for a while is busy for all of them. What counts are ratios of medians within one run.
package turns

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Contender is something that is timed.
type Contender struct {
	Name, What string
	Argv       []string                      // a program to start, or
	Turn       func() (time.Duration, error) // something else to do
	Missing    error                         // why it can't run here
	Seldom     bool                          // every tenth round only: it is slow, and the caches are its own afterwards
}

// once runs it and tells how long that took, from before fork(2) until after
// wait(2).
func (c *Contender) once() (time.Duration, error) {
	if c.Turn != nil {
		return c.Turn()
	}
	return Spawn(c.Argv)
}

// Spawn times a program. os/exec costs more and varies more: goroutines that
// copy, a pidfd, a poll.
func Spawn(argv []string) (time.Duration, error) { return SpawnWith(nil, argv) }

// SpawnWith is Spawn with more variables.
func SpawnWith(env, argv []string) (time.Duration, error) {
	attr := &syscall.ProcAttr{Env: append(os.Environ(), env...), Files: []uintptr{0, 1, 2}}
	start := time.Now()
	pid, err := syscall.ForkExec(argv[0], argv, attr)
	if err != nil {
		return 0, err
	}
	var status syscall.WaitStatus
	for {
		if _, err = syscall.Wait4(pid, &status, 0, nil); err != syscall.EINTR {
			break
		}
	}
	took := time.Since(start)
	if err != nil {
		return 0, err
	}
	if status != 0 {
		return 0, fmt.Errorf("%s: wait status %#x", argv[0], int(status))
	}
	return took, nil
}

// Try runs it once, keeping what it complains of.
func (c *Contender) Try() error {
	if c.Missing != nil {
		return c.Missing
	}
	if c.Turn != nil {
		_, err := c.Turn()
		return err
	}
	cmd := exec.Command(c.Argv[0], c.Argv[1:]...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		line, _, _ := bytes.Cut(bytes.TrimSpace(out), []byte("\n"))
		return fmt.Errorf("%w: %s", err, line)
	}
	return nil
}

// Run times all contenders that run here, in so many rounds.
func Run(list []*Contender, rounds int) (*Report, error) {
	r := &Report{Kernel: kernel(), GOARCH: runtime.GOARCH, CPUs: runtime.NumCPU(), Rounds: rounds, UID: os.Getuid()}
	var runs []*Contender
	for _, c := range list {
		// The first run fills caches and tells whether it works here at all.
		if err := c.Try(); err != nil {
			r.Contenders = append(r.Contenders, Timing{Name: c.Name, What: c.What, Failed: err.Error()})
			continue
		}
		runs = append(runs, c)
	}
	samples := make([]Sample, len(runs))
	for i := range rounds {
		progress(i, rounds)
		for k := range runs {
			// Each round begins with another one: nobody always follows the same.
			n := (k + i) % len(runs)
			if runs[n].Seldom && i%10 != 0 {
				continue
			}
			d, err := runs[n].once()
			if err != nil {
				return nil, fmt.Errorf("%s, round %d: %w", runs[n].Name, i, err)
			}
			samples[n] = append(samples[n], d)
		}
	}
	progress(rounds, rounds)
	for i, c := range runs {
		s := samples[i]
		r.Contenders = append(r.Contenders, Timing{Name: c.Name, What: c.What, Min: ms(s.Min()), Median: ms(s.Median()), P99: ms(s.P99())})
	}
	return r, nil
}

// progress is for people who wait; a log has no use for it.
func progress(i, n int) {
	if info, err := os.Stderr.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 || os.Getenv("TERM") == "" {
		return
	}
	if i == n {
		fmt.Fprint(os.Stderr, "\r\033[K")
	} else if i%10 == 0 {
		fmt.Fprintf(os.Stderr, "\rround %d of %d", i, n)
	}
}

func kernel() string {
	data, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(data))
}

// Repository is the folder that holds go.mod, at or above the working directory.
func Repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			return d, nil
		}
		if d == "/" {
			return "", fmt.Errorf("no go.mod at or above %s: run it inside the repository", dir)
		}
	}
}
