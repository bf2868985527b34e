package policy

import (
	"slices"
	"testing"
)

// TestLimitsByName: each name is a limit of its own, which can be told and taken out.
func TestLimitsByName(t *testing.T) {
	all := Limits{Memory: 1, Swap: new(Size), CPUs: 1, CPUWeight: 1, Pids: 1, IO: []IOLimit{{}}, Cpuset: "0"}
	if got := all.Set(); !slices.Equal(got, LimitNames()) {
		t.Errorf("%v, want %v", got, LimitNames())
	}
	for _, name := range LimitNames() {
		l := all
		l.Drop(name)
		want := slices.DeleteFunc(LimitNames(), func(n string) bool { return n == name })
		if got := l.Set(); !slices.Equal(got, want) {
			t.Errorf("without %s: %v, want %v", name, got, want)
		}
	}
	if got := (&Limits{}).Set(); len(got) != 0 {
		t.Errorf("nothing is set: %v", got)
	}
}
