// Command seccomp measures filters of package seccomp beside libseccomp's, for the same
// profile: Docker's default. Ratios are within one run.
//
//	go run ./bench/seccomp -check
//	go run ./bench/seccomp -record bench/seccomp/trace.txt
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/libseccomp"
	"github.com/cloche-sandbox/cloche/seccomp"
	"github.com/cloche-sandbox/cloche/seccomp/profile"
)

func main() {
	check := flag.Bool("check", false, "exit with 1 when a goal is missed")
	record := flag.String("record", "", "record a trace of real programs to this file, with strace(1)")
	child := flag.String("child", "", "used by the program itself")
	rounds := flag.Int("rounds", 30, "how often filters are loaded and called, by turns")
	flag.Parse()
	var err error
	switch {
	case *child != "":
		err = inChild(*child)
	case *record != "":
		err = recordTrace(*record)
	default:
		var missed bool
		missed, err = compare(*rounds)
		if err == nil && missed && *check {
			os.Exit(1)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/seccomp:", err)
		os.Exit(1)
	}
}

// rival is one program for the profile.
type rival struct {
	name string
	prog []unix.SockFilter
}

// rivals are programs of which Verify has proven that they say the same.
func rivals() (list []rival, p seccomp.Profile, err error) {
	archs := []seccomp.Arch{seccomp.AMD64}
	p, _, err = profile.Docker(profile.Host{Arch: seccomp.AMD64, Exact: true})
	if err != nil {
		return nil, p, err
	}
	p.Unknown = p.Default // libseccomp has no other answer for calls that are newer
	prog, err := seccomp.Compile(p, archs...)
	if err != nil {
		return nil, p, err
	}
	list = append(list, rival{"cloche", prog})
	dir, err := os.MkdirTemp("", "cloche-bench-")
	if err != nil {
		return nil, p, err
	}
	defer os.RemoveAll(dir)
	c, err := libseccomp.Start(dir)
	if err != nil {
		return nil, p, err
	}
	defer c.Close()
	for _, tree := range []bool{false, true} {
		f := libseccomp.Filter{Default: uint32(p.Default), BadArch: uint32(p.BadArch), Tree: tree}
		for _, g := range p.Groups {
			for _, rule := range g.Rules {
				f.Rules = append(f.Rules, told(rule, p.Default)...)
			}
		}
		prog, err := c.Compile(&f)
		if err != nil {
			return nil, p, err
		}
		name := "libseccomp"
		if tree {
			name = "libseccomp, tree"
		}
		list = append(list, rival{name, prog})
	}
	for _, r := range list {
		if err := seccomp.Verify(p, archs, r.prog); err != nil {
			return nil, p, fmt.Errorf("%s: %w", r.name, err)
		}
	}
	return list, p, nil
}

// told is a rule in libseccomp's terms.
func told(rule seccomp.Rule, otherwise seccomp.Action) (list []libseccomp.Rule) {
	for _, name := range rule.Syscalls {
		nr, ok := seccomp.AMD64.Number(name)
		if !ok || rule.Action == otherwise { // libseccomp refuses what says nothing
			continue
		}
		out := libseccomp.Rule{Action: uint32(rule.Action), NR: nr}
		for _, a := range rule.Args {
			out.Compare(a.Index, int(a.Op), a.Value, a.Mask, a.Low32)
		}
		list = append(list, out)
	}
	return list
}

func compare(rounds int) (missed bool, err error) {
	if runtime.GOARCH != "amd64" {
		return false, fmt.Errorf("the trace and libseccomp's programs are for amd64")
	}
	list, p, err := rivals()
	if err != nil {
		return false, err
	}
	trace, err := readTrace()
	if err != nil {
		return false, err
	}
	g := &goals{}
	fmt.Printf("Docker's default profile for x86_64; all programs are proven to say the same\n\n")
	fmt.Printf("%-18s %12s %26s %14s\n", "", "instructions", "run for a call of the trace", "of those alone")
	run := make([]float64, len(list))
	for i, r := range list {
		all, judged, _ := trace.instructions(r.prog)
		run[i] = judged
		fmt.Printf("%-18s %12d %26.1f %14.1f\n", r.name, len(r.prog), all, judged)
	}
	fmt.Printf("(a trace of %d calls; in the last column the %.1f %% that the kernel's cache does not answer)\n\n", trace.calls, 100*trace.judged(list[0].prog))
	g.at("instructions run / the better of libseccomp's", run[0]/min(run[1], run[2]), 0.5)
	g.at("length / the shorter of libseccomp's", float64(len(list[0].prog))/float64(min(len(list[1].prog), len(list[2].prog))), 1)
	g.at("compiling, ms", compileTime(p).Seconds()*1e3, 1)

	times, err := inTurns(list, rounds)
	if err != nil {
		return false, err
	}
	fmt.Printf("%-18s", "")
	for _, m := range measures {
		fmt.Printf(" %14s", m)
	}
	fmt.Println()
	for i, r := range list {
		fmt.Printf("%-18s", r.name)
		for k := range measures {
			fmt.Printf(" %14.1f", times[i][k])
		}
		fmt.Println()
	}
	fmt.Println()
	g.at("load / libseccomp's tree", times[0][0]/times[2][0], 0.7)
	for k := 1; k < len(measures); k++ {
		// Two calls that cost the same differ by a little in every run.
		g.at(measures[k]+" / the better of libseccomp's", times[0][k]/min(times[1][k], times[2][k]), 1.02)
	}
	return g.missed, nil
}

func compileTime(p seccomp.Profile) time.Duration {
	var times []time.Duration
	for range 200 {
		began := time.Now()
		if _, err := seccomp.Compile(p, seccomp.AMD64); err != nil {
			panic(err)
		}
		times = append(times, time.Since(began))
	}
	slices.Sort(times)
	return times[len(times)/2]
}

// goals prints what was wanted and what is.
type goals struct{ missed bool }

func (g *goals) at(what string, is, most float64) {
	verdict := "met"
	if is > most {
		verdict, g.missed = "MISSED", true
	}
	fmt.Printf("goal: %-48s at most %5.2f  is %5.2f  %s\n", what, most, is, verdict)
}
