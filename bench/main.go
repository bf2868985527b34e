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
	only := flag.String("only", "", "comma-separated contenders; all when empty")
	turns.Main("bench", 300, func(rounds int) (*turns.Report, error) { return run(rounds, *only) })
}

func run(rounds int, only string) (*turns.Report, error) {
	dir, err := os.MkdirTemp("", "cloche-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	list, stop, err := contenders(dir, only)
	if err != nil {
		return nil, err
	}
	defer stop()

	r, err := turns.Run(list, rounds)
	if err != nil {
		return nil, err
	}
	r.Judge(goals...)
	if r.Memory, err = memory(); err != nil {
		return nil, fmt.Errorf("memory: %w", err)
	}
	judgeMemory(r)
	return r, nil
}

// goals are ratios of medians.
var goals = []turns.Ratio{
	{A: "cloche run", B: "bwrap", Limit: 0.80},
	{A: "cloche run", B: "floor", Limit: 1.35},
	{A: "cloche exec", B: "cloche run", Limit: 0.60},
	{A: "cloche build", B: "bwrap", Limit: 0.55},
	{A: "library", B: "floor from the library's process", Limit: 0.95},
	{A: "library, 1 GiB heap", B: "library", Limit: 1.10},
}
