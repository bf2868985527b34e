package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"
)

// result is what came of a guest.
type result struct {
	kernel          string
	console, output string        // files
	ended           string        // "done" when all test programs ended
	took, cpu       time.Duration // of the emulator

	passed, failed, skipped []outcome
}

// outcome is that of one test.
type outcome struct{ name, why string }

// event is one of test2json's.
type event struct{ Action, Package, Test, Output string }

// read reads the tests' output. Each program's begins with a line that names it.
func (r *result) read() error {
	text, err := os.ReadFile(r.output)
	if err != nil {
		return err
	}
	for _, part := range strings.Split("\n"+strings.ReplaceAll(string(text), "\r\n", "\n"), "\n"+programMark)[1:] {
		name, rest, _ := strings.Cut(part, "\n")
		name = strings.TrimPrefix(name, "/suite/")
		if err := r.program(name, rest); err != nil {
			return err
		}
	}
	return nil
}

// programMark begins the line that names a test program.
const programMark = "=== PROGRAM "

// program takes one program's output in.
func (r *result) program(name, text string) error {
	cmd := exec.Command("go", "tool", "test2json", "-p", name)
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("go tool test2json: %w", err)
	}
	said := map[string]string{}
	dec := json.NewDecoder(bytes.NewReader(out))
	for dec.More() {
		var e event
		if err := dec.Decode(&e); err != nil {
			return err
		}
		o := outcome{name + " " + e.Test, strings.TrimSpace(said[e.Test])}
		switch e.Action {
		case "output":
			if m := logLine.FindStringSubmatch(e.Output); m != nil {
				said[e.Test] += m[1] + " "
			}
			if e.Test == "" && strings.Contains(e.Output, programFailed) {
				r.failed = append(r.failed, outcome{name, strings.TrimSpace(e.Output)})
			}
		case "run":
			said[e.Test] = ""
		case "pass":
			if e.Test != "" {
				r.passed = append(r.passed, o)
			}
		case "fail":
			if e.Test != "" {
				r.failed = append(r.failed, o)
			}
		case "skip":
			r.skipped = append(r.skipped, o)
		}
	}
	return nil
}

// programFailed is what init says of a program that did not exit with 0.
const programFailed = "=== ENDED "

var logLine = regexp.MustCompile(`^\s+\w+\.go:\d+: (.*)`)

func (r *result) counts() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", len(r.passed), len(r.failed), len(r.skipped))
}

// bad is what must not be: failures, an end before the end, and skips for which the guest
// gives no reason.
func (r *result) bad(g *guest) (lines []string) {
	for _, o := range r.failed {
		lines = append(lines, "failed: "+o.name+": "+clip(o.why))
	}
	for _, o := range r.skipped {
		if !g.mayLack(o.why) {
			lines = append(lines, "skipped, and should not: "+o.name+": "+clip(o.why))
		}
	}
	if r.ended != "done" {
		lines = append(lines, "it ended before the tests did: "+r.ended)
	}
	if len(r.passed) == 0 && len(r.failed) == 0 {
		lines = append(lines, "no test ran")
	}
	return lines
}

func (g *guest) mayLack(why string) bool {
	for _, l := range slices.Concat(without, g.lacks) {
		if regexp.MustCompile(l).MatchString(why) {
			return true
		}
	}
	return false
}

func clip(s string) string {
	if len(s) > 400 {
		return s[:400] + "…"
	}
	return s
}
