package cgroup

import (
	"testing"

	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/policy"
)

func BenchmarkDetect(b *testing.B) {
	for b.Loop() {
		if _, err := Detect(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPids is what a sandbox with a limit of processes pays.
func BenchmarkPids(b *testing.B) {
	lim := policy.Limits{Pids: 100}
	for b.Loop() {
		l, err := Detect()
		if err != nil {
			b.Fatal(err)
		}
		if m := l.Missing(lim); m != nil {
			needs.Elsewhere(b, "needs a cgroup controller pids")
		}
		g, err := l.Create("", lim, Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := g.Remove(); err != nil {
			b.Fatal(err)
		}
	}
}
