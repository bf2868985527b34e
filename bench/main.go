// Command bench times Cloche beside its peers and beside the kernel's floor.
//
// Every contender makes the same kind of sandbox (all namespaces, a read-only
// root, fresh /proc, /dev and /tmp) and runs /bin/true in it. They are run by
// turns, A B C A B C …, so that a machine that is busy for a while is busy for
// all of them; what counts are ratios of medians within one run. The
// peers that take ten times as long have a turn in every tenth round.
//
//	go run ./bench [-rounds N] [-only NAMES] [-json FILE] [-check]
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == workerArg {
		worker(os.Args[2:])
		return
	}
	rounds := flag.Int("rounds", 300, "how often each contender runs")
	only := flag.String("only", "", "comma-separated contenders; all when empty")
	file := flag.String("json", "", "write the report as JSON to this file too")
	check := flag.Bool("check", false, "exit with 1 when a goal is missed")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "bench: %q: no arguments are taken; see -help\n", flag.Arg(0))
		os.Exit(2)
	}
	met, err := run(*rounds, *only, *file)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	if *check && !met {
		os.Exit(1)
	}
}

func run(rounds int, only, file string) (met bool, err error) {
	dir, err := os.MkdirTemp("", "cloche-bench-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	list, stop, err := contenders(dir, only)
	if err != nil {
		return false, err
	}
	defer stop()

	r := &Report{Kernel: kernel(), GOARCH: runtime.GOARCH, CPUs: runtime.NumCPU(), Rounds: rounds, UID: os.Getuid()}
	var runs []*contender
	for _, c := range list {
		// The first run fills caches and tells whether it works here at all.
		if err := c.try(); err != nil {
			r.Contenders = append(r.Contenders, Timing{Name: c.name, What: c.what, Failed: err.Error()})
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
			if runs[n].seldom && i%10 != 0 {
				continue
			}
			d, err := runs[n].once()
			if err != nil {
				return false, fmt.Errorf("%s, round %d: %w", runs[n].name, i, err)
			}
			samples[n] = append(samples[n], d)
		}
	}
	progress(rounds, rounds)
	for i, c := range runs {
		r.Contenders = append(r.Contenders, c.timing(samples[i]))
	}
	r.judge()
	if r.Memory, err = memory(); err != nil {
		return false, fmt.Errorf("memory: %w", err)
	}
	r.judgeMemory()
	r.print(os.Stdout)
	if file != "" {
		data, err := json.MarshalIndent(r, "", "\t")
		if err != nil {
			return false, err
		}
		if err := os.WriteFile(file, append(data, '\n'), 0o644); err != nil {
			return false, err
		}
	}
	return r.met(), nil
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

// repository is the folder that holds go.mod, at or above the working directory.
func repository() (string, error) {
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
