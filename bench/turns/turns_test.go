package turns

import (
	"testing"
	"time"
)

func TestQuantiles(t *testing.T) {
	var s Sample
	for i := 100; i >= 1; i-- {
		s = append(s, time.Duration(i))
	}
	for _, c := range []struct {
		got, want time.Duration
	}{
		{s.Min(), 1},
		{s.Median(), 50},
		{s.P99(), 99},
		{s.Quantile(1), 100},
		{Sample{7}.Min(), 7},
		{Sample{7}.Median(), 7},
		{Sample{7}.P99(), 7},
		{Sample(nil).Median(), 0},
	} {
		if c.got != c.want {
			t.Errorf("%d, want %d", c.got, c.want)
		}
	}
}

// TestJudge: a goal is met at its limit, missed above, and left out when one of
// its contenders did not run.
func TestJudge(t *testing.T) {
	r := Report{Contenders: []Timing{
		{Name: "cloche build", Median: 1.1}, {Name: "bwrap", Median: 2}, {Name: "cloche run", Median: 1.7}, {Name: "floor", Failed: "gcc is not installed"},
	}}
	r.Judge(Ratio{"cloche run", "bwrap", 0.80}, Ratio{"cloche run", "floor", 1.35}, Ratio{"cloche build", "bwrap", 0.55})
	want := []Goal{
		{Name: "cloche run / bwrap", Limit: 0.80, Got: 1.7 / 2, Met: false},
		{Name: "cloche build / bwrap", Limit: 0.55, Got: 1.1 / 2, Met: true},
	}
	if len(r.Goals) != len(want) || r.Goals[0] != want[0] || r.Goals[1] != want[1] {
		t.Errorf("%+v, want %+v", r.Goals, want)
	}
	if r.Met() {
		t.Error("a missed goal counts as met")
	}
}
