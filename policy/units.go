package policy

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"

	"github.com/cloche-sandbox/cloche/internal/document"
)

// maxNumber is the largest size, duration or count that is taken for meant:
// what is above it is a slip of a unit, and would overflow a sum.
const maxNumber = 1 << 62

// errAbsurd is the problem with a number over maxNumber.
var errAbsurd = errors.New("more than 2^62: a unit too large?")

// ParseSize reads a number of bytes: digits, perhaps a fraction, and one of
// the units K, M, G, T, P (powers of 1024; "KiB" and so on are the same).
// A fraction of a byte is dropped. Negative sizes, sizes over 2^62 and the
// decimal units "KB", "MB", …, which mean two things, are errors.
func ParseSize(s string) (Size, error) {
	number, unit := splitUnit(s)
	if number == "" {
		return 0, errors.New(`not a size: write bytes or a unit, such as 65536, "64M" or "1.5G"`)
	}
	if number[0] == '-' {
		return 0, errors.New(`a size can't be negative: write one such as "64M"`)
	}
	shift, err := unitShift(unit)
	if err != nil {
		return 0, err
	}
	whole, fraction, dotted := strings.Cut(number, ".")
	if !digits(whole) || (dotted && !digits(fraction)) {
		return 0, errors.New(`not a size: write bytes or a unit, such as 65536, "64M" or "1.5G"`)
	}
	w, err := strconv.ParseUint(whole, 10, 64)
	if err != nil || w > maxNumber>>shift {
		return 0, errAbsurd
	}
	total := w << shift
	if dotted {
		// Nine digits place a fraction of a P to the byte and a bit; more change nothing.
		const places = 9
		if len(fraction) > places {
			fraction = fraction[:places]
		}
		f, _ := strconv.ParseUint(fraction+"000000000"[len(fraction):], 10, 64)
		hi, lo := bits.Mul64(f, 1<<shift)
		part, _ := bits.Div64(hi, lo, 1_000_000_000)
		total += part
	}
	if total > maxNumber {
		return 0, errAbsurd
	}
	return Size(total), nil
}

// splitUnit cuts s before the first letter.
func splitUnit(s string) (number, unit string) {
	for i := range len(s) {
		if c := s[i] | 0x20; c >= 'a' && c <= 'z' {
			return s[:i], s[i:]
		}
	}
	return s, ""
}

// unitShift is the power of two that a unit stands for.
func unitShift(unit string) (uint, error) {
	switch unit {
	case "", "B":
		return 0, nil
	}
	switch rest := unit[1:]; rest {
	case "", "iB", "i":
		switch unit[0] | 0x20 {
		case 'k':
			return 10, nil
		case 'm':
			return 20, nil
		case 'g':
			return 30, nil
		case 't':
			return 40, nil
		case 'p':
			return 50, nil
		}
	case "B", "b":
		return 0, fmt.Errorf("unit %s is 1000 to some and 1024 to others: write %s or %siB for 1024", document.Clip(unit), unit[:1], unit[:1])
	}
	return 0, fmt.Errorf("unknown unit %s: use K, M, G, T or P (powers of 1024)", document.Clip(unit))
}

// digits reports whether s is one decimal digit or more.
func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// String returns the size in the largest unit that divides it, so that
// ParseSize reads the same number back.
func (s Size) String() string {
	for i, unit := range [...]string{"P", "T", "G", "M", "K"} {
		if shift := uint(50 - 10*i); s != 0 && s%(1<<shift) == 0 {
			return strconv.FormatInt(int64(s>>shift), 10) + unit
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// ParseDuration reads a time with its unit, such as "500ms", "2m" or "1h30m",
// as [time.ParseDuration] does. A number alone is an error, as nobody could
// tell seconds from milliseconds; so are zero, negative and absurd ones.
func ParseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	switch {
	case digits(s) && strings.Trim(s, "0") != "":
		if len(s) > 9 {
			s = "10" // an example as good as any
		}
		return 0, fmt.Errorf("no unit: write %ss for seconds or %sms for milliseconds", s, s)
	case err != nil && strings.HasPrefix(err.Error(), "time: invalid duration") && looksLikeDuration(s):
		return 0, errAbsurd
	case err != nil:
		return 0, errors.New(`not a duration: write a number with a unit, such as "500ms", "10s", "2m" or "1h30m"`)
	case d < 0:
		return 0, errors.New(`a duration can't be negative: write one such as "10s"`)
	case d == 0:
		return 0, errors.New(`zero is no time at all: write one such as "10s", or "none" for no limit`)
	case d > maxNumber:
		return 0, errAbsurd
	}
	return d, nil
}

// looksLikeDuration tells an overflow from nonsense, which time.ParseDuration
// reports alike.
func looksLikeDuration(s string) bool {
	number, unit := splitUnit(s)
	switch unit {
	case "ns", "us", "ms", "s", "m", "h":
		whole, fraction, dotted := strings.Cut(number, ".")
		return digits(whole) && (!dotted || digits(fraction))
	}
	return false
}

// FormatDuration returns d without the zero units that its String method
// would end with: "2m", not "2m0s".
func FormatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// The smallest quota that cpu.max takes is 1 ms of its period of 100 ms.
const (
	minCPUs = 0.01
	maxCPUs = 1 << 16
)

// ParseCPUs reads a number of processors, such as "2" or "0.5".
func ParseCPUs(s string) (float64, error) {
	whole, fraction, dotted := strings.Cut(s, ".")
	if !digits(whole) || (dotted && !digits(fraction)) {
		return 0, errors.New("not a number of processors: write one such as 2 or 0.5")
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil {
		n = maxCPUs + 1 // out of range is the only error left
	}
	return n, checkCPUs(n)
}

// checkCPUs holds n against what cpu.max can express.
func checkCPUs(n float64) error {
	switch {
	case !(n >= minCPUs): // also NaN
		return errors.New(`less than the kernel can give: write at least 0.01, or "none" for no limit`)
	case n > maxCPUs:
		return errors.New("more processors than there are in any machine: write one such as 2 or 0.5")
	}
	return nil
}

// FormatCPUs is what ParseCPUs reads back exactly.
func FormatCPUs(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }

// parseCount reads a number from lowest to highest.
func parseCount(s string, lowest, highest uint64) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil && !digits(s) {
		return 0, fmt.Errorf("not a whole number from %d to %d", lowest, highest)
	}
	if err != nil || n < lowest || n > highest {
		return 0, fmt.Errorf("out of range: write a whole number from %d to %d", lowest, highest)
	}
	return n, nil
}
