package needs

import (
	"slices"
	"testing"
)

func TestReleases(t *testing.T) {
	for release, want := range map[string][]int{
		"6.1.0-56-cloud-amd64": {6, 1}, "5.19": {5, 19}, "6.12.95+deb12": {6, 12}, "7": {7}, "6.18-rc1": {6, 18},
	} {
		if got := numbers(release); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", release, got, want)
		}
	}
	if older("3.10") || !older("99.0") {
		t.Error("this kernel is older than 3.10, or newer than 99")
	}
}
