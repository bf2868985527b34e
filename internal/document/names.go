package document

import (
	"fmt"
	"strconv"
	"strings"
)

// OneOf returns s when it is among names, else an error that lists them.
func OneOf(what, s string, names []string) error {
	for _, n := range names {
		if n == s {
			return nil
		}
	}
	return Unknown(what, s, Nearest(s, names), "it is one of "+strings.Join(names, ", "))
}

// Unknown is the error for a name that means nothing.
func Unknown(what, s, near, hint string) error {
	if s == "" {
		return fmt.Errorf("empty %s: %s", what, hint)
	}
	if near != "" {
		return fmt.Errorf("unknown %s %s: did you mean %s?", what, Clip(s), strconv.Quote(near))
	}
	return fmt.Errorf("unknown %s %s: %s", what, Clip(s), hint)
}

// Clip quotes s for a message of one line, cut short where s is long.
func Clip(s string) string {
	const longest = 80
	if len(s) > longest {
		return strconv.Quote(s[:longest]) + "…"
	}
	return strconv.Quote(s)
}

// Nearest returns the name that s was probably meant to be, or "".
func Nearest(s string, names []string) string {
	const longest = 64
	if s == "" || len(s) > longest {
		return ""
	}
	best, bestDistance := "", max(1, len(s)/3)+1
	for _, n := range names {
		if d := distance(s, n); d < bestDistance {
			best, bestDistance = n, d
		}
	}
	if best != "" {
		return best
	}
	// An abbreviation is farther away than any slip of the keyboard.
	for _, n := range names {
		if len(s) >= 3 && (strings.HasPrefix(n, s) || strings.HasPrefix(s, n) && len(n) >= 3) {
			return n
		}
	}
	return ""
}

// distance counts the insertions, deletions, replacements and swaps of
// neighbours that turn a into b (optimal string alignment).
func distance(a, b string) int {
	prev2, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], prev2[j-2]+1)
			}
		}
		prev2, prev, row = prev, row, prev2
	}
	return prev[len(b)]
}
