package inspect

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/cloche-sandbox/cloche/policy"
)

// CapSet is a set of capabilities(7), a bit for each number.
type CapSet uint64

// Capabilities are the five sets of a thread.
type Capabilities struct {
	Inheritable CapSet `json:"inheritable"`
	Permitted   CapSet `json:"permitted"`
	Effective   CapSet `json:"effective"`
	Bounding    CapSet `json:"bounding"`
	Ambient     CapSet `json:"ambient"`
}

func capSet(hex string) CapSet {
	n, _ := strconv.ParseUint(hex, 16, 64)
	return CapSet(n)
}

// Names are the capabilities of a set; one that is newer than this program has a number.
func (s CapSet) Names() []string {
	known := policy.CapabilityNames()
	names := []string{}
	for n := range 64 {
		switch {
		case s&(1<<n) == 0:
		case n < len(known):
			names = append(names, known[n])
		default:
			names = append(names, "CAP_"+strconv.Itoa(n))
		}
	}
	return names
}

// MarshalJSON makes a list of names.
func (s CapSet) MarshalJSON() ([]byte, error) { return json.Marshal(s.Names()) }

// String names what is in the set, or what is missing where that is shorter.
func (s CapSet) String() string {
	all := CapSet(1)<<len(policy.CapabilityNames()) - 1
	switch missing := all &^ s; {
	case s == 0:
		return "none"
	case missing == 0:
		return "all " + strconv.Itoa(len(s.Names()))
	case len(missing.Names()) <= 5:
		return "all but " + strings.Join(missing.Names(), ", ")
	}
	return strings.Join(s.Names(), ", ")
}
