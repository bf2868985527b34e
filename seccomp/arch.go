package seccomp

import (
	"sort"

	"golang.org/x/sys/unix"
)

// Arch is an architecture's numbers.
type Arch struct {
	GOARCH string
	Audit  uint32 // AUDIT_ARCH_*
	x32    bool   // numbers from x32Bit on are another ABI's
	byName []syscallEntry
	byNR   []syscallEntry
}

type syscallEntry struct {
	name string
	nr   int32
}

// x32Bit marks the numbers of x86-64's x32 ABI, a second door to the same calls.
const x32Bit = 0x40000000

// The architectures with a table.
var (
	AMD64 = Arch{GOARCH: "amd64", Audit: unix.AUDIT_ARCH_X86_64, x32: true, byName: amd64ByName[:], byNR: amd64ByNR[:]}
	ARM64 = Arch{GOARCH: "arm64", Audit: unix.AUDIT_ARCH_AARCH64, byName: arm64ByName[:], byNR: arm64ByNR[:]}
)

// ArchByName is the architecture that Go calls goarch.
func ArchByName(goarch string) (Arch, bool) {
	switch goarch {
	case "amd64":
		return AMD64, true
	case "arm64":
		return ARM64, true
	}
	return Arch{}, false
}

// Number is the number of the named call; ok is false where the architecture has none.
func (a Arch) Number(name string) (nr int32, ok bool) {
	i := sort.Search(len(a.byName), func(i int) bool { return a.byName[i].name >= name })
	if i < len(a.byName) && a.byName[i].name == name {
		return a.byName[i].nr, true
	}
	return 0, false
}

// Name is the name of call nr.
func (a Arch) Name(nr int32) (name string, ok bool) {
	i := sort.Search(len(a.byNR), func(i int) bool { return a.byNR[i].nr >= nr })
	if i < len(a.byNR) && a.byNR[i].nr == nr {
		return a.byNR[i].name, true
	}
	return "", false
}

// last is the highest number of the table.
func (a Arch) last() int32 { return a.byNR[len(a.byNR)-1].nr }

// known reports whether any architecture has a call of this name.
func known(name string) bool {
	_, amd := AMD64.Number(name)
	_, arm := ARM64.Number(name)
	return amd || arm
}

// nearest is the known name that a mistyped one is most like, or "".
func nearest(name string) string {
	best, distance := "", 3
	for _, a := range []Arch{AMD64, ARM64} {
		for i := range a.byName {
			if d := editDistance(name, a.byName[i].name, distance); d < distance {
				best, distance = a.byName[i].name, d
			}
		}
	}
	return best
}

// editDistance is Levenshtein's, given up at limit.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
