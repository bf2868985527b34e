package cli

import "testing"

func TestDoctorDoesNotSendToTheDoctor(t *testing.T) {
	for remedy, want := range map[string]string{
		"":             "see the rows above",
		"raise ulimit": "raise ulimit",
		"`cloche doctor` tells what this host allows":                     "see the rows above",
		"use a newer kernel; `cloche doctor` tells what this host allows": "use a newer kernel; see the rows above",
	} {
		if got := aboveInstead(remedy); got != want {
			t.Errorf("%q: %q, want %q", remedy, got, want)
		}
	}
}
