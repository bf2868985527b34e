// Command bench times Cloche beside its peers and beside the kernel's floor.
//
// Every contender makes the same kind of sandbox (all namespaces, a read-only
// root, fresh /proc, /dev and /tmp) and runs /bin/true in it, by turns. The
// peers that take ten times as long have a turn in every tenth round.
//
//	go run ./bench [-rounds N] [-only NAMES] [-json FILE] [-check]
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/cloche-sandbox/cloche/bench/turns"
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

	r, err := turns.Run(list, rounds)
	if err != nil {
		return false, err
	}
	r.Judge(goals...)
	if r.Memory, err = memory(); err != nil {
		return false, fmt.Errorf("memory: %w", err)
	}
	judgeMemory(r)
	r.Print(os.Stdout)
	if file != "" {
		if err := r.Write(file); err != nil {
			return false, err
		}
	}
	return r.Met(), nil
}

// goals are ratios of medians.
var goals = []turns.Ratio{
	{A: "cloche run", B: "bwrap", Limit: 0.80},
	{A: "cloche run", B: "floor", Limit: 1.35},
	{A: "cloche build", B: "bwrap", Limit: 0.55},
	{A: "library", B: "floor from the library's process", Limit: 0.95},
	{A: "library, 1 GiB heap", B: "library", Limit: 1.10},
}
