package turns

import (
	"flag"
	"fmt"
	"os"
)

// Main is the main function of a benchmark: it reads the flags -rounds, -json and -check,
// beside those that the benchmark has defined, runs it, and prints what came of it. It exits with
// 1 when a goal is missed and that was asked for, and with 2 when there is no report.
func Main(name string, rounds int, run func(rounds int) (*Report, error)) {
	n := flag.Int("rounds", rounds, "how often each contender runs")
	file := flag.String("json", "", "write the report as JSON to this file too")
	check := flag.Bool("check", false, "exit with 1 when a goal is missed")
	flag.Parse()
	fail := func(err error) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(2)
	}
	if flag.NArg() > 0 {
		fail(fmt.Errorf("%q: no arguments are taken; see -help", flag.Arg(0)))
	}
	r, err := run(*n)
	if err != nil {
		fail(err)
	}
	r.Print(os.Stdout)
	if *file != "" {
		if err := r.Write(*file); err != nil {
			fail(err)
		}
	}
	if *check && !r.Met() {
		os.Exit(1)
	}
}
