package turns

import (
	"slices"
	"time"
)

// Sample holds one contender's wall times, in the order of the rounds.
type Sample []time.Duration

// Quantile is the value that a share q of the sample, 0 to 1, does not exceed
// (nearest rank). It is 0 for an empty sample.
func (s Sample) Quantile(q float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	i := int(q*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}

// Min, Median and P99 are what a table shows of a sample.
func (s Sample) Min() time.Duration    { return s.Quantile(0) }
func (s Sample) Median() time.Duration { return s.Quantile(0.5) }
func (s Sample) P99() time.Duration    { return s.Quantile(0.99) }
