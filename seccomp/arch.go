package seccomp

import (
	"iter"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// Arch is a system call ABI: its numbers, and how a filter recognises it. Two
// are equal (==) when they are the same.
//
// On a BigEndian one, s390x, the two words of each 64-bit field of struct
// seccomp_data are swapped: the low word of argument i, which little-endian
// machines have at offset 16+8*i, is at 16+8*i+4 there, and the high word before
// it. The fields of one word, nr and arch, stay where they are.
//
// On the 32-bit ones, x86 and ARM, the high word of an argument is 0, also under
// a 64-bit kernel. x32 passes 64 bits.
type Arch struct {
	GOARCH    string // Go's name for it, "" for x32, which Go has none for
	Audit     uint32 // AUDIT_ARCH_*, the arch field of struct seccomp_data
	BigEndian bool

	name   string
	column int   // in the table of calls
	bit    int32 // that all its numbers carry, or 0
	x32    bool  // shares Audit with x32: numbers with x32Bit are the other's
}

// call is a row of the table.
type call struct {
	name    string
	widths  string // a digit for each argument: the bytes of it that the kernel looks at
	numbers [8]int32
}

// x32Bit marks the numbers of x86-64's x32 ABI, a second door to the same calls.
const x32Bit = 0x40000000

// The architectures with a table. X32's numbers carry the bit 0x40000000, as the
// filter sees them, and its Audit is AMD64's.
var (
	AMD64   = Arch{GOARCH: "amd64", Audit: unix.AUDIT_ARCH_X86_64, name: "x86_64", column: 0, x32: true}
	X86     = Arch{GOARCH: "386", Audit: unix.AUDIT_ARCH_I386, name: "x86", column: 1}
	X32     = Arch{Audit: unix.AUDIT_ARCH_X86_64, name: "x32", column: 2, bit: x32Bit}
	ARM64   = Arch{GOARCH: "arm64", Audit: unix.AUDIT_ARCH_AARCH64, name: "aarch64", column: 3}
	ARM     = Arch{GOARCH: "arm", Audit: unix.AUDIT_ARCH_ARM, name: "arm", column: 4}
	RISCV64 = Arch{GOARCH: "riscv64", Audit: unix.AUDIT_ARCH_RISCV64, name: "riscv64", column: 5}
	S390X   = Arch{GOARCH: "s390x", Audit: unix.AUDIT_ARCH_S390X, BigEndian: true, name: "s390x", column: 6}
	PPC64LE = Arch{GOARCH: "ppc64le", Audit: unix.AUDIT_ARCH_PPC64LE, name: "ppc64le", column: 7}
)

// Archs is every architecture with a table.
func Archs() []Arch {
	return []Arch{AMD64, X86, X32, ARM64, ARM, RISCV64, S390X, PPC64LE}
}

// ArchByName finds an architecture by the name that Go gives it ("amd64"), that
// uname(2) gives its machines ("x86_64", "armv7l"), or that libseccomp and OCI
// profiles give it ("SCMP_ARCH_X86_64").
func ArchByName(name string) (Arch, bool) {
	switch name {
	case "amd64", "x86_64", "SCMP_ARCH_X86_64":
		return AMD64, true
	case "386", "x86", "i386", "i486", "i586", "i686", "SCMP_ARCH_X86":
		return X86, true
	case "x32", "SCMP_ARCH_X32":
		return X32, true
	case "arm64", "aarch64", "SCMP_ARCH_AARCH64":
		return ARM64, true
	case "arm", "armv5tel", "armv5tejl", "armv6l", "armv7l", "armv8l", "SCMP_ARCH_ARM":
		return ARM, true
	case "riscv64", "SCMP_ARCH_RISCV64":
		return RISCV64, true
	case "s390x", "SCMP_ARCH_S390X":
		return S390X, true
	case "ppc64le", "SCMP_ARCH_PPC64LE":
		return PPC64LE, true
	}
	return Arch{}, false
}

// String is the architecture's name as uname(2) has it; x86 and arm stand for
// all of their machines.
func (a Arch) String() string { return a.name }

// Number is the number of the named call; ok is false where the architecture has none.
func (a Arch) Number(name string) (nr int32, ok bool) {
	row, ok := find(name)
	if !ok || calls[row].numbers[a.column] < 0 {
		return 0, false
	}
	return calls[row].numbers[a.column] | a.bit, true
}

// Name is the name of call nr.
func (a Arch) Name(nr int32) (name string, ok bool) {
	if nr&a.bit != a.bit {
		return "", false
	}
	nr &^= a.bit
	rows := byNumber[a.column]
	i := sort.Search(len(rows), func(i int) bool { return calls[rows[i]].numbers[a.column] >= nr })
	if i < len(rows) && calls[rows[i]].numbers[a.column] == nr {
		return calls[rows[i]].name, true
	}
	return "", false
}

// Calls goes through the architecture's calls in the order of their numbers.
// There are holes between them, a large one before ARM's last six.
func (a Arch) Calls() iter.Seq2[int32, string] {
	return func(yield func(int32, string) bool) {
		for _, row := range byNumber[a.column] {
			if !yield(calls[row].numbers[a.column]|a.bit, calls[row].name) {
				return
			}
		}
	}
}

// Last is the highest number of the table.
func (a Arch) Last() int32 {
	rows := byNumber[a.column]
	return calls[rows[len(rows)-1]].numbers[a.column] | a.bit
}

// find is the row of a name.
func find(name string) (row int, ok bool) {
	i := sort.Search(len(calls), func(i int) bool { return calls[i].name >= name })
	return i, i < len(calls) && calls[i].name == name
}

// Known reports whether any architecture of Linux has a call of this name, be it
// one without a table here. What is not known is a typo, or newer than Kernel.
func Known(name string) bool {
	_, ok := find(name)
	return ok
}

// Nearest is the known name that a mistyped one is most like, or "" when none
// is like it. Capitals and the prefixes of C's constants do not count.
func Nearest(name string) string {
	name = strings.ToLower(name)
	for _, prefix := range []string{"__nr_", "sys_"} {
		name = strings.TrimPrefix(name, prefix)
	}
	best, distance := "", 3
	for i := range calls {
		if d := editDistance(name, calls[i].name, distance); d < distance {
			best, distance = calls[i].name, d
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
